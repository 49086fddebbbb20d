"""What of DVC's cache is garbage: nothing that a tag, branch, the workspace or a date needs."""

import os
from datetime import date
from pathlib import Path

import pytest
from repository import commit_all, dvc, git, init

from digits.core.errors import DataError, DigitsError
from digits.core.project import Project
from digits.versioning import garbage

LONG_AGO, SINCE = "2020-05-01T12:00:00", date(2020, 6, 1)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Data `tagged`, `branch`, `old`, `recent` and `superseded`; `new` in the workspace."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    init(root)
    (root / ".gitignore").write_text("/data\n")
    monkeypatch.setenv("GIT_COMMITTER_DATE", LONG_AGO)
    add(root, "tagged")
    commit_all(root)
    git(root, "tag", "v0.1.0")
    git(root, "checkout", "-q", "-b", "side")
    add(root, "branch")
    commit_all(root)
    git(root, "checkout", "-q", "main")
    add(root, "old")
    commit_all(root)
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    add(root, "recent")
    commit_all(root)
    add(root, "superseded")
    commit_all(root)
    for name in ("superseded", "new"):
        add(root, f"{name} in the workspace")
    return Project(root)


def add(root: Path, text: str) -> None:
    (root / "data" / "file").write_text(text)
    dvc(root, "add", "--quiet", "data")


def contents(project: Project, paths: list[Path]) -> set[str]:
    """Of the objects in the cache that are files of data/."""
    assert all(path.is_relative_to(project.root / ".dvc" / "cache") for path in paths)
    return {path.read_text() for path in paths if path.suffix != ".dir"}


def cached(project: Project) -> list[Path]:
    found = (project.root / ".dvc" / "cache" / "files").rglob("*")
    return sorted(path for path in found if path.is_file())


def test_only_what_nothing_needs_is_found_and_removed(project: Project) -> None:
    before = cached(project)
    found = garbage.find(project, SINCE)
    assert contents(project, found.paths) == {"old", "superseded in the workspace"}
    assert len(found.paths) == 4  # a file and a list of files each
    assert found.size == sum(path.stat().st_size for path in found.paths)
    assert cached(project) == before

    garbage.remove(project, SINCE)
    assert cached(project) == sorted(set(before) - set(found.paths))
    assert garbage.find(project, SINCE) == garbage.Garbage([], 0)
    for revision, text in (("v0.1.0", "tagged"), ("side", "branch"), ("main~1", "recent")):
        git(project.root, "checkout", "-q", "--force", revision)
        dvc(project.root, "checkout", "--quiet", "--force")
        assert (project.root / "data" / "file").read_text() == text


def test_every_commit_since_the_date_is_kept(project: Project) -> None:
    found = garbage.find(project, date(2020, 4, 1))
    assert contents(project, found.paths) == {"superseded in the workspace"}


def test_a_commit_without_a_branch_is_kept_while_it_is_checked_out(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", LONG_AGO)
    git(project.root, "checkout", "-q", "--force", "--detach", "main~2")
    add(project.root, "detached")
    commit_all(project.root)
    add(project.root, "later")
    found = garbage.find(project, SINCE)
    assert "detached" not in contents(project, found.paths)


def test_a_stash_that_refers_to_other_data_stops_it(project: Project) -> None:
    git(project.root, "stash", "--quiet")
    with pytest.raises(DataError, match=r"stash@\{0\} refers to data"):
        garbage.remove(project, SINCE)
    git(project.root, "stash", "pop", "--quiet")
    (project.root / ".gitignore").write_text("/data\n*.log\n")
    git(project.root, "stash", "push", "--quiet", ".gitignore")
    garbage.find(project, SINCE)


def test_a_cache_outside_the_project_is_left_alone(project: Project, tmp_path: Path) -> None:
    os.rename(project.root / ".dvc" / "cache", tmp_path / "shared")
    dvc(project.root, "cache", "dir", "--quiet", str(tmp_path / "shared"))
    with pytest.raises(DataError, match="may be shared"):
        garbage.remove(project, SINCE)


def test_a_branch_that_cannot_be_read_stops_it(project: Project) -> None:
    git(project.root, "stash", "--quiet")
    git(project.root, "checkout", "-q", "side")
    (project.root / "dvc.yaml").write_text("stages: [")
    commit_all(project.root)
    git(project.root, "checkout", "-q", "main")
    git(project.root, "stash", "pop", "--quiet")
    before = cached(project)
    with pytest.raises(DigitsError, match="dvc gc: Failed to collect 'side"):
        garbage.remove(project, SINCE)
    assert cached(project) == before
