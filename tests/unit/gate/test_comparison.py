"""`digits compare` on a real git and DVC project."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import exit_code
from PIL import Image
from reported import change, image, project, report
from repository import commit_all, dvc, git

from digits.reports.comparison.markdown import MARKER

BASE = {"summer": [1, 2]}  # misread images of a batch on main


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commit `first` has no results; on `main`, test images 0 to 9 are misread."""
    folder = project(tmp_path_factory.mktemp("template") / "project")
    git(folder, "tag", "first")
    report(folder, range(10), BASE)
    commit_all(folder)
    return folder


@pytest.fixture
def tree(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the template on branch `idea`, as the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(template, folder, symlinks=True)
    monkeypatch.chdir(folder)
    git(folder, "switch", "--quiet", "--create", "idea")
    return folder


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `digits compare` and returns the exit code with the lines of its Markdown."""

    def compare(*arguments: str) -> tuple[int, list[str]]:
        code = exit_code("compare", *(arguments or ("main",)), "--markdown")
        return code, [line for line in capsys.readouterr().out.splitlines() if line]

    return compare


def set_value(folder: Path, section: str, key: str, value: Any) -> None:
    document = yaml.safe_load((folder / "params.yaml").read_text())
    inner = document
    for name in section.split("."):
        inner = inner[name]
    inner[key] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(document))


# verdicts


def test_an_unchanged_tree_is_the_same_model(tree: Path, lines: Any) -> None:
    code, text = lines()
    assert code == 0
    assert text[:2] == [MARKER, text[1]]
    assert text[1].startswith("## ✅ Same model · compared with `main` (")
    assert "**The same 10 of 1,000 test images are misread.**" in text
    assert "Parameters, data and the code of all stages are the same." in text


def test_a_worse_model_is_a_regression_with_its_reasons_first(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_value(tree, "models.accurate", "epochs", 1)
    set_value(tree, "models.tiny", "epochs", 1)
    report(tree, [0, 1, *range(100, 130)], BASE)
    commit_all(tree)
    assert exit_code("compare", "--markdown", "report.md") == 1
    text = [line for line in Path("report.md").read_text().splitlines() if line]
    assert text[1].startswith("## ❌ Regression · compared with `main` (")
    assert text[2] == (
        "**Accuracy on the test set fell by more than chance, from 99.00&nbsp;% to 96.80&nbsp;% "
        "(30 newly wrong, 8 newly right of 1,000; p = 0.00047).**"
    )
    assert "limits broken: accuracy on the test set" in text[3]
    assert text[4].startswith("Changed: `models.accurate.epochs` `6` → `1`, 1 file of code")
    out, err = capsys.readouterr()
    assert out.startswith("❌ Regression · compared with main (")
    assert "digits: against main (" in err
    assert "Accuracy on the test set fell by more than chance" in err

    assert exit_code("compare", "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert result["verdict"] == "regression"
    assert result["sets"]["test"]["difference"]["newly_wrong"] == list(range(100, 130))
    assert result["sets"]["test"]["difference"]["newly_right"] == list(range(2, 10))
    names = [one["name"] for one in result["changes"]["parameters"]]
    assert names == ["models.accurate.epochs"]  # models.tiny is not in use
    assert result["changes"]["unused"] == 1
    assert result["changes"]["code"] == ["src/results.json"]


def test_a_better_model_is_better(tree: Path, lines: Any) -> None:
    report(tree, [], BASE)
    code, text = lines()
    assert code == 0
    assert text[1].startswith("## ✅ Better · compared with")
    assert "rose by more than chance, from 99.00&nbsp;% to 100.00&nbsp;%" in text[2]


def test_a_difference_by_chance_is_no_change_and_folded(
    tree: Path, lines: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    report(tree, [*range(9), 100, 101], {"summer": [1, 2, 3]})
    code, text = lines()
    assert code == 0
    assert text[1].startswith("## ✅ No change beyond chance · compared with")
    assert text[2] == (
        "**Accuracy on the test set 99.00&nbsp;% → 98.90&nbsp;% (2 newly wrong, 1 newly right of "
        "1,000); chance explains this (p = 1).**"
    )
    folded = [line for line in text if line.startswith("<summary>")]
    for title in ("Digits", "Handwriting"):
        assert f"<summary>{title}: no change beyond chance</summary>" in folded
    assert "### Handwriting: accuracy and drift" not in text
    exit_code("compare", "main")
    out = capsys.readouterr().out
    assert "Digits: no change beyond chance" in out
    assert "newly wrong / right" not in out  # noise is one line on a terminal


def test_as_many_errors_on_one_digit_alone_are_a_regression(tree: Path, lines: Any) -> None:
    """Overall equal: ten other images are wrong, but all of them show a seven."""
    report(tree, range(7, 107, 10), BASE)
    code, text = lines()
    assert code == 1
    assert "Recall of digit 7 fell by more than chance" in text[2]
    assert "### Digits: 1 of 10 changed by more than chance" in text


def test_a_batch_that_is_read_worse_is_a_regression_unless_in_sample(
    tree: Path, lines: Any
) -> None:
    report(tree, range(10), {"summer": range(50, 70)})
    code, text = lines()
    assert code == 1
    assert "Accuracy on batch 'summer' fell by more than chance" in text[2]
    row = next(line for line in text if line.startswith("| `summer` |"))
    assert "99.00 → 90.00&nbsp;%" in row
    assert "20 &#47; 2" in row
    assert "❌" in row
    assert "no drift" in row

    report(tree, range(10), {"summer": range(50, 70)}, in_sample=5)
    code, text = lines()
    assert code == 0
    assert any(line.startswith("| `summer` |") and "in-sample" in line for line in text)


def test_a_limit_that_is_broken_for_the_first_time_is_a_regression(tree: Path, lines: Any) -> None:
    report(tree, range(10), BASE, calibration_error=0.5)
    code, text = lines()
    assert code == 1
    assert "calibration error 50.00&nbsp;%, at most 2.00&nbsp;%" in text[2]
    assert any(
        "| calibration error |" in line and "❌&nbsp;≤&nbsp;2&nbsp;%" in line for line in text
    )
    commit_all(tree)
    code, text = lines("HEAD")
    assert code == 0
    assert any("breaks, too: calibration error" in line for line in text)


def test_a_loosened_policy_is_said_in_red_in_the_first_lines(
    tree: Path, lines: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    set_value(tree, "gate", "min_accuracy", 0.5)
    set_value(tree, "gate", "max_corrupted_rise", 0.001)
    code, text = lines()
    assert code == 0
    assert text[2] == ("🔴 **The policy was loosened: gate.min_accuracy is looser: 0.97 → 0.5**")
    assert "- `gate.max_corrupted_rise`: `0.01` → `0.001`" in text
    exit_code("compare", "main", "--html", "page.html")
    page = Path("page.html").read_text()
    assert '<p class="alarm">The policy was loosened' in page


def test_invalid_data_is_a_regression(tree: Path, lines: Any) -> None:
    change(tree, "reports/validation.json", "success", value=False)
    rows = [{"says": "labels are digits", "success": False}]
    change(tree, "reports/validation.json", "expectations", value=rows)
    code, text = lines()
    assert code == 1
    assert "data validation succeeded before and fails now" in text[2].lower()
    assert "| `labels are digits` | met | not met |" in text


def test_stale_results_cannot_be_judged(
    tree: Path, lines: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tree / "src" / "evaluate.py").open("a") as file:
        file.write("# new\n")
    code, text = lines()
    assert code == 1
    assert text[1].startswith("## ⚠️ Can't be judged · compared with")
    assert "Evaluate is stale: src changed. Run 'digits run' and commit the results" in text[2]
    assert exit_code("compare", "main") == 1
    assert "Run 'digits run' and commit the results" in capsys.readouterr().err


def test_stale_results_are_no_regression_whatever_they_say(tree: Path, lines: Any) -> None:
    """As for the gate."""
    report(tree, range(200), BASE)
    commit_all(tree)
    with (tree / "src" / "evaluate.py").open("a") as file:
        file.write("# new\n")
    code, text = lines()
    assert code == 1
    assert text[1].startswith("## ⚠️ Can't be judged · compared with")
    assert "As reported, it is worse: the test set" in "\n".join(text)


def test_other_test_images_cannot_be_judged(tree: Path, lines: Any) -> None:
    report(tree, range(10), BASE, n=1000)
    change(tree, "reports/metrics.json", "test", "digest", value="other")
    code, text = lines()
    assert code == 1
    assert "were not tested on the same images" in text[2]


def test_a_base_without_results_is_nothing_to_compare_with(tree: Path, lines: Any) -> None:
    code, text = lines("first")
    assert code == 0
    assert text[1].startswith("## ✅ First results · compared with `first` (")
    assert "First has no reports&#47;metrics.json to compare with" in text[2]


def test_older_reports_are_compared_as_far_as_they_go(tree: Path, lines: Any) -> None:
    report(tree, range(10), BASE, recorded=False)
    for name in ("mistakes.png", "mistakes-handwriting.csv", "mistakes-handwriting.png"):
        (tree / "reports" / name).unlink()
    commit_all(tree)
    git(tree, "tag", "old")
    report(tree, [*range(9), 100], BASE)
    code, text = lines("old")
    assert code == 0
    assert text[1].startswith("## ✅ No change beyond chance · compared with `old`")
    assert any("Not recorded at" in line for line in text)
    assert "- accuracy on batches of handwriting" in text


# what changed


def test_batches_that_come_and_go_are_said_first_and_listed(tree: Path, lines: Any) -> None:
    report(tree, range(10), {"winter": [3]})
    _, text = lines()
    changed = next(line for line in text if line.startswith("Changed: "))
    assert "batch `winter` added (200 images), batch `summer` removed (200 images)" in changed
    assert "| batch `summer` | 200 | – |" in text
    assert "| batch `winter` | – | 200 |" in text
    assert "| its rarest digit | – | 0: 10.0&nbsp;% |" in text


def test_new_data_is_listed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "data" / "more").write_text("more")
    dvc(tree, "add", "--quiet", "data")
    dvc(tree, "repro", "--quiet")
    assert exit_code("compare", "main", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    found = {one["name"]: (one["old"], one["new"]) for one in result["changes"]["data"]}
    assert found["files"] == (1, 2)
    assert found["size"] == (4, 8)
    assert "md5" in found


def test_a_drift_verdict_that_changed_is_beside_the_accuracy(tree: Path, lines: Any) -> None:
    change(tree, "reports/drift.json", "batches", "summer", "drift", value=True)
    _, text = lines()
    assert "### Handwriting: accuracy and drift" in text
    assert any(line.startswith("| `summer` |") and "no drift → drift" in line for line in text)


def test_confusions_and_curves_are_compared(tree: Path, lines: Any) -> None:
    report(tree, range(7, 207, 10), BASE)
    _, text = lines()
    assert "| 7 read as 8 | 1 | 20 | &#43;19 |" in text
    assert "| validation accuracy, best | 99.00&nbsp;% (epoch 2) | 98.00&nbsp;% (epoch 2) |" in text


# pictures


def test_the_pictures_beside_the_markdown_are_those_that_changed_sides(tree: Path) -> None:
    report(tree, [*range(8), 100, 101, 102], {"summer": [1]})
    assert exit_code("compare", "main", "--markdown", "out/my report.md") == 0
    text = Path("out/my report.md").read_text()
    assert "most often 1 × 0 read as 1" in text
    for side, shown in (
        ("wrong", [("test", 100), ("test", 101), ("test", 102)]),
        ("right", [("test", 8), ("test", 9), ("summer", 2)]),
    ):
        assert f"](my%20report-newly-{side}.png)" in text
        with Image.open(f"out/my report-newly-{side}.png") as picture:
            page = np.asarray(picture.convert("L"))
        for place, (kind, index) in enumerate(shown):
            left = 8 + place * 100
            cell = page[8 : 8 + 84 : 3, left : left + 84 : 3]
            assert np.array_equal(cell, 255 - image(kind, index))


def test_links_show_what_is_committed_at_both_commits(tree: Path) -> None:
    report(tree, [*range(9), 100], BASE)
    commit_all(tree)
    exit_code("compare", "main", "--links", "https://forge/blob", "--markdown", "report.md")
    text = Path("report.md").read_text()
    old, new = (git(tree, "rev-parse", name).strip() for name in ("main", "HEAD"))
    for commit in (old, new):
        assert f"(https://forge/blob/{commit}/reports/plots/mistakes.png?raw=true)" in text
        assert f"(https://forge/blob/{commit}/reports/mistakes.png)" in text
    assert "](report-newly" not in text
    assert "| 0 read as 1 | test 100 | 90% |" in text


# the command


def test_a_fresh_clone_without_cache_gives_the_same_markdown(tree: Path, tmp_path: Path) -> None:
    report(tree, [1, 2, 3], BASE)
    commit_all(tree)
    here, there = tmp_path / "here.md", tmp_path / "there.md"
    assert exit_code("compare", "HEAD~1", "--markdown", str(here)) == 0
    git(tmp_path, "clone", "--quiet", "project", "clone")
    os.chdir(tmp_path / "clone")
    assert exit_code("compare", "HEAD~1", "--markdown", str(there)) == 0
    mine, theirs = here.read_text(), there.read_text()
    assert mine.replace("here-", "there-") == theirs
    assert mine.startswith(f"{MARKER}\n## ✅ ")


def test_the_default_base_is_where_the_branch_left_main(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = git(tree, "rev-parse", "main").strip()
    git(tree, "switch", "--quiet", "main")
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "Later")
    git(tree, "switch", "--quiet", "idea")
    exit_code("compare", "--json")
    result = json.loads(capsys.readouterr().out)
    assert (result["base"], result["commit"]) == ("main", left)


def test_a_revision_in_the_place_of_the_markdown_file_is_an_error(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("compare", "--markdown", "main") == 2
    assert "run 'digits compare main --markdown' to compare with it" in capsys.readouterr().err
    assert not Path("main").exists()
    assert exit_code("compare", "--markdown", "./main") == 0
    assert Path("main").read_text().startswith(MARKER)
    assert "Markdown written to main" in capsys.readouterr().err


@pytest.mark.parametrize("revision", ["nope", "HEAD~99", "--", "HEAD:src", "a b\nc"])
def test_an_unknown_revision_exits_with_2(
    tree: Path, revision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("compare", "--", revision) == 2
    assert capsys.readouterr().err.startswith("digits: unknown revision")


@pytest.mark.parametrize(
    ("path", "content", "error"),
    [
        ("metrics.json", "{", "reports/metrics.json: not valid JSON"),
        ("metrics.json", None, "reports/metrics.json: not found; run 'digits run'"),
        ("mistakes.csv", "index,label\n1,2\n", "reports/mistakes.csv: damaged"),
    ],
)
def test_a_damaged_report_exits_with_2(
    tree: Path, path: str, content: str | None, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tree / "reports" / path
    file.unlink() if content is None else file.write_text(content)
    assert exit_code("compare", "main") == 2
    assert error in capsys.readouterr().err
