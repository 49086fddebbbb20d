"""The command lines of DVC and git, both behind this one module.

What depends on what is DVC's to know and what was when is git's: here they are only asked.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digits.core import lifetime
from digits.core.errors import BusyError, DataError, DigitsError, StageError
from digits.core.project import Project

_ERROR_LINES = 3
_BLOCKED = "Unable to acquire lock"
_EXPERIMENTS = "refs/exps/??/*/*"  # commit it is based on / name; not DVC's own
_CHANGED = frozenset({"modified", "new"})


@dataclass(frozen=True)
class DataVersion:
    """What data.dvc names: DVC's hash, the number of files, bytes; and whether data/ is there."""

    md5: str
    files: int | None
    size: int | None
    present: bool


def dvc(project: Project, *arguments: str) -> str:
    """What a `dvc` command prints.

    Raises:
        BusyError: another DVC process holds the project.
        StageError: the command failed; the message ends with what it said.
    """
    done = _run(project, [sys.executable, "-m", "dvc", *arguments])
    if done.returncode == 0:
        return done.stdout.decode()
    said = _last_lines(done.stderr)
    if _BLOCKED in said:
        raise BusyError("another DVC process is at work here; wait for it to end, then try again")
    raise StageError(f"dvc {arguments[0]}: {said}")


def git(project: Project, *arguments: str) -> str:
    """What a `git` command prints.

    Raises:
        DigitsError: git is not installed, or the command failed.
    """
    done = _run(project, ["git", *arguments])
    if done.returncode:
        raise DigitsError(f"git {arguments[0]}: {_last_lines(done.stderr)}")
    return done.stdout.decode(errors="replace")


def commit(project: Project, revision: str) -> str:
    """The full hash of the commit that a branch, tag, abbreviated hash or experiment stands for.

    Raises:
        DigitsError: there is no such revision.
    """
    asked = [
        "git",
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{revision}^{{commit}}",
    ]
    done = _run(project, asked)
    found = _experiment(project, revision) if done.returncode else done.stdout.decode().strip()
    if not found:
        raise DigitsError(
            f"unknown revision '{revision}'; expected a commit, branch, tag or experiment "
            "('git log --oneline', 'dvc exp list --all-commits')"
        )
    return found


def _experiment(project: Project, name: str) -> str | None:
    """The full hash of the latest DVC experiment of that name, or None without one."""
    form = "--format=%(objectname) %(refname:lstrip=-1)"
    asked = ["git", "for-each-ref", "--sort=-creatordate", form, _EXPERIMENTS]
    named = (line.split(" ") for line in _run(project, asked).stdout.decode().splitlines())
    return next((commit for commit, its_name in named if its_name == name), None)


def merge_base(project: Project, branch: str) -> str | None:
    """The commit where HEAD left `branch`, or None without such a branch or common history."""
    done = _run(project, ["git", "merge-base", "--end-of-options", branch, "HEAD"])
    return done.stdout.decode().strip() if done.returncode == 0 else None


def show(project: Project, revision: str, path: str) -> str | None:
    """The text of a git-tracked file at a revision, or None if there is none."""
    done = _run(project, ["git", "show", "--end-of-options", f"{revision}:./{path}"])
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def status(project: Project) -> dict[str, Any]:
    """`dvc status`: stage → what changed; empty when everything is up to date."""
    document: dict[str, Any] = json.loads(dvc(project, "status", "--json"))
    return document


def stale(project: Project) -> dict[str, list[str]]:
    """Stages whose outcomes don't belong to the files in the tree → what changed.

    A file that is absent doesn't count: in a fresh clone without DVC's cache only what git tracks
    can be judged.
    """
    found = {stage: sorted(set(_changes(entries))) for stage, entries in status(project).items()}
    return {stage: changes for stage, changes in sorted(found.items()) if changes}


def metrics_diff(project: Project, revision: str, path: str) -> dict[str, dict[str, Any]]:
    """All figures of a metrics file, changed or not: name → `{"old", "new", …}`; absent is None."""
    return _diff(project, "metrics", "diff", "--targets", path, "--json", "--all", revision)


def params_diff(project: Project, revision: str) -> dict[str, dict[str, Any]]:
    """The parameters that changed: name → `{"old", "new", …}`; absent is None."""
    return _diff(project, "params", "diff", "--json", revision)


def remote_configured(project: Project) -> bool:
    """Whether DVC has a remote to get files from."""
    return bool(dvc(project, "remote", "list").strip())


def data_version(project: Project) -> DataVersion:
    """What data.dvc names.

    Raises:
        DataError: there is no such file, or it isn't DVC's.
    """
    import yaml

    pointer = project.data_pointer
    try:
        (out,) = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"]
        md5, files, size = str(out["md5"]), out.get("nfiles"), out.get("size")
    except FileNotFoundError as exc:
        raise DataError(f"{pointer}: not found; check it out from git") from exc
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as exc:
        raise DataError(f"{pointer}: not a DVC pointer file ({exc})") from exc
    present = project.mnist.is_dir() and any(project.mnist.iterdir())
    return DataVersion(md5, files, size, present)


def get(project: Project, revision: str, path: str, target: Path) -> None:
    """Bring a DVC-tracked folder, as of `revision`, from the cache or a remote to `target`.

    Raises:
        StageError: it is in neither.
    """
    dvc(project, "get", ".", path, "--rev", revision, "--out", str(target))


def _run(project: Project, command: list[str]) -> "subprocess.CompletedProcess[bytes]":
    quiet = lifetime.QUIET | {"GIT_TERMINAL_PROMPT": "0", "PYTHONUTF8": "1"}
    try:
        return subprocess.run(
            command,
            cwd=project.root,
            env=os.environ | quiet,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as exc:
        raise DigitsError(f"{command[0]}: not found; install it and try again") from exc


def _last_lines(stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    # DVC adds an offer to help after its errors
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return "; ".join((errors or lines)[-_ERROR_LINES:]) or "it failed and said nothing"


def _diff(project: Project, *arguments: str) -> dict[str, dict[str, Any]]:
    files = json.loads(dvc(project, *arguments))
    return {name: values for file in files.values() for name, values in file.items()}


def _changes(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if entry == "changed command":
            yield "its command"
        elif isinstance(entry, dict):
            for files in entry.values():
                yield from _changed_files(files)


def _changed_files(files: dict[str, Any]) -> Iterator[str]:
    for path, state in files.items():
        if isinstance(state, dict):  # parameters: also one that was deleted is a change
            yield from (f"{path}: {name}" for name in state)
        elif state in _CHANGED:
            yield path
