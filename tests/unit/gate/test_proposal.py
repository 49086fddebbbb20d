"""New results as one commit on a branch; the working tree, the index and HEAD stay as they are."""

import json
from pathlib import Path

import pytest
from conftest import exit_code
from repository import commit_all, copy, count_words, dvc, git

from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.gate import proposal


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = count_words(tmp_path_factory.mktemp("proposal"))
    (root / "reports").mkdir()
    (root / ".gitignore").write_text("/reports/index.html\n")
    (root / "reports" / "metrics.json").write_text('{"test": {"accuracy": 0.98}}')
    (root / "reports" / "old.txt").write_text("old")
    commit_all(root)
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    """A project with new results: other parameters, a better model, one report more, one less."""
    project = copy(template, tmp_path / "project")
    retrain(project, 3)
    reports = project.reports
    (reports / "metrics.json").write_text('{"test": {"accuracy": 0.99}}')
    (reports / "old.txt").unlink()
    (reports / ":(top)new [1].txt").write_text("new")
    (reports / "index.html").write_text("ignored")
    (project.root / "notes.txt").write_text("of the user")
    return project


def retrain(project: Project, factor: int) -> None:
    project.params.write_text(f"count: {{factor: {factor}}}\n")
    dvc(project.root, "repro", "--quiet")


def state(project: Project) -> str:
    return git(project.root, "rev-parse", "HEAD") + git(project.root, "status", "--porcelain")


def test_the_branch_has_one_commit_with_all_results_and_the_tree_stays(project: Project) -> None:
    before = state(project)
    result = proposal.propose(project, "retrain")
    assert state(project) == before
    assert git(project.root, "rev-parse", "retrain").strip() == result.commit
    changes = git(project.root, "diff", "--name-status", "-z", "HEAD", "retrain").split("\0")
    assert dict(zip(changes[1::2], changes[::2], strict=False)) == {
        "dvc.lock": "M",
        "params.yaml": "M",
        "reports/:(top)new [1].txt": "A",
        "reports/metrics.json": "M",
        "reports/old.txt": "D",
    }
    assert git(project.root, "rev-parse", "retrain~1") == git(project.root, "rev-parse", "HEAD")
    message = git(project.root, "log", "-1", "--format=%B", "retrain")
    assert message.startswith("Results of new parameters\n\n")
    assert "Accuracy on the test set: 98.00 % → 99.00 %" in message
    assert "Parameters: count.factor" in message


def test_without_changes_there_is_nothing_to_propose(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    project = copy(template, tmp_path / "project")
    monkeypatch.chdir(project.root)
    assert exit_code("propose") == 0
    assert "Nothing to propose" in capsys.readouterr().out
    assert git(project.root, "branch", "--list", "retrain") == ""


def test_the_reason_is_the_first_line_whatever_it_contains(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    assert exit_code("propose", "--reason", "Monday's\n\nSigned-off-by: x", "--json") == 0
    commit = json.loads(capsys.readouterr().out)["commit"]
    subject = git(project.root, "log", "-1", "--format=%s", commit)
    assert subject == "Monday's Signed-off-by: x\n"


def test_the_same_results_are_proposed_once_and_newer_ones_replace_them(project: Project) -> None:
    first = proposal.propose(project, "retrain")
    again = proposal.propose(project, "retrain")
    assert again.commit == first.commit
    assert "already" in again.reason
    retrain(project, 4)
    newer = proposal.propose(project, "retrain")
    assert git(project.root, "rev-list", "HEAD..retrain").split() == [newer.commit]


def test_a_branch_with_other_commits_is_not_overwritten(project: Project) -> None:
    git(project.root, "branch", "retrain")
    with pytest.raises(DigitsError, match="git branch -D retrain"):
        proposal.propose(project, "retrain")
    with pytest.raises(DigitsError, match="checked out"):
        proposal.propose(project, "main")
    with pytest.raises(DigitsError, match="not a valid branch name"):
        proposal.propose(project, "--all")


def test_stale_results_and_code_that_is_not_committed_are_refused(project: Project) -> None:
    project.params.write_text("count: {factor: 5}\n")
    with pytest.raises(DigitsError, match=r"count is stale: .*run 'digits run'"):
        proposal.propose(project, "retrain")
    retrain(project, 5)
    (project.root / "src").mkdir()
    (project.root / "src" / "new.py").write_text("x = 1")
    with pytest.raises(DigitsError, match=r"not committed: src/new\.py"):
        proposal.propose(project, "retrain")
    assert git(project.root, "branch", "--list", "retrain") == ""
