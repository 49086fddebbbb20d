"""Questions to DVC, through its command line, and the one reader of data.dvc."""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digits.core.errors import BusyError, DataError, StageError
from digits.core.project import Project
from digits.versioning import command, git

_LOCKED = "Unable to acquire lock"
_CHANGED = frozenset({"modified", "new"})
# S3 clients would ask an unreachable host five times, and one without keys the cloud's own network
_IMPATIENT = {"AWS_MAX_ATTEMPTS": "2", "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "1"}


@dataclass(frozen=True)
class DataVersion:
    """The version of data/ that a data.dvc pins: DVC's MD5, number of files, size in bytes."""

    md5: str
    files: int
    size: int | None


def run(
    project: Project,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """The standard output of a `dvc` command.

    Args:
        environment: variables to add to this process's.
        timeout: seconds after which the command is killed.

    Raises:
        BusyError: another DVC process holds the project's lock.
        StageError: the command failed; the message includes DVC's error.
        DigitsError: it took longer than `timeout`.
    """
    done = command.run(
        project,
        *(sys.executable, "-m", "dvc", *arguments),
        environment=environment,
        timeout=timeout,
    )
    if done.returncode == 0:
        return done.stdout.decode()
    error = command.error_message(done.stderr)
    if _LOCKED in error:
        raise BusyError("another DVC process is running in this project; try again when it ends")
    raise StageError(f"dvc {arguments[0]}: {error}")


def data_version(project: Project) -> DataVersion:
    """The version of data/ that data.dvc in the working tree pins.

    Raises:
        DataError: data.dvc is missing, or doesn't describe exactly one folder.
    """
    version = find_data_version(project)
    if version is None:
        raise DataError(f"{project.data_pointer.name}: not found; restore it from git")
    return version


def find_data_version(project: Project, commit: str | None = None) -> DataVersion | None:
    """The pinned version of data/, or None without a data.dvc.

    Args:
        commit: read data.dvc of this commit instead of the working tree's.

    Raises:
        DataError: data.dvc doesn't describe exactly one folder.
    """
    path = project.data_pointer.name
    if git.read_text(project, path, commit) is None:
        return None
    try:
        (out,) = git.read_mapping(project, path, commit)["outs"]
        return DataVersion(str(out["md5"]), int(out["nfiles"]), out.get("size"))
    except (DataError, AttributeError, KeyError, TypeError, ValueError) as exc:
        source = f"{path} at {commit[:7]}" if commit else path
        raise DataError(
            f"{source}: expected a DVC file with one folder, its md5 and nfiles; "
            "restore it with 'git checkout data.dvc'"
        ) from exc


def status(project: Project) -> dict[str, Any]:
    """`dvc status`: stage → what changed; empty if everything is up to date."""
    document: dict[str, Any] = json.loads(run(project, "status", "--json"))
    return document


def stale(project: Project) -> dict[str, list[str]]:
    """Stages whose outputs don't match the files in the working tree → what changed.

    Missing files are ignored: in a fresh clone without DVC's cache, only files that git tracks can
    be checked.
    """
    changed = {stage: sorted(set(_changes(items))) for stage, items in status(project).items()}
    return {stage: changes for stage, changes in sorted(changed.items()) if changes}


def params_diff(project: Project, revision: str) -> dict[str, dict[str, Any]]:
    """The parameters that changed: name → `{"old", "new", …}`, None where missing."""
    files = json.loads(run(project, "params", "diff", "--json", revision))
    return {name: values for file in files.values() for name, values in file.items()}


def flatten(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings, such as parameters; dots join the keys on the way."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def remote_configured(project: Project) -> bool:
    """Whether DVC has a remote to download files from."""
    return bool(run(project, "remote", "list").strip())


def default_remote(project: Project) -> str:
    """The name of the remote that `dvc push` uses; empty if there is none."""
    return run(project, "config", "core.remote").strip()


def push(project: Project, timeout: float) -> None:
    """Copy what data.dvc and dvc.lock pin from the cache to the default remote.

    Args:
        timeout: seconds; what was copied until then stays in the remote.

    Raises:
        BusyError: another DVC process holds the project's lock.
        DigitsError: the remote can't be reached, refuses, or took longer than `timeout`.
    """
    run(project, "push", environment=_IMPATIENT, timeout=timeout)


def pinned_bytes(project: Project) -> int:
    """The size of what data.dvc and dvc.lock pin."""
    stages = git.read_mapping(project, "dvc.lock").get("stages") or {}
    outs = [out for stage in stages.values() for out in stage.get("outs", ())]
    data = find_data_version(project)
    return sum(out.get("size") or 0 for out in outs) + ((data and data.size) or 0)


def missing_in_cache(project: Project, path: str) -> bool:
    """Whether DVC's cache lacks files of a tracked path, as of dvc.lock in the working tree."""
    found = json.loads(run(project, "data", "status", "--json", path))
    return bool(found.get("not_in_cache"))


def get(
    project: Project, revision: str, path: str, target: Path, cache: Path | None = None
) -> None:
    """Copy a DVC-tracked folder, as of `revision`, from the cache or a remote to `target`.

    Args:
        cache: a folder that is used instead of the project's cache; with an empty one, only what
            the remote has is found.

    Raises:
        StageError: neither the cache nor a remote has it.
    """
    arguments = ["get", ".", path, "--rev", revision, "--out", str(target)]
    if cache is None:
        run(project, *arguments)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write(f"[cache]\n    dir = {cache}\n")
        config.flush()
        run(project, *arguments, "--config", config.name)


def push_tagged(project: Project, path: str) -> None:
    """Upload a tracked path, as of every tag, to the remote; also succeeds if files are missing.

    Raises:
        StageError: there is no default remote, or it can't be written to.
    """
    run(project, "push", "--all-tags", path, environment=_IMPATIENT)


def _changes(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if entry == "changed command":
            yield "its command"
        elif isinstance(entry, dict):
            for files in entry.values():
                yield from _changed_files(files)


def _changed_files(files: dict[str, Any]) -> Iterator[str]:
    for path, state in files.items():
        if isinstance(state, dict):  # a parameter file; deleted parameters count as changed
            yield from (f"{path}: {name}" for name in state)
        elif state in _CHANGED:
            yield path
