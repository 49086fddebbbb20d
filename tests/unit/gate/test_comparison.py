"""`digits compare` on a real git and DVC project, and its arithmetic alone."""

import dataclasses
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from repository import commit_all, dvc, git, init
from rich.console import Console

from digits.cli import main
from digits.cli.compare import MARKER, render, show
from digits.core.errors import ParameterError
from digits.gate import comparison

ROOT = Path(__file__).parents[3]
PIPELINE = {
    "stages": {
        "evaluate": {
            "cmd": f"{sys.executable} src/evaluate.py",
            "deps": ["data", "src"],
            "params": ["train"],
            "outs": [{"reports/mistakes.csv": {"cache": False}}, "models"],
            "metrics": [{"reports/metrics.json": {"cache": False}}],
        }
    }
}
EVALUATE = """
import json, pathlib
wrong = json.loads(pathlib.Path("src/wrong.json").read_text())
accuracy = 1 - len(wrong) / 1000
digits = {"3": {"recall": accuracy, "f1": accuracy, "n": 100}, "4": {"recall": 1.0, "f1": 1.0}}
test = {"n": 1000, "per_digit": digits, "accuracy_interval": [0.9, 1.0], "calibration_error": 0.01}
test |= dict.fromkeys(["accuracy", "f1", "precision", "recall"], accuracy)
pathlib.Path("reports/metrics.json").write_text(json.dumps({"test": test, "val": {"n": 500}}))
rows = ["index,label,prediction,confidence", *(f"{one},3,4,0.9" for one in wrong)]
pathlib.Path("reports/mistakes.csv").write_text("\\n".join(rows))
pathlib.Path("models").mkdir()
"""

EMPTY = comparison.Comparison(
    base="main",
    commit="c" * 40,
    head="d" * 40,
    comparable=True,
    regressions=[],
    metrics=[],
    digits=[],
    significance=None,
    not_tested="",
    parameters=[],
    data=[],
    drift=[],
    validation=None,
    code=[],
    plots=[],
    stale={},
)


def write(folder: Path, path: str, document: Any) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(json.dumps(document))


