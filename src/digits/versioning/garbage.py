"""Objects of DVC's cache that nothing needs any more: find them, and remove them.

Needed is what the workspace, HEAD, a branch, a tag, an experiment or any commit since a date refers
to. Only the cache of this project is looked at, never a remote.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from digits.core.errors import DataError
from digits.core.project import Project
from digits.versioning import dvc, git

_TIMEOUT = 1800.0  # s; DVC asks the remote for lists of folders that the cache lacks
_LISTED = "Removing "
_POINTERS = ("data.dvc", "dvc.lock")


@dataclass(frozen=True)
class Garbage:
    """Objects in the cache that nothing needs, and their size in bytes."""

    paths: list[Path]
    size: int


def find(project: Project, since: date) -> Garbage:
    """List what nothing needs; nothing is removed.

    Args:
        since: all commits since then count as needed.

    Raises:
        DataError: somebody else may need it: the cache is shared, or a stash refers to other data.
        BusyError: another DVC process holds the project's lock.
        DigitsError: DVC can't read a branch, a tag or a commit.
    """
    _check_alone(project)
    listed = dvc.run(project, *_command(since), "--dry", timeout=_TIMEOUT)
    paths = [Path(line.removeprefix(_LISTED)) for line in listed.splitlines() if _is_path(line)]
    return Garbage(paths, sum(_size(path) for path in paths))


def remove(project: Project, since: date) -> None:
    """Remove what `find` lists; it raises what `find` does."""
    _check_alone(project)
    dvc.run(project, *_command(since), timeout=_TIMEOUT)


def _command(since: date) -> tuple[str, ...]:
    # --force answers the question whether to go on; it overrides no protection
    needed = ("--workspace", "--rev", "HEAD", "--all-branches", "--all-tags", "--all-experiments")
    return ("gc", *needed, "--date", f"{since:%Y-%m-%d}", "--force")


def _check_alone(project: Project) -> None:
    cache = (project.root / dvc.run(project, "cache", "dir").strip()).resolve()
    if not cache.is_relative_to(project.root.resolve()):
        raise DataError(f"DVC's cache {cache} may be shared with other projects: nothing removed")
    if stashes := list(_stashes(project)):
        raise DataError(
            f"{', '.join(stashes)} refers to data that DVC would remove, as it knows no stashes; "
            "apply or drop it with 'git stash'"
        )


def _stashes(project: Project) -> Iterator[str]:
    """Stashes with another version of data or results than their commit."""
    for stash in git.run(project, "stash", "list", "--format=%gd").splitlines():
        if git.run(project, "diff", "--name-only", f"{stash}^", stash, "--", *_POINTERS):
            yield stash


def _is_path(line: str) -> bool:
    return Path(line.removeprefix(_LISTED)).is_absolute() and line.startswith(_LISTED)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
