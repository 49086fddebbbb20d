"""Runs a job of a workflow file here, step by step, with the file's own conditions and commands.

Checkouts, artifacts and step outputs are real; `gh` is a script that records its calls. Python
packages come from the environment that runs the tests, so `make setup` is a link to it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from conftest import REPOSITORY
from repository import dvc, git

_TOKEN = re.compile(r"'[^']*'|!cancelled\(\)|&&|\|\||!=|==|[a-z][\w.-]*")
_OPERATORS = {"&&": " and ", "||": " or ", "==": "==", "!=": "!=", "!cancelled()": "True"}
_GH = """#!{python}
import json, os, pathlib, sys
arguments = sys.argv[1:]
body = [pathlib.Path(a[6:]).read_text() for a in arguments if a.startswith("body=@")]
log = pathlib.Path(os.environ["GH_LOG"])
log.open("a").write(json.dumps({{"arguments": arguments, "body": "".join(body)}}) + "\\n")
answers = json.loads(os.environ["GH_ANSWERS"])
print(next((answer for part, answer in answers.items() if part in " ".join(arguments)), ""), end="")
"""


@dataclass
class Job:
    """What a job did: its steps' exit codes, its outputs, and how it called `gh`."""

    codes: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    summary: str = ""

    @property
    def failed(self) -> list[str]:
        return [name for name, code in self.codes.items() if code]


@dataclass
class Actions:
    """A stand-in for GitHub: a bare repository, artifacts, and what a job may know.

    Attributes:
        known: an expression's name → its value; what is missing is empty.
        gh: part of a call of `gh` → what it answers.
        cache: a DVC cache that jobs start with, so that they need not download it.
        built: whether jobs start with the commit's results from that cache, so that they rebuild
            only what does not belong to it. By default they start as on GitHub, with nothing.
    """

    folder: Path
    origin: Path
    known: dict[str, Any]
    gh: dict[str, str] = field(default_factory=dict)
    cache: Path | None = None
    built: bool = False
    jobs: int = 0

    def run(self, workflow: str, job: str) -> Job:
        """Run a job, unless its condition says no."""
        document = yaml.safe_load((REPOSITORY / ".github/workflows" / workflow).read_text())
        assert document["defaults"]["run"]["shell"] == "bash"
        definition, done = document["jobs"][job], Job()
        self.jobs += 1
        temporary = self.folder / f"job-{self.jobs}"
        work = temporary / "work"
        for folder in (work, temporary / "home", temporary / "bin"):
            folder.mkdir(parents=True)
        self.known |= {"runner.temp": str(temporary)}
        if not self._holds(definition.get("if")):
            return done
        for step in definition["steps"]:
            if self._holds(step.get("if"), default=not done.failed):
                self._step(step, definition, temporary, done)
        for name, text in definition.get("outputs", {}).items():
            done.outputs[name] = self.known[f"needs.{job}.outputs.{name}"] = self._text(text)
        done.summary = _read(temporary / "summary")
        done.calls = [json.loads(line) for line in _read(temporary / "gh.log").splitlines()]
        return done

    def _step(self, step: dict[str, Any], job: dict[str, Any], folder: Path, done: Job) -> None:
        action = step.get("uses", "").partition("@")[0].removeprefix("actions/")
        work, outputs, options = folder / "work", {}, {}
        if action in ("checkout", "upload-artifact", "download-artifact"):
            options = {name: self._text(value) for name, value in step.get("with", {}).items()}
        if action == "checkout":
            git(work.parent, "clone", "--quiet", str(self.origin), "work")
            git(work, "checkout", "--quiet", options["ref"])
            (work / ".venv").symlink_to(sys.prefix)
            if self.cache:
                shutil.copytree(self.cache, work / ".dvc" / "cache", dirs_exist_ok=True)
            if self.built:
                dvc(work, "checkout", "--quiet")
        elif action == "upload-artifact":
            outputs = self._upload(Path(options["path"]), options.get("name"))
        elif action == "download-artifact":
            target = Path(options.get("path", work))
            shutil.copytree(self.folder / "artifacts" / options["name"], target, dirs_exist_ok=True)
        elif "run" in step and step["run"] != "make setup":
            environment = {
                name: self._text(value)
                for name, value in (job.get("env", {}) | step.get("env", {})).items()
            }
            outputs = self._command(step, environment, folder, done)
        for name, value in outputs.items():
            self.known[f"steps.{step.get('id')}.outputs.{name}"] = value

    def _command(
        self, step: dict[str, Any], environment: dict[str, str], folder: Path, done: Job
    ) -> dict[str, str]:
        program, output = folder / "bin" / "gh", folder / "output"
        program.write_text(_GH.format(python=sys.executable))
        program.chmod(0o755)
        output.write_text("")
        own = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "GH_LOG": str(folder / "gh.log"),
            "GH_ANSWERS": json.dumps(self.gh),
            "RUNNER_TEMP": str(folder),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        }
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        finished = subprocess.run(
            shell,
            cwd=folder / "work",
            env=os.environ | own | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        name = step.get("name", step["run"])
        done.codes[name] = finished.returncode
        done.log += f"== {name}\n{finished.stdout}"
        return dict(line.split("=", 1) for line in output.read_text().splitlines())

    def _upload(self, path: Path, name: str | None) -> dict[str, str]:
        if not path.exists():
            return {}
        target = self.folder / "artifacts" / (name or path.name)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        else:
            shutil.copy(path, target)
        return {"artifact-id": "7", "artifact-url": f"https://github.example/{target.name}"}

    def _text(self, value: Any) -> str:
        """A value of the file with its expressions replaced."""
        return re.sub(r"\$\{\{(.*?)\}\}", lambda match: str(self._value(match[1])), str(value))

    def _holds(self, condition: str | None, default: bool = True) -> bool:
        if condition is None:
            return default
        text = condition.replace("${{", "").replace("}}", "")
        return bool(self._value(text)) and ("!cancelled()" in text or default)

    def _value(self, expression: str) -> Any:
        def python(match: "re.Match[str]") -> str:
            token = match[0]
            if token in _OPERATORS:
                return _OPERATORS[token]
            return token if token.startswith("'") else repr(self.known.get(token, ""))

        return eval(_TOKEN.sub(python, expression).replace("\n", " ").strip())


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
