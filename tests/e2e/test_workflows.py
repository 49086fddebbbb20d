"""The workflow files' own commands, in a repository with a bare remote and a DVC remote."""

import os
from pathlib import Path

import pytest
from actions import Actions
from conftest import run, set_param
from repository import copy, dvc, git

from digits.core.project import Project

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        "DIGITS_WORKFLOWS" not in os.environ,
        reason="takes six minutes: set DIGITS_WORKFLOWS=1 to run it",
    ),
]

COMMENTS, PULLS = "issues/7/comments", "/pulls"


@pytest.fixture
def project(
    team_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str
) -> Project:
    """A copy of the team's project, with a bare git remote of its own."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    project = copy(team_template, tmp_path / "project")
    git(tmp_path, "clone", "--quiet", "--bare", "project", "origin.git")
    git(project.root, "remote", "add", "origin", str(tmp_path / "origin.git"))
    return project


@pytest.fixture
def actions(project: Project, tmp_path: Path) -> Actions:
    known = {
        "github.repository": "team/digits",
        "github.repository_owner": "team",
        "github.server_url": "https://github.example",
        "github.token": "token",
        "github.event.repository.default_branch": "main",
        "github.event.pull_request.number": 7,
        "github.event.pull_request.head.repo.full_name": "team/digits",
        "github.event.pull_request.user.login": "somebody",
        "inputs.force": False,
    }
    cache = project.root / ".dvc" / "cache"
    return Actions(tmp_path / "actions", tmp_path / "origin.git", known, cache=cache)


def commit(project: Project, message: str) -> None:
    git(project.root, "add", "--all")
    git(project.root, "commit", "--quiet", "--message", message)


def open_pull_request(project: Project, actions: Actions, branch: str) -> None:
    git(project.root, "push", "--quiet", "origin", branch)
    for side, revision in (("head", branch), ("base", "main")):
        sha = git(project.root, "rev-parse", revision).strip()
        actions.known[f"github.event.pull_request.{side}.sha"] = sha


def test_a_pull_request_gets_one_comment_that_says_whether_to_merge(
    project: Project, actions: Actions
) -> None:
    open_pull_request(project, actions, "fewer-epochs")
    judged = actions.run("pull-request.yml", "judge")
    assert judged.failed == ["Compare with the base", "Judge the model against the champion"], (
        judged.log
    )
    posted = actions.run("pull-request.yml", "comment")
    (_, sent) = posted.calls
    assert not posted.failed, posted.log
    assert "--method" not in sent["arguments"]
    assert COMMENTS in sent["arguments"][2]
    assert sent["body"].startswith("<!-- digits-compare -->\n## ❌")
    for text in ("Reject: must not ship", "    Same bytes", "(https://github.example/comparison"):
        assert text in sent["body"]
    assert len(sent["body"]) < 65_536
    assert judged.summary in sent["body"]


def test_a_better_model_updates_the_comment(project: Project, actions: Actions) -> None:
    actions.built = True
    open_pull_request(project, actions, "more-epochs")
    judged = actions.run("pull-request.yml", "judge")
    assert judged.failed == [], judged.log
    actions.gh = {COMMENTS: "41\n42\n"}
    (_, sent) = actions.run("pull-request.yml", "comment").calls
    assert {"PATCH", "repos/team/digits/issues/comments/41"} < set(sent["arguments"])
    assert "✅ Promote: may ship" in sent["body"]


def test_forged_figures_fail(project: Project, actions: Actions) -> None:
    actions.built = True
    git(project.root, "switch", "--quiet", "--create", "forged", "more-epochs")
    metrics = project.metrics.read_text()
    project.metrics.write_text(metrics.replace('"accuracy": 0.9', '"accuracy": 0.99', 1))
    commit(project, "Forged")
    open_pull_request(project, actions, "forged")
    judged = actions.run("pull-request.yml", "judge")
    assert "Verify that the committed results are those of this commit" in judged.failed
    assert "    Different" in judged.summary


def test_a_fork_gets_no_comment(project: Project, actions: Actions) -> None:
    actions.known["needs.judge.outputs.comment"] = "7"
    actions.known["github.event.pull_request.head.repo.full_name"] = "stranger/digits"
    assert actions.run("pull-request.yml", "comment").codes == {}


def test_without_results_the_comment_says_so(project: Project, actions: Actions) -> None:
    git(project.root, "switch", "--quiet", "--create", "broken")
    project.params.write_text("nonsense")
    commit(project, "Broken")
    open_pull_request(project, actions, "broken")
    judged = actions.run("pull-request.yml", "judge")
    assert len(judged.failed) == 4, judged.log
    assert "No comparison" in judged.summary
    assert len(actions.run("pull-request.yml", "comment").calls) == 2


def test_retraining_on_what_is_there_changes_nothing_and_ends_well(
    project: Project, actions: Actions
) -> None:
    trained = actions.run("retrain.yml", "train")
    assert not trained.failed, trained.log
    assert "Nothing to propose" in trained.summary
    assert actions.run("retrain.yml", "propose").codes == {}
    assert "retrain" not in git(actions.origin, "branch")


def test_retraining_with_new_parameters_opens_a_pull_request_and_then_updates_it(
    project: Project, actions: Actions, tmp_path: Path
) -> None:
    git(project.root, "switch", "--quiet", "--create", "wish")
    set_param(project, "evaluate", "gallery", 7)
    commit(project, "A wish")
    git(project.root, "push", "--quiet", "origin", "wish")
    actions.known |= {"inputs.source": "wish", "inputs.reason": "Smaller $(touch x) gallery"}
    trained = actions.run("retrain.yml", "train")
    assert not trained.failed, trained.log
    opened = actions.run("retrain.yml", "propose")
    assert not opened.failed, opened.log
    *_, sent = opened.calls
    assert sent["arguments"][1:3] == ["--silent", "repos/team/digits/pulls"]
    assert {"title=Smaller $(touch x) gallery", "head=retrain", "base=main"} < set(
        sent["arguments"]
    )
    assert "## " in sent["body"]
    assert "champion" in sent["body"]
    changed = git(actions.origin, "diff", "--name-only", "main", "retrain").split()
    assert {"params.yaml", "dvc.lock"} <= set(changed)
    assert all(path.split("/")[0] in ("params.yaml", "dvc.lock", "reports") for path in changed)

    git(tmp_path, "clone", "--quiet", "--branch", "retrain", str(actions.origin), "reviewer")
    dvc(tmp_path / "reviewer", "pull", "--quiet")  # the run pushed what the pull request needs
    assert run("digits", "verify", cwd=tmp_path / "reviewer").stdout.startswith("Same bytes")

    actions.gh = {"state=open": "9\n"}
    updated = actions.run("retrain.yml", "propose")
    assert {"PATCH", "repos/team/digits/pulls/9"} < set(updated.calls[-1]["arguments"])


@pytest.mark.parametrize("change", ["code", "link", "two commits"])
def test_a_proposal_that_changes_more_than_results_is_refused(
    project: Project, actions: Actions, change: str
) -> None:
    root = project.root
    git(root, "switch", "--quiet", "--create", "retrain")
    (project.reports / "new.txt").write_text("new")
    if change == "code":
        (root / "dvc.yaml").write_text("stages: {}")
    if change == "link":
        (project.reports / "link").symlink_to("/etc/passwd")
    commit(project, "Proposed-by: digits propose")
    if change == "two commits":
        git(root, "commit", "--quiet", "--allow-empty", "--message", "Proposed-by: digits propose")
    folder = actions.folder / "artifacts" / "proposal"
    folder.mkdir(parents=True)
    git(root, "bundle", "create", "--quiet", str(folder / "retrain.bundle"), "main..retrain")
    actions.known["needs.train.outputs.proposal"] = "7"
    refused = actions.run("retrain.yml", "propose")
    assert len(refused.failed) == 1
    assert "::error::The proposal" in refused.log
    assert "retrain" not in git(actions.origin, "branch")


def test_somebody_elses_commits_on_the_branch_are_kept(project: Project, actions: Actions) -> None:
    root = project.root
    git(root, "switch", "--quiet", "--create", "retrain")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "A correction by hand")
    git(root, "push", "--quiet", "origin", "retrain")
    git(root, "reset", "--quiet", "--hard", "main")
    (project.reports / "new.txt").write_text("new")
    commit(project, "Proposed-by: digits propose")
    folder = actions.folder / "artifacts" / "proposal"
    folder.mkdir(parents=True)
    git(root, "bundle", "create", "--quiet", str(folder / "retrain.bundle"), "main..retrain")
    actions.known["needs.train.outputs.proposal"] = "7"
    refused = actions.run("retrain.yml", "propose")
    assert "Somebody committed to the branch retrain" in refused.log
    assert "A correction by hand" in git(actions.origin, "log", "-1", "retrain")
