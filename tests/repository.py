"""Small real repositories with git and DVC for the tests of this folder."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

from digits.core.project import Project

PIPELINE = f"""
stages:
  count:
    cmd: {sys.executable} count.py
    deps: [count.py, words.txt]
    params: [count.factor]
    metrics:
      - counted.json: {{cache: false}}
"""
COUNT = """
import json, pathlib
words = len(pathlib.Path("words.txt").read_text().split())
pathlib.Path("counted.json").write_text(json.dumps({"words": words, "constant": 1}))
"""


def run(folder: Path, *command: str) -> str:
    """The standard output of a command that must succeed."""
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def git(folder: Path, *arguments: str) -> str:
    return run(folder, "git", *arguments)


def dvc(folder: Path, *arguments: str) -> str:
    """Like `run`, but DVC runs in this process, as starting another one takes a second."""
    from dvc.cli import main  # sets up logging; see tests/conftest.py

    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as output:
        code = main([*arguments])
    assert code == 0, f"dvc {' '.join(arguments)}: exit code {code}"
    return output.getvalue()


def init(folder: Path) -> None:
    """An empty repository on branch `main`."""
    git(folder, "init", "--quiet", "--initial-branch", "main")
    configure_author(folder)
    dvc(folder, "init", "--quiet")


def configure_author(folder: Path) -> None:
    git(folder, "config", "user.name", "Somebody")
    git(folder, "config", "user.email", "somebody@localhost")


def commit_all(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "Change")


def count_words(folder: Path) -> Path:
    """Make a project whose only stage counts words; all is committed on `main` and up to date."""
    init(folder)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "params.yaml").write_text("count: {factor: 2}\n")
    (folder / "count.py").write_text(COUNT)
    (folder / "words.txt").write_text("two words")
    dvc(folder, "repro", "--quiet")
    commit_all(folder)
    return folder


def copy(template: Path, folder: Path) -> Project:
    shutil.copytree(template, folder, symlinks=True)
    return Project(folder)