def evaluate(folder: Path, wrong: list[int]) -> None:
    """Rebuild with a model that gets these test images wrong."""
    write(folder, "src/wrong.json", wrong)
    dvc(folder, "repro", "--quiet")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commit `first` has a pipeline but no metrics; on `main`, images 1 to 5 are wrong."""
    folder = tmp_path_factory.mktemp("template") / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "reports").mkdir()
    init(folder)
    (folder / "data" / "digits").write_text("data")
    dvc(folder, "add", "--quiet", "data")
    (folder / "src" / "evaluate.py").write_text(EVALUATE)
    (folder / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    shutil.copy(ROOT / "params.yaml", folder)
    commit_all(folder)
    git(folder, "tag", "first")
    write(folder, "reports/validation.json", {"success": True})
    write(folder, "reports/drift.json", {"batches": {"summer": {"drift": False}}})
    evaluate(folder, [1, 2, 3, 4, 5])
    commit_all(folder)
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(template, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def compare(*arguments: str) -> int:
    """Run `digits compare` in the working directory; returns its exit code."""
    try:
        main(["compare", *arguments])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_an_unchanged_tree_has_no_regression(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare() == 0
    out = capsys.readouterr().out
    assert "No regression against main" in out
    assert "exactly the same test images wrong" in out


def test_a_worse_model_on_a_branch_is_a_regression(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(project, "switch", "--quiet", "--create", "idea")
    parameters = yaml.safe_load((project / "params.yaml").read_text())
    seed = parameters["train"]["seed"]
    parameters["train"]["seed"] = seed + 1
    (project / "params.yaml").write_text(yaml.safe_dump(parameters))
    evaluate(project, [1, 2, *range(10, 20)])
    commit_all(project)

    assert compare("--json") == 1

    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["base"] == "main"
    accuracy = next(row for row in result["metrics"] if row["name"] == "test.accuracy")
    assert accuracy["outcome"] == "regression"
    assert accuracy["change"] == pytest.approx(-0.007)
    assert result["significance"]["newly_wrong"] == list(range(10, 20))
    assert result["significance"]["newly_right"] == [3, 4, 5]
    assert result["parameters"] == [{"name": "train.seed", "old": seed, "new": seed + 1}]
    assert [row["name"] for row in result["digits"]] == ["3.f1", "3.recall"]
    assert result["code"] == ["src/wrong.json"]
    assert result["stale"] == {}
    assert "test.accuracy went from 0.9950 to 0.9880; it may get worse by 0.001 at most" in err
    assert len(err.splitlines()) == 1


def test_a_fresh_clone_without_cache_gives_the_same_markdown(project: Path, tmp_path: Path) -> None:
    evaluate(project, [1, 2, 3])
    commit_all(project)
    here, there = tmp_path / "here.md", tmp_path / "there.md"
    assert compare("HEAD~1", "--markdown", str(here)) == 0
    git(tmp_path, "clone", "--quiet", "project", "clone")
    os.chdir(tmp_path / "clone")
    assert compare("HEAD~1", "--markdown", str(there)) == 0
    assert here.read_text() == there.read_text()
    assert here.read_text().startswith(f"{MARKER}\n## ✅ No regression against `HEAD~1 (")
    assert "✅ better" in here.read_text()


def test_markdown_gives_the_reasons_first(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(project, [1, 2, 3, 4, 5, 6, 7])
    write(project, "reports/validation.json", {"success": False})
    write(project, "reports/drift.json", {"batches": {"summer": {"drift": True}, "new": {}}})
    (project / "reports" / "plots").mkdir()
    (project / "reports" / "plots" / "a](b).png").write_bytes(b"")
    commit_all(project)

    assert compare("HEAD~1", "--markdown", "--links", "https://forge/blob") == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == MARKER
    assert lines[1].startswith("## ❌ Regression against `HEAD~1 (")
    assert "data validation succeeded before and fails now" in "".join(lines[2:10])
    text = "\n".join(lines)
    assert "| `summer` | `false` | `true` |" in text
    assert "reports/plots/a%5D%28b%29.png?raw=true)" in text


@pytest.mark.parametrize("arguments", [["--markdown"], ["main", "--markdown", "--strict"]])
def test_markdown_without_a_file_is_printed(
    project: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{MARKER}\n## ✅ No regression against `main (")
    assert out.endswith("\n")


def test_a_revision_in_the_place_of_the_markdown_file_is_an_error(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare("--markdown", "main") == 2
    assert "run 'digits compare main --markdown' to compare with it" in capsys.readouterr().err
    assert not Path("main").exists()

    assert compare("--markdown", "./main") == 0
    assert Path("main").read_text().startswith(MARKER)
    assert "Markdown written to ./main" in capsys.readouterr().err


def test_a_base_without_metrics_is_nothing_to_compare_with(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare("first", "--markdown", "report.md") == 0
    assert "Nothing to compare with yet" in capsys.readouterr().out
    assert "has no `reports/metrics.json`" in Path("report.md").read_text()


@pytest.mark.parametrize("revision", ["nope", "HEAD~99", "--", "HEAD:src", "a b\nc"])
def test_an_unknown_revision_exits_with_2(
    project: Path, revision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare("--", revision) == 2
    err = capsys.readouterr().err
    assert err.startswith("digits: unknown revision")


def test_stale_results_are_listed_and_fail_with_strict(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "src" / "evaluate.py").write_text(EVALUATE + "# new\n")
    assert compare("--strict", "--markdown", "report.md") == 1
    out, err = capsys.readouterr()
    assert re.search(r"^evaluate +src *$", out, re.MULTILINE)
    assert "stale: evaluate; run 'dvc repro'" in err
    assert "⚠️ No regression, but stale results" in Path("report.md").read_text()


def test_new_data_is_listed_and_rules_out_the_paired_test(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "data" / "more").write_text("more")
    dvc(project, "add", "--quiet", "data")
    dvc(project, "repro", "--quiet")
    assert compare("--json") == 0
    result = json.loads(capsys.readouterr().out)
    changes = {one["name"]: (one["old"], one["new"]) for one in result["data"]}
    assert changes["nfiles"] == (1, 2)
    assert changes["size"] == (4, 8)
    assert "md5" in changes
    assert result["significance"] is None
    assert "not tested on the same images" in result["not_tested"]


def test_mistakes_that_contradict_the_accuracy_rule_out_the_paired_test(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "reports" / "mistakes.csv").write_text("index,label\n1,2\n")
    compare("--json")
    result = json.loads(capsys.readouterr().out)
    assert result["significance"] is None
    assert "lists 1 mistakes on one side, expected 5" in result["not_tested"]


def test_a_damaged_report_exits_with_2(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "reports" / "metrics.json").write_text("{")
    assert compare() == 2
    assert "reports/metrics.json: not valid JSON" in capsys.readouterr().err


def test_hostile_names_and_values_stay_in_their_cells() -> None:
    hostile = "a|b\n| x | y |\n</details><script>`` ![](http://x) @everyone \x1b[31m"
    result = dataclasses.replace(
        EMPTY,
        base="main\n# x",
        regressions=[hostile],
        metrics=[comparison.MetricChange(hostile, 0.5, 0.4, -0.1, 0.01, "regression")],
        parameters=[comparison.Change(hostile, hostile, None)],
        code=[hostile],
        plots=[hostile],
        stale={hostile: [hostile]},
    )
    text = render(result, links="https://forge/blob")

    assert "\x1b" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in tables} == {2, 3, 4, 7}
    outside = [part for line in text.splitlines() for part in line.split("```")[::2]]
    assert not any(word in part for part in outside for word in ("<script", "@everyone", "![]("))
    assert text.count("<details>") == text.replace("```", "\0").count("\n</details>")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or []]
    sources = [str(child.attrs["src"]) for child in inline if child.type == "image"]
    assert len(sources) == 2
    assert all(source.startswith("https://forge/blob/") for source in sources)
    assert not any(child.type in ("html_inline", "link_open") for child in inline)
    html = "".join(token.content for token in tokens if token.type == "html_block")
    tags = {"details", "/details", "summary", "/summary", "!-- digits-compare --"}
    assert set(re.findall(r"<([^>]*)>", html)) == tags


def test_long_lists_fit_into_one_comment() -> None:
    many = [f"src/{number}.py" for number in range(1000)]
    changes = [comparison.Change(name, "x" * 1000, "y" * 1000) for name in many]
    result = dataclasses.replace(
        EMPTY,
        significance=comparison.mcnemar(set(range(5000)), set()),
        parameters=changes,
        drift=changes,
        code=many,
        plots=many,
    )
    text = render(result, links="https://forge/blob")
    assert len(text) < 65_536
    assert "… and 960 more" in text


def test_long_and_hostile_names_fit_into_one_comment() -> None:
    names = [f"{number}{'|<' * 3000}" for number in range(100)]
    changes = [comparison.Change(name, name, name) for name in names]
    metrics = [comparison.MetricChange(name, 1, 2, 1, 0.1, "regression") for name in names]
    result = dataclasses.replace(
        EMPTY,
        base=names[0],
        regressions=names,
        metrics=metrics,
        digits=metrics,
        significance=comparison.mcnemar(set(range(5000)), set(range(5000, 10000))),
        parameters=changes,
        data=changes,
        drift=changes,
        validation=changes[0],
        code=names,
        plots=names,
        stale=dict.fromkeys(names, names),
    )
    assert len(render(result, links="https://forge/blob")) < 65_536


@pytest.mark.parametrize("width", [40, 200])
def test_no_two_names_look_the_same(width: int) -> None:
    long = ["a" * 1000 + middle + "z" * 1000 for middle in "bcd"]
    names = [*(f"src/digits/versioning/a_long_name_{n}.py" for n in range(3)), *long]
    values = [comparison.Change(name, name, name[::-1]) for name in names]
    result = dataclasses.replace(EMPTY, code=names, parameters=values)
    rows = [line for line in render(result).splitlines() if line.startswith("| `")]
    assert len(set(rows)) == 2 * len(names)

    console = Console(width=width, file=io.StringIO())
    show(result, console)
    shown = "".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert all(f"a_long_name_{n}.py" in shown for n in range(3))
    assert len(set(re.findall("…[0-9a-f]{8}…", render(result)))) == 6


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        (0.997, 0.997, "same"),
        (0.996, 0.997, "better"),
        (0.997, 0.996, "worse"),  # the tolerance exactly, despite rounding
        (0.997, 0.9959, "regression"),
        (0.997, None, "regression"),
        (0.997, float("nan"), "regression"),
        (0.997, "good", "regression"),
        (None, 0.997, "changed"),
    ],
)
def test_the_outcome_depends_on_direction_and_tolerance(old: Any, new: Any, outcome: str) -> None:
    metrics = {"test.accuracy": {"old": old, "new": new}}
    assert [row.outcome for row in comparison.judge(metrics, {"test.accuracy": 0.001})] == [outcome]


def test_lower_errors_and_losses_are_better() -> None:
    metrics = {"test.calibration_error": {"old": 0.01, "new": 0.02}, "n": {"old": 1, "new": 2}}
    rows = comparison.judge(metrics, {"test.calibration_error": 0.005})
    assert [row.outcome for row in rows] == ["regression", "changed"]
    counts = {"test.errors": {"old": 45, "new": 73}, "test.loss": {"old": 0.02, "new": 0.01}}
    assert [row.outcome for row in comparison.judge(counts, {})] == ["worse", "better"]


def test_a_tolerance_for_an_unknown_metric_is_an_error() -> None:
    with pytest.raises(ParameterError, match=r"'compare\.tolerance\.test\.acuracy'.*known are a"):
        comparison.judge({"a": {"old": 1, "new": 1}}, {"test.acuracy": 0.1})


def test_mcnemar_returns_the_exact_p_value() -> None:
    """b = 1, c = 9: 2 · (1 + 10) / 2¹⁰."""
    found = comparison.mcnemar(old={*range(9), 50}, new={50, 100})
    assert found.p_value == pytest.approx(22 / 1024)
    assert found.newly_wrong == [100]
    assert found.newly_right == list(range(9))


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_mcnemar_is_symmetric(one: set[int], other: set[int]) -> None:
    there, back = comparison.mcnemar(one, other), comparison.mcnemar(other, one)
    assert there.p_value == pytest.approx(back.p_value)
    assert (there.newly_wrong, there.newly_right) == (back.newly_right, back.newly_wrong)
    assert 0 < there.p_value <= 1
