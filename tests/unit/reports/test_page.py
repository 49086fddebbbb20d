"""The HTML report: faithful to the reports, complete without some, safe with hostile ones."""

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import exit_code
from reading import Seen
from repository import commit_all, git

from digits.core.errors import DataError
from digits.core.project import Project
from digits.plots import sheets
from digits.registry import registry
from digits.reports import page

HOSTILE = """<script>alert("x")</script><img src=x onerror='y'>{{ 7 * 6 }}"""
TABLE_OF_TEN = {
    str(digit): {
        "n": 1000,
        "precision": 0.997,
        "recall": 0.9911 if digit == 9 else 0.998,
        "recall_interval": [0.98, 0.999],
        "f1": 0.9974,
    }
    for digit in range(10)
}
METRICS: dict[str, Any] = {
    "test": {
        "n": 10_000,
        "errors": 30,
        "accuracy": 0.997,
        "accuracy_interval": [0.9957, 0.9979],
        "precision": 0.9969,
        "recall": 0.9968,
        "f1": 0.9967,
        "f1_interval": [0.9956, 0.9978],
        "calibration_error": 0.0012,
        "per_digit": TABLE_OF_TEN,
        "confusion": [[997 if row == column else 0 for column in range(10)] for row in range(10)],
    },
    "val": {"n": 5000, "accuracy": 0.9962, "loss": 0.0172},
    "batches": {
        "uci-digits": {
            "n": 1797,
            "errors": 63,
            "accuracy": 0.9649,
            "accuracy_interval": [0.9554, 0.9725],
            "in_sample": 0,
        },
        "forms": {"n": 120, "errors": 0, "accuracy": 1.0, "in_sample": 100},
    },
}
CARD: dict[str, Any] = {
    "model": "allconv",
    "parameters": 243210,
    "weights": {"models/digits.weights.h5": "5e" * 32},
    "epochs": 3,
    "best_epoch": 2,
    "members": [{"val_objective": 0.0131, "val_accuracy": 0.9961}],
    "train": {"accuracy": 0.9951, "loss": 0.02},
    "val": {"accuracy": 0.1111, "loss": 0.2222},
    "gap": -0.0011,
    "built_with": {"keras": "3.15.1"},
}
VALIDATION: dict[str, Any] = {
    "success": True,
    "expectations": [
        {
            "suite": "index",
            "expectation": "expect_column_values_to_be_in_set",
            "column": "label",
            "success": True,
            "observed": 0.25,
            "unexpected_count": 0,
            "examples": [],
            "says": "every label is 0–9",
        }
    ],
}
DRIFT: dict[str, Any] = {
    "reference": {"n": 5000},
    "batches": {
        "uci-digits": {
            "drift": True,
            "p_value": 1e-9,
            "n": 1797,
            "alpha": 0.01,
            "estimated_accuracy": 0.93,
            "accuracy_low": 0.9,
            "accuracy_high": 0.95,
            "tolerance": 0.05,
            "harmful": True,
            "no_digit_share": 0.04,
            "accuracy": 0.3333,
            "tests": {
                "slant": {"distance": 0.05, "p_value": 0.2, "drift": False},
                "ink": {"distance": 0.5, "p_value": 1e-12, "drift": True},
            },
        }
    },
}
PARAMS = {
    "train": {"epochs": 10, "augmentation": {"shift": 2}},
    "evaluate": {"confidence_level": 0.95},
    "drift": {"tolerance": 0.05},
}
LOCK = {
    "stages": {
        "train": {
            "params": {"params.yaml": {"train": {"epochs": 10, "augmentation": {"shift": 2}}}},
            "outs": [{"path": "models", "md5": "bb0123456789aa.dir"}],
        }
    }
}
DATA = {"outs": [{"md5": "3f2a9c0d.dir", "size": 54_950_048, "nfiles": 7, "path": "data"}]}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.reports.mkdir(parents=True)
    (made.root / "dvc.yaml").write_text("stages: {}\n")
    _write(made.metrics, METRICS)
    _write(made.model_card, CARD)
    _write(made.validation_report, VALIDATION)
    _write(made.drift_report, DRIFT)
    _write(made.params, PARAMS)
    _write(made.root / "dvc.lock", LOCK)
    _write(made.data_pointer, DATA)
    made.mistakes.write_text("index,label,prediction,confidence\n12,4,9,0.61\n7,3,5,0.9876\n")
    made.plots.mkdir()
    for name in ("calibration", "per_digit", "confusion", "curves"):
        (made.plots / f"{name}.png").write_bytes(f"plot of {name}".encode())
    (made.root / "README.md").write_text("# T\n\n<!-- results -->\n<!-- /results -->\n\nend\n")
    return made


