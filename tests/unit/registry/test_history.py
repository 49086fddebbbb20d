"""Versions side by side, with what real tags record."""

import json
import shutil
from pathlib import Path

import pipeline
import pytest
from conftest import exit_code
from repository import commit_all, git

from digits.core.project import Project
from digits.registry import history, registry
from digits.registry.history import Row


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v0.1.0 and v0.2.0 were promoted by force; a rollback made v0.1.0 the champion again."""
    folder = pipeline.two_versions(tmp_path_factory.mktemp("template"))
    registry.promote(Project(folder), "v0.1.0", force=True, reason="there is no other")
    registry.promote(Project(folder), "v0.2.0", force=True, reason="reads [bold]forms[/bold]")
    registry.rollback(Project(folder), "it misread forms")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    shutil.copytree(template, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project")


def read(project: Project) -> dict[str, Row]:
    return {row.version: row for row in history.read(project)}


def test_versions_are_listed_newest_first_with_their_own_figures(project: Project) -> None:
    rows = history.rows(project)
    shown = [
        (row["version"], row["accuracy"], row["interval"], row["errors"], row["corrupted_error"])
        for row in rows
    ]
    assert [(name, errors) for name, _, _, errors, _ in shown] == [("v0.2.0", 3), ("v0.1.0", 4)]
    assert shown[1][1:] == (pytest.approx(0.96), pytest.approx((0.95, 0.97)), 4, 0.135)
    assert [row["champion"] for row in rows] == [False, True]
    assert rows[0]["data"] != rows[1]["data"]
    assert rows[0]["weights"] != rows[1]["weights"]
    assert [row["parent"] for row in rows] == ["v0.1.0", None]
    json.dumps(rows)  # plain types


def test_parameters_are_compared_with_the_version_before(project: Project) -> None:
    assert read(project)["v0.2.0"].changed == {
        "preprocess.train_batches": ([], ["forms"]),
        "train.seed": (1, 2),
    }
    assert read(project)["v0.1.0"].changed == {}


def test_another_model_s_recipe_is_compared_with_the_one_before(project: Project) -> None:
    pipeline.write_params(
        project.root,
        preprocess={"train_batches": ["forms"]},
        train={"seed": 3, "model": "large"},
    )
    pipeline.build(project.root)
    registry.register(project)
    assert read(project)["v0.2.1"].changed == {
        "models.*.widths": (None, [8, 16]),
        "train.model": ("small", "large"),
        "train.seed": (2, 3),
    }


def test_promotions_tell_who_why_and_by_force(project: Project) -> None:
    rows = read(project)
    first, again = rows["v0.1.0"].registration.promotions
    assert (first.event, first.forced, first.why) == ("promoted", True, "there is no other")
    assert first.by.startswith("Somebody")
    assert first.verdict == "cannot judge"
    assert (again.event, again.forced, again.why) == ("rolled back to", False, "it misread forms")
    assert rows["v0.1.0"].registration.why == "a start"
    assert rows["v0.2.0"].registration.why == ""


def test_tags_that_gto_or_git_made_are_shown_with_their_message(project: Project) -> None:
    git(project.root, "tag", "--annotate", "--message", "By hand", "digits#champion#9", "HEAD")
    commit_all(project.root)
    git(project.root, "tag", "--annotate", "--message", "By hand, too", "digits@v0.3.0", "HEAD")

    rows = read(project)

    assert rows["v0.2.0"].champion
    last = rows["v0.2.0"].registration.promotions[-1]
    assert (last.event, last.why, last.verdict, last.forced) == ("promoted", "By hand", "", False)
    assert rows["v0.3.0"].parent == "v0.2.0"  # by its place in the history


def test_a_commit_without_reports_has_a_row_without_figures(project: Project) -> None:
    for path in (project.metrics, project.model_card, project.root / "dvc.lock"):
        path.write_text("[]")
    commit_all(project.root)
    git(project.root, "tag", "--annotate", "--message", "x", "digits@v0.3.0", "HEAD")
    row = read(project)["v0.3.0"]
    assert (row.accuracy, row.errors, row.weights, row.interval) == (None, None, "", None)
    assert exit_code("models", "history") == 0


def test_the_table_marks_the_champion_and_keeps_markup_as_it_is(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("models", "history") == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[2].split()[:3] == ["*", "v0.1.0", git_date(project)]
    assert "96.00 % (95.00 – 97.00)" in lines[2]
    assert ": reads [bold]forms[/bold] " in " ".join(text.split())
    assert "  train.seed: 1 → 2" in lines


def test_json_has_the_same_rows(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("models", "history", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads(json.dumps(history.rows(project)))


def test_without_versions_the_history_is_empty(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for tag in git(project.root, "tag", "--list").split():
        git(project.root, "tag", "--delete", tag)
    assert history.rows(project) == []
    assert exit_code("models", "history") == 0
    assert capsys.readouterr().out == "No version yet; run 'digits models register'.\n"


def git_date(project: Project) -> str:
    form = "--format=%(taggerdate:short)"
    return git(project.root, "for-each-ref", form, "refs/tags/digits@v0.1.0").strip()
