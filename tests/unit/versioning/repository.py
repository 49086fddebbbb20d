"""Small real repositories with git and DVC for the tests of this folder."""

import os
import subprocess
import sys
from pathlib import Path


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
    return run(folder, sys.executable, "-m", "dvc", *arguments)


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
