"""The summary that ends a run: results, drift, what ran, what was unchanged, how long it took."""

from pathlib import Path

import pytest

from digits.core import files
from digits.core.project import Project
from flows import summary
from flows.summary import Step

STEPS = [Step("fetch", "ran", 6.1), Step("ingest", "unchanged", 0.5), Step("train", "ran", 87.6)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    test = dict.fromkeys(("accuracy", "precision", "recall", "f1"), 0.9966)
    interval = {"accuracy_interval": [0.9953, 0.9976], "n": 10_000, "errors": 34}
    files.write_json(project.metrics, {"test": test | interval})
    verdict = {"n": 1797, "verdict": "drift", "p_value": 1e-9, "estimated_accuracy": 0.947}
    files.write_json(project.drift_report, {"batches": {"uci|digits": verdict}})
    return project


def test_markdown_has_results_drift_times_and_places(project: Project) -> None:
    lines = summary.markdown(project, STEPS).splitlines()
    assert lines[0] == ("**accuracy 0.9966 (0.9953–0.9976) on 10,000 test images, 34 misread**")
    for line in (
        "| macro F1 | 0.9966 |",
        "| uci&#124;digits | 1,797 | drift | 1e-09 | 0.947 |",
        "| ingest | unchanged | 0.5 s |",
        "| train | ran | 1 min 28 s |",
        "| **total** | **2 ran, 1 unchanged** | 1 min 34 s |",
        "- report: reports/index.html",
    ):
        assert line in lines


def test_the_terminal_shows_the_same(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    summary.show(project, STEPS)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["accuracy", "0.9966"] in rows
    assert ["uci|digits", "1,797", "drift", "1e-09", "0.947"] in rows
    assert ["train", "ran", "1", "min", "28", "s"] in rows


def test_no_steps_are_shown_when_there_was_nothing_to_do(project: Project) -> None:
    assert "| step |" not in summary.markdown(project, [])
