"""The HTML report: faithful to the reports, complete without some, safe with hostile ones."""

import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import exit_code

from digits.core.errors import DataError
from digits.core.project import Project
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
    "val": {"n": 5000, "accuracy": 0.9962, "loss": 0.0131},
}
CARD: dict[str, Any] = {
    "model": "allconv",
    "parameters": 243210,
    "weights": {"models/digits.weights.h5": "5e" * 32},
    "epochs": 3,
    "best_epoch": 2,
    "train": {"accuracy": 0.9951, "loss": 0.02},
    "val": {"accuracy": 0.9962, "loss": 0.0131},
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
            "min_distance": 0.1,
            "estimated_accuracy": 0.93,
            "accuracy": None,
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
    "drift": {"min_distance": 0.1},
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
    for name in ("mistakes", "calibration", "per_digit", "confusion", "curves"):
        (made.plots / f"{name}.png").write_bytes(f"plot of {name}".encode())
    (made.root / "README.md").write_text("# T\n\n<!-- results -->\n<!-- /results -->\n\nend\n")
    return made


def _write(path: Path, document: Any) -> None:
    text = json.dumps(document) if path.suffix == ".json" else yaml.safe_dump(document)
    path.write_text(text, encoding="utf-8")


class Seen(HTMLParser):
    """The text, tags and attributes of a page, as a browser parses them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.words = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data + " "


def test_the_page_shows_the_values_of_the_reports(project: Project) -> None:
    words = Seen(page.build(project)).words
    for expected in (
        "99.70 % accuracy on 10,000 test images, which were used neither to train nor to choose",
        "95 % confidence interval: 99.57 – 99.79 %.",
        "Macro precision 99.69 %",
        "Macro F1 99.67 % 99.56 – 99.78 %",
        "9 1,000 99.11 % 98.00 – 99.90 % 99.70 % 99.74 %",
        "✓ met every label is 0–9 index · label 0.25",
        "uci-digits ! drift 1,797 images, p < 0.0001 "
        "(drift: p < 0.01 and distance ≥ 0.1). Estimated accuracy 93.00 %.",
        "allconv, 243,210 parameters, best epoch 2 of 3",
        "SHA-256 " + "5e" * 32,
        "keras 3.15.1",
        "data, 7 files, 55.0 MB MD5 3f2a9c0d.dir",
        "models bb01234567",
        "augmentation.shift 2",
    ):
        assert expected in words


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
    assert "few ? no verdict 3 images" in words


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
    assert "script" not in seen.tags
    assert seen.tags.count("img") == clean.tags.count("img")


def test_bars_share_one_scale_and_are_sorted_by_distance(project: Project) -> None:
    far = {"min_distance": 0.1, "tests": {"ink": {"distance": 2.0}, "slant": {"distance": 0.5}}}
    near = {"min_distance": 0.1, "tests": {"slant": {"distance": 0.2}, "ink": {"distance": 0.4}}}
    _write(project.drift_report, {"batches": {"near": near, "far": far}})
    styles = [value for name, value in Seen(page.build(project)).attributes if name == "style"]
    bars = [style for style in styles if style.startswith(("width:", "left:")) and "." in style]
    assert bars == [
        *("width:100.0%", "left:5.0%", "width:25.0%", "left:5.0%"),
        *("width:20.0%", "left:5.0%", "width:10.0%", "left:5.0%"),
    ]


def test_a_hostile_distance_cannot_inject_css(project: Project) -> None:
    tests = {"ink": {"distance": "1;} body{display:none", "p_value": "x", "drift": True}}
    _write(project.drift_report, {"batches": {"b": {"tests": tests}}})
    assert "display:none" not in page.build(project)


def _check(project: Project, start: str) -> page.Check:
    checks = page.checks(page.Sources.read(project))
    return next(check for check in checks if check.finding.startswith(start))


def test_a_good_model_passes_all_checks(project: Project) -> None:
    _write(project.drift_report, {"batches": {"b": {"drift": False}}})
    checks = page.checks(page.Sources.read(project))
    assert {check.status for check in checks} == {"pass"}
    assert "All checks passed." in Seen(page.build(project)).words


def test_invalid_data_fails_its_check(project: Project) -> None:
    bad = VALIDATION["expectations"][0] | {"success": False}
    expectations = [*VALIDATION["expectations"], bad]
    _write(project.validation_report, {"success": False, "expectations": expectations})
    check = _check(project, "The data is not valid")
    assert (check.status, check.detail) == ("fail", "1 of 2 expectations are not met")
    assert "Do not ship this model: a check failed." in Seen(page.build(project)).words


@pytest.mark.parametrize(
    ("accuracy", "finding"),
    [
        (0.9962, "Validation and test accuracy agree"),
        (0.9999, "Test accuracy is lower than validation accuracy"),
        (0.98, "Test accuracy is higher than validation accuracy"),
    ],
)
def test_the_gap_is_compared_with_the_sampling_error(
    project: Project, accuracy: float, finding: str
) -> None:
    _write(project.metrics, METRICS | {"val": {"n": 5000, "accuracy": accuracy}})
    assert "points apart; up to 0." in _check(project, finding).detail


@pytest.mark.parametrize("style", ["nested", "dotted"])
def test_a_changed_parameter_is_marked_as_stale(project: Project, style: str) -> None:
    locked = {"train": {"epochs": 12}} if style == "nested" else {"train.epochs": 12}
    _write(project.root / "dvc.lock", {"stages": {"train": {"params": {"params.yaml": locked}}}})
    assert "train.epochs; run dvc repro" in _check(project, "The results are stale").detail
    assert "epochs 10 ! results used 12" in Seen(page.build(project)).words


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