def _write(path: Path, document: Any) -> None:
    text = json.dumps(document) if path.suffix == ".json" else yaml.safe_dump(document)
    path.write_text(text, encoding="utf-8")


def test_the_page_shows_the_values_of_the_reports(project: Project) -> None:
    words = Seen(page.build(project)).words
    for expected in (
        "99.70 % accuracy on 10,000 test images, which were used neither to train nor to choose",
        "95 % confidence interval: 99.57 – 99.79 %.",
        "Macro precision 99.69 %",
        "Macro F1 99.67 % 99.56 – 99.78 %",
        "9 1,000 99.11 % 98.00 – 99.90 % 99.70 % 99.74 %",
        "✓ met every label is 0–9 index · label 0.25",
        "uci-digits ✗ harmful 96.49 % 95.54 – 97.25 % 93.00 % 90.00 – 95.00 % no 63 of 1,797",
        "forms ? not checked 100.00 % – ! in-sample 0 of 120",
        "was trained or chosen on 100 of these 120 images, so its accuracy here is in-sample",
        "It differs in 1 of 2 features. Harmful: the model reads these images worse than "
        "validation images by more than 5.00 %, as measured. 4.00 % of the images "
        "seem to show no digit.",
        "Drift by feature: 1 of 2 differ Compared with 5,000 validation images, p < 0.0001 "
        "(drift: p < 0.01). P-values are adjusted",
        "allconv, 243,210 parameters, best epoch 2 of 3",
        "SHA-256 " + "5e" * 32,
        "keras 3.15.1",
        "data, 7 files, 55.0 MB MD5 3f2a9c0d.dir",
        "models bb01234567",
        "augmentation.shift 2",
    ):
        assert expected in words


def test_every_figure_has_one_definition(project: Project) -> None:
    """Validation figures are those of the metrics, the curves' loss has another name."""
    words = Seen(page.build(project)).words
    assert "Training up to 5,000 Validation 5,000 Test 10,000" in words
    assert "Accuracy 99.51 % 99.62 % 99.70 %" in words
    assert "Cross-entropy 0.0200 0.0172 –" in words
    assert "not the objective of the curves: at the best epoch, that was 0.0131" in words
    for other in ("11.11 %", "0.2222", "33.33 %"):  # the card's and the drift report's
        assert other not in words


def test_the_page_loads_no_other_resource(project: Project) -> None:
    seen = Seen(page.build(project))
    assert not {"script", "iframe", "object", "base", "form"} & set(seen.tags)
    for name, value in seen.attributes:
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert value.startswith(("data:", "#")), value
    html = page.build(project)
    assert "://" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_every_tag_is_closed_and_every_link_has_its_anchor(project: Project) -> None:
    seen = Seen(page.build(project))
    assert seen.open == []
    anchors = {value for name, value in seen.attributes if name == "id"}
    links = [value[1:] for name, value in seen.attributes if value.startswith("#")]
    assert links
    assert set(links) <= anchors


def test_equal_reports_give_an_equal_page_in_any_folder(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for path in (project.metrics, project.plots / "curves.png"):
        path.unlink()  # a missing report must not name the folder either
    git(project.root, "init", "--quiet")
    git(project.root, "config", "user.name", "Somebody")
    git(project.root, "config", "user.email", "somebody@localhost")
    commit_all(project.root)
    shutil.copytree(project.root, elsewhere)
    html = page.build(project)
    assert html == page.build(Project(elsewhere))
    assert str(tmp_path) not in html


@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("reports/metrics.json", "dvc repro evaluate"),
        ("reports/model.json", "dvc repro train"),
        ("reports/validation.json", "dvc repro validate"),
        ("reports/drift.json", "dvc repro drift"),
        ("dvc.lock", "dvc repro"),
        ("data.dvc", "git checkout data.dvc"),
    ],
)
@pytest.mark.parametrize("damage", [None, "{]", "[1]"])
def test_an_unreadable_report_is_replaced_by_the_command_that_creates_it(
    project: Project, place: str, command: str, damage: str | None
) -> None:
    path = project.root / place
    path.unlink()
    if damage:
        path.write_text(damage)
    seen = Seen(page.build(project))
    assert f"Not available. Run {command} to create it. {place}:" in seen.words
    assert "Parameters" in seen.words


