"""Questions to git, through its command line, and files as of a commit."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from digits.core.errors import DataError, DigitsError
from digits.core.project import Project
from digits.versioning import command

_EXPERIMENTS = "refs/exps/??/*/*"  # DVC's: <base commit>/<name>; leaves out DVC's internal refs


def run(project: Project, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """The standard output of a git command.

    Args:
        environment: variables to add to this process's.

    Raises:
        DigitsError: git is not installed, or the command failed.
    """
    done = command.run(project, "git", *arguments, environment=environment)
    if done.returncode:
        raise DigitsError(f"git {arguments[0]}: {command.error_message(done.stderr)}")
    return done.stdout.decode(errors="replace")


def resolve(project: Project, revision: str) -> str:
    """The full commit hash of a branch, tag, abbreviated hash or DVC experiment.

    Raises:
        DigitsError: the revision is unknown.
    """
    commit = _output(
        project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    commit = commit.strip() if commit else _experiment(project, revision)
    if not commit:
        raise DigitsError(
            f"unknown revision '{revision}'; expected a commit, branch, tag or experiment "
            "('git log --oneline', 'dvc exp list --all-commits')"
        )
    return commit


def merge_base(project: Project, branch: str) -> str | None:
    """The newest commit that `branch` and HEAD share; None if either is missing or none is."""
    commit = _output(project, "merge-base", "--end-of-options", branch, "HEAD")
    return commit.strip() if commit else None


def changed_files(project: Project, commit: str, *paths: str) -> list[str]:
    """Tracked files, by default of the whole project, that differ from a commit's."""
    arguments = ("diff", "--name-only", "--no-renames", "--relative", "-z", commit, "--", *paths)
    return sorted(filter(None, run(project, *arguments).split("\0")))


def new_files(project: Project, *paths: str) -> list[str]:
    """Files that git neither tracks nor ignores."""
    arguments = ("ls-files", "--others", "--exclude-standard", "-z", "--", *paths)
    return sorted(filter(None, run(project, *arguments).split("\0")))


def exists(project: Project, ref: str) -> bool:
    """Whether there is a reference with this full name, for example `refs/heads/main`."""
    return _output(project, "show-ref", "--verify", "--quiet", "--", ref) is not None


def is_ancestor(project: Project, commit: str, branch: str) -> bool:
    """Whether `branch` contains `commit`."""
    arguments = ("merge-base", "--is-ancestor", "--end-of-options", commit, branch)
    return _output(project, *arguments) is not None


def read_bytes(project: Project, path: str, commit: str | None = None) -> bytes | None:
    """A file's content at a commit, by default in the working tree; None if it is missing."""
    if commit is None:
        file = project.root / path
        return file.read_bytes() if file.is_file() else None
    done = command.run(project, "git", "show", "--end-of-options", f"{commit}:./{path}")
    return None if done.returncode else done.stdout


def read_text(project: Project, path: str, commit: str | None = None) -> str | None:
    """The text of a file at a commit, by default in the working tree; None if it is missing."""
    content = read_bytes(project, path, commit)
    return None if content is None else content.decode(errors="replace")


def read_mapping(project: Project, path: str, commit: str | None = None) -> dict[str, Any]:
    """The mapping in a JSON or YAML file, found as by `read_text`; empty if the file is missing.

    Raises:
        DataError: the file holds something else.
    """
    text = read_text(project, path, commit)
    if text is None:
        return {}
    source = f"{path} at {commit[:7]}" if commit else path
    kind, load = ("JSON", json.loads) if path.endswith(".json") else ("YAML", yaml.safe_load)
    try:
        document = load(text)
    except (ValueError, yaml.YAMLError) as exc:
        raise DataError(f"{source}: not valid {kind} ({' '.join(str(exc).split())})") from exc
    if not isinstance(document, dict):
        raise DataError(f"{source}: expected a mapping, got {type(document).__name__}")
    return document


def _experiment(project: Project, name: str) -> str | None:
    """The commit hash of the newest DVC experiment with this name."""
    fields = "--format=%(objectname) %(refname:lstrip=-1)"
    refs = _output(project, "for-each-ref", "--sort=-creatordate", fields, _EXPERIMENTS) or ""
    commits = (line.split(" ")[0] for line in refs.splitlines() if line.split(" ")[1] == name)
    return next(commits, None)


def _output(project: Project, *arguments: str) -> str | None:
    """The standard output of a git command, or None if it failed."""
    done = command.run(project, "git", *arguments)
    return None if done.returncode else done.stdout.decode(errors="replace")
