"""Questions to git, on a real repository."""

import re
from pathlib import Path

import pytest
from repository import copy, count_words, dvc

from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.versioning import git


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return count_words(tmp_path_factory.mktemp("word_count"))


@pytest.fixture
def word_count(template: Path, tmp_path: Path) -> Project:
    return copy(template, tmp_path / "project")


def test_a_file_is_read_from_the_tree_or_a_commit(word_count: Project) -> None:
    (word_count.root / "words.txt").write_text("changed")
    assert git.read_text(word_count, "words.txt", "main") == "two words"
    assert git.read_text(word_count, "words.txt") == "changed"
    assert git.read_text(word_count, "absent.txt", "main") is None


def test_merge_base_is_none_for_an_unknown_branch(word_count: Project) -> None:
    assert git.merge_base(word_count, "main") == git.resolve(word_count, "main")
    assert git.merge_base(word_count, "absent") is None


def test_an_experiment_is_a_revision(word_count: Project) -> None:
    word_count.params.write_text("count: {factor: 3}\n")
    dvc(word_count.root, "exp", "run", "--quiet", "--name", "thrice")
    commit = git.resolve(word_count, "thrice")
    assert git.read_text(word_count, "params.yaml", commit) == "count: {factor: 3}\n"
    with pytest.raises(DigitsError, match="unknown revision 'EXEC_HEAD'"):  # DVC's own
        git.resolve(word_count, "EXEC_HEAD")


@pytest.mark.parametrize("revision", ["nope", "--all", "", "main:words.txt", "exps", "*"])
def test_an_unknown_revision_is_an_error_that_names_it(word_count: Project, revision: str) -> None:
    with pytest.raises(DigitsError, match=re.escape(f"unknown revision '{revision}'")):
        git.resolve(word_count, revision)


def test_a_failure_is_an_error_with_git_s_message(tmp_path: Path) -> None:
    with pytest.raises(DigitsError, match="git status: fatal: not a git repository"):
        git.run(Project(tmp_path), "status")


def test_a_missing_git_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DigitsError, match="git: not found; install it"):
        git.run(Project(tmp_path), "status")