def test_an_empty_project_has_a_page(tmp_path: Path) -> None:
    words = Seen(page.build(Project(tmp_path))).words
    assert "There is no evaluated model yet." in words
    assert words.count("Not available.") > 8


def test_missing_values_become_dashes(project: Project) -> None:
    keys = ("n", "accuracy", "precision", "recall", "f1")
    _write(project.metrics, {"test": {key: METRICS["test"][key] for key in keys}})
    _write(project.drift_report, {"batches": {"few": {"drift": None, "n": 3}}})
    rows = [{"success": True, "says": "a", "checked": 60000}, {"success": True, "says": "b"}]
    _write(project.validation_report, {"success": True, "expectations": rows})
    words = Seen(page.build(project)).words
    assert "Misread images –" in words
    assert "✓ met a 60,000 checked ✓ met b –" in words
    assert "few ? no verdict no labels" in words


def test_hostile_text_stays_text(project: Project) -> None:
    clean = Seen(page.build(project))
    batch = DRIFT["batches"]["uci-digits"] | {"tests": {HOSTILE: {"distance": 0.1}}}
    _write(project.drift_report, DRIFT | {"batches": {HOSTILE: batch}})
    expectation = VALIDATION["expectations"][0] | {
        "says": HOSTILE,
        "observed": [HOSTILE],
        "unexpected_count": 2,
        "examples": [HOSTILE],
    }
    _write(project.validation_report, {"success": False, "expectations": [expectation]})
    _write(project.model_card, CARD | {"model": HOSTILE, "weights": {HOSTILE: HOSTILE}})
    _write(project.params, PARAMS | {HOSTILE: {HOSTILE: HOSTILE}})
    project.mistakes.write_text(
        f'index,label,prediction,confidence\n1,"{HOSTILE.replace(chr(34), chr(34) * 2)}",2,0.5\n'
    )
    seen = Seen(page.build(project))
    assert seen.words.count(HOSTILE) >= 9
    assert f"{HOSTILE} differs from the training data" in seen.words
    assert "script" not in seen.tags
    assert seen.tags.count("img") == clean.tags.count("img")


def test_doubted_labels_are_shown_with_their_images(project: Project) -> None:
    before = Seen(page.build(project))
    assert "Labels that are doubted" not in before.words
    header = "set,index,id,label,read,similar,trust\n"
    project.doubted_labels.write_text(f"{header}train,7,7,4,9,0,-3.5\n<i>,8,60008,1,2,1,-2.5\n")
    images = np.full((2, 28, 28), 90, dtype=np.uint8)
    project.doubted_labels_sheet.write_bytes(sheets.sheet(images))
    seen = Seen(page.build(project))
    assert "labelled 4, read 9 #7 of train" in seen.words
    assert "labelled 1, read 2 #8 of <i>" in seen.words
    assert seen.tags.count("img") == before.tags.count("img") + 2


def test_images_that_break_an_expectation_are_shown_with_what_to_do(project: Project) -> None:
    row = {"suite": "train-labels", "says": "labels fit", "column": "wrong", "success": False}
    row |= {"checked": 3, "unexpected_count": 2, "advice": "correct the labels"}
    row["examples"] = [{"id": 7, "label": 3, "read": 8}, {"id": 9, "label": 1, "read": 7}, "text"]
    _write(project.validation_report, {"success": False, "expectations": [row]})
    before = Seen(page.build(project))
    assert "7 (label 3, read 8)" in before.words
    assert "To do: correct the labels" in before.words
    project.ingested.mkdir(parents=True)
    pd.DataFrame({"id": [5, 7, 9]}).to_parquet(project.ingested / "index.parquet")
    np.save(project.ingested / "images.npy", np.full((3, 28, 28), 90, dtype=np.uint8))
    seen = Seen(page.build(project))
    assert seen.tags.count("img") == before.tags.count("img") + 2
    assert "#9 (label 1, read 7)" in seen.words


def test_a_damaged_list_of_doubted_labels_is_left_out(project: Project) -> None:
    project.doubted_labels.write_text('a,b\n"')
    project.doubted_labels_sheet.write_bytes(b"no picture")
    assert "Labels that are doubted" not in Seen(page.build(project)).words


def _bars(project: Project) -> list[str]:
    styles = [value for name, value in Seen(page.build(project)).attributes if name == "style"]
    return [style for style in styles if style.startswith("width:") and "." in style]


def test_bars_have_one_scale_that_a_huge_distance_does_not_change(project: Project) -> None:
    far = {
        "strange picture": {"distance": 72.0, "p_value": 0.001, "view": "strangest"},
        "digit 3": {"distance": 0.1, "p_value": 0.2, "view": "digits"},
        "slant": {"distance": 0.5, "p_value": 0.02, "view": "picture"},
    }
    near = {"slant": {"distance": 0.2}, "ink": {"distance": 0.4}}
    _write(project.drift_report, {"batches": {"far": {"tests": far}, "near": {"tests": near}}})
    assert _bars(project) == [
        f"width:{width}%" for width in ("100.0", "25.0", "50.0", "20.0", "10.0")
    ]
    assert page.build(project).count('class=" cut"') == 1


@pytest.mark.parametrize(
    ("report", "badge"),
    [
        ({"verdict": "none", "drift": False, "harmful": False}, "✓ no drift"),
        ({"verdict": "drift", "drift": True, "harmful": False}, "! drift"),
        ({"verdict": "harmful", "drift": False, "harmful": True}, "✗ harmful"),
    ],
)
def test_the_badge_of_a_batch_is_its_verdict(
    project: Project, report: dict[str, Any], badge: str
) -> None:
    _write(project.drift_report, {"batches": {"march": report}})
    assert Seen(page.build(project)).words.count(f"march {badge}") == 2


def test_the_picture_of_a_check_is_shown_if_it_is_of_this_check(project: Project) -> None:
    without = Seen(page.build(project))
    pages = project.html / "drift"
    pages.mkdir(parents=True)
    (pages / "uci-digits.png").write_bytes(b"a picture")
    (pages / "uci-digits.html").write_text("Evidently's")
    _write(pages / "uci-digits.json", DRIFT["batches"]["uci-digits"])
    seen = Seen(page.build(project))
    assert seen.tags.count("img") == without.tags.count("img") + 1
    assert ("href", "../build/html/drift/uci-digits.html") in seen.attributes
    _write(pages / "uci-digits.json", DRIFT["batches"]["uci-digits"] | {"p_value": 0.5})
    assert Seen(page.build(project)).words == without.words


def test_a_hostile_distance_cannot_inject_css(project: Project) -> None:
    tests = {"ink": {"distance": "1;} body{display:none", "p_value": "x", "drift": True}}
    _write(project.drift_report, {"batches": {"b": {"tests": tests}}})
    assert "display:none" not in page.build(project)


@pytest.mark.parametrize("style", ["nested", "dotted"])
def test_a_changed_parameter_is_marked(project: Project, style: str) -> None:
    locked = {"train": {"epochs": 12}} if style == "nested" else {"train.epochs": 12}
    _write(project.root / "dvc.lock", {"stages": {"train": {"params": {"params.yaml": locked}}}})
    assert "epochs 10 ! results used 12" in Seen(page.build(project)).words


@pytest.mark.parametrize(
    "metrics",
    [
        {"test": []},
        {"test": {"n": 1, "accuracy": 1, "per_digit": []}},
        {"test": {"n": "1", "accuracy": 1}, "val": {"n": 1, "accuracy": 1}},
        {"batches": {"b": []}},
        {"batches": []},
        {"corrupted": []},
        {"leaks": [1]},
    ],
)
def test_a_report_of_another_form_is_one_line_of_error_or_a_page(
    project: Project,
    metrics: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _write(project.metrics, metrics)
    monkeypatch.chdir(project.root)
    if exit_code("report") == 2:
        error = capsys.readouterr().err
        assert error.startswith("digits: a file in reports/ has an unexpected form")
        assert error.count("\n") == 1


# the header


def test_the_header_says_which_commit_data_and_machine_it_speaks_of(
    toy_project: Project,
) -> None:
    html = page.build(toy_project)
    words = Seen(html).words
    commit, date = git(toy_project.root, "log", "-1", "--format=%h %cs").split()
    assert f"Commit {commit[:7]} Change {date} Data" in words
    assert "weights" in words
    assert f"Python {platform.python_version()}" in words
    assert "uncommitted" not in words
    assert socket.gethostname() not in html
    assert str(toy_project.root) not in html

    git(toy_project.root, "commit", "--quiet", "--allow-empty", "-m", f"{HOSTILE} of a branch")
    toy_project.params.write_text(toy_project.params.read_text() + "\n")
    words = Seen(page.build(toy_project)).words
    assert f"{HOSTILE} of a branch" in words
    assert "! not as committed with uncommitted changes: params.yaml" in words


def test_the_header_of_a_project_without_git(project: Project) -> None:
    words = Seen(page.build(project)).words
    assert "Commit none Data" in words
    assert "Can't be judged" in words


def test_the_history_has_the_versions_side_by_side(toy_project: Project) -> None:
    registry.promote(toy_project, "v0.1.0", force=True, reason="a test")
    words = Seen(page.build(toy_project)).words
    assert "train.seed 1 → 2" in words
    assert "v0.1.0 champion" in words
    assert "promoted ! by force by Somebody: a test; gate: promote" in words


def test_misread_images_of_a_batch_are_shown(built_project: Project) -> None:
    figures = json.loads(built_project.metrics.read_text())
    n = figures["batches"]["uci-digits"]["errors"]
    assert n > 0
    words = Seen(page.build(built_project)).words
    batch, _, rest = words.partition(f"{n} misread images, the most confident first")
    assert f"{n} of 120" in batch
    assert " read as " in rest.partition("Per digit")[0]
    assert "no sheet" not in words
    assert "Not available" not in words
    assert page.build(built_project) == page.build(built_project)


def test_mistakes_are_listed_most_confident_first_and_capped(project: Project) -> None:
    assert "7 3 5 98.76 % 12 4 9 61.00 %" in Seen(page.build(project)).words
    rows = "".join(f"{index},4,9,0.5\n" for index in range(300))
    project.mistakes.write_text("index,label,prediction,confidence\n" + rows)
    words = Seen(page.build(project)).words
    assert "Table of the 200 most confident of 300 errors" in words
    assert "199 4 9 50.00 %" in words
    assert "200 4 9 50.00 %" not in words


@pytest.mark.parametrize(
    "table", ["", "index,label\n1,2\n", "index,label,prediction,confidence\n1,2,3,high\n"]
)
def test_a_damaged_table_is_an_error_that_names_the_file(project: Project, table: str) -> None:
    project.mistakes.write_text(table)
    with pytest.raises(DataError, match=r"mistakes\.csv: expected columns index, label"):
        page.build(project)


def test_missing_plots_are_replaced_by_the_command_that_draws_them(project: Project) -> None:
    for plot in project.plots.iterdir():
        plot.unlink()
    words = Seen(page.build(project)).words
    assert words.count("Not available. Run dvc repro evaluate to create it.") == 5


def test_report_writes_the_page_and_updates_the_readme(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.reports)
    assert exit_code("report", "--check") == 1
    assert "run 'digits report --readme'" in capsys.readouterr().err
    assert not project.index_page.exists()
    assert exit_code("report", "--readme") == 0
    assert capsys.readouterr().out == "reports/index.html written; README.md rewritten\n"
    assert project.index_page.read_text(encoding="utf-8") == page.build(project)
    assert "| Accuracy | **99.70 %**" in (project.root / "README.md").read_text()
    assert exit_code("report", "--check") == 0
    assert exit_code("report", "--readme", "--json") == 0
    out = capsys.readouterr().out.partition("README.md is current\n")[2]
    assert json.loads(out) == {"page": "reports/index.html", "readme_changed": False}


def test_report_without_readme_leaves_it_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    before = (project.root / "README.md").read_bytes()
    assert exit_code("report") == 0
    assert (project.root / "README.md").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--check", "--readme"], "--check writes nothing"),
        (["--readme"], "README.md: expected '<!-- results -->' once"),
    ],
)
def test_report_says_what_is_wrong(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(project.root)
    (project.root / "README.md").write_text("no markers\n")
    assert exit_code("report", *arguments) == 2
    assert says in capsys.readouterr().err


def test_report_opens_a_browser(project: Project, tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{opened}"\n')
    browser.chmod(0o755)
    subprocess.run(
        [sys.executable, "-m", "digits", "report", "--open"],
        cwd=project.root,
        env=os.environ | {"BROWSER": str(browser)},
        check=True,
        timeout=60,
    )
    assert opened.read_text().strip() == project.index_page.as_uri()
