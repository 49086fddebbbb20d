"""`digits compare` on a real git and DVC project, and its arithmetic on its own."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from digits.cli import main
from digits.cli.compare import MARKER, render
from digits.core.errors import ParameterError
from digits.versioning import comparison

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


def run(folder: Path, *command: str) -> str:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def dvc(folder: Path, *arguments: str) -> str:
    return run(folder, sys.executable, "-m", "dvc", *arguments)


def commit(folder: Path, message: str = "Change") -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", message)


def write(folder: Path, path: str, document: Any) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(json.dumps(document))


def evaluate(folder: Path, wrong: list[int]) -> None:
    """Have the model get these test images wrong."""
    write(folder, "src/wrong.json", wrong)
    dvc(folder, "repro", "--quiet")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commit `first` has a pipeline but no figures; on `main` images 1 to 5 are wrong."""
    folder = tmp_path_factory.mktemp("template") / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "reports").mkdir()
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    run(folder, "git", "config", "user.name", "Somebody")
    run(folder, "git", "config", "user.email", "somebody@localhost")
    dvc(folder, "init", "--quiet")
    (folder / "data" / "digits").write_text("data")
    dvc(folder, "add", "--quiet", "data")
    (folder / "src" / "evaluate.py").write_text(EVALUATE)
    (folder / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    shutil.copy(ROOT / "params.yaml", folder)
    commit(folder, "No figures yet")
    run(folder, "git", "tag", "first")
    write(folder, "reports/validation.json", {"success": True})
    write(folder, "reports/drift.json", {"batches": {"summer": {"drift": False}}})
    evaluate(folder, [1, 2, 3, 4, 5])
    commit(folder, "Figures")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(template, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def compare(*arguments: str) -> int:
    """Run `digits compare` in the working directory; its exit code."""
    try:
        main(["compare", *arguments])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_no_change(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare() == 0
    out = capsys.readouterr().out
    assert "No regression against main" in out
    assert "exactly the same test images wrong" in out


def test_worse_model_on_a_branch(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(project, "git", "switch", "--quiet", "--create", "idea")
    parameters = yaml.safe_load((project / "params.yaml").read_text())
    seed = parameters["train"]["seed"]
    parameters["train"]["seed"] = seed + 1
    (project / "params.yaml").write_text(yaml.safe_dump(parameters))
    evaluate(project, [1, 2, *range(10, 20)])
    commit(project)

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
    assert "test.accuracy went from 0.9950 to 0.9880; 0.001 is the most" in err
    assert len(err.splitlines()) == 1


def test_a_fresh_clone_without_cache_gives_the_same_markdown(project: Path, tmp_path: Path) -> None:
    evaluate(project, [1, 2, 3])
    commit(project)
    here, there = tmp_path / "here.md", tmp_path / "there.md"
    assert compare("HEAD~1", "--markdown", str(here)) == 0
    run(tmp_path, "git", "clone", "--quiet", "project", "clone")
    os.chdir(tmp_path / "clone")
    assert compare("HEAD~1", "--markdown", str(there)) == 0
    assert here.read_text() == there.read_text()
    assert here.read_text().startswith(f"{MARKER}\n## ✅ No regression against `HEAD~1 (")
    assert "✅ better" in here.read_text()


def test_markdown_says_why_in_its_first_lines(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(project, [1, 2, 3, 4, 5, 6, 7])
    write(project, "reports/validation.json", {"success": False})
    write(project, "reports/drift.json", {"batches": {"summer": {"drift": True}, "new": {}}})
    (project / "reports" / "plots").mkdir()
    (project / "reports" / "plots" / "a](b).png").write_bytes(b"")
    commit(project)

    assert compare("HEAD~1", "--markdown", "-", "--links", "https://forge/blob") == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == MARKER
    assert lines[1].startswith("## ❌ Regression against `HEAD~1 (")
    assert "the data's validation succeeded before and fails now" in "".join(lines[2:10])
    text = "\n".join(lines)
    assert "| `summer` | `false` | `true` |" in text
    assert "reports/plots/a%5D%28b%29.png?raw=true)" in text


def test_first_commit_has_nothing_to_compare(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare("first", "--markdown", "report.md") == 0
    assert "Nothing to compare with yet" in capsys.readouterr().out
    assert "has no `reports/metrics.json`" in Path("report.md").read_text()


@pytest.mark.parametrize("revision", ["nope", "HEAD~99", "--", "HEAD:src", "a b\nc"])
def test_unknown_revision(project: Path, revision: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--", revision) == 2
    err = capsys.readouterr().err
    assert err.startswith("digits: unknown revision")


def test_stale_figures_are_named_and_strict_refuses_them(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "src" / "evaluate.py").write_text(EVALUATE + "# new\n")
    assert compare("--strict", "--markdown", "report.md") == 1
    out, err = capsys.readouterr()
    assert "stale: evaluate (src)" in out
    assert "stale: evaluate; run 'dvc repro'" in err
    assert "⚠️ No regression, but stale figures" in Path("report.md").read_text()


def test_new_training_data_is_shown_and_not_taken_for_the_same_test_set(
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


def test_mistakes_that_don_t_fit_the_accuracy_are_not_tested(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "reports" / "mistakes.csv").write_text("index,label\n1,2\n")
    compare("--json")
    result = json.loads(capsys.readouterr().out)
    assert result["significance"] is None
    assert "lists 1 mistakes on one side, expected 5" in result["not_tested"]


def test_damaged_report(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "reports" / "metrics.json").write_text("{")
    assert compare() == 2
    assert "reports/metrics.json: not valid JSON" in capsys.readouterr().err


def test_hostile_values_stay_in_their_cells() -> None:
    hostile = "a|b\n| x | y |\n</details><script>`` ![](http://x) @everyone \x1b[31m"
    result = dataclasses.replace(
        EMPTY,
        base="main\n# x",
        regressions=[hostile],
        metrics=[comparison.Row(hostile, 0.5, 0.4, -0.1, 0.01, "regression")],
        parameters=[comparison.Change(hostile, hostile, None)],
        code=[hostile],
        plots=[hostile],
        stale={hostile: [hostile]},
    )
    text = render(result, links="https://forge/blob")

    assert "\x1b" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in tables} == {2, 4, 7}
    outside = [part for line in text.splitlines() for part in line.split("```")[::2]]
    assert not any(word in part for part in outside for word in ("<script", "@everyone", "![]("))
    assert text.count("<details>") == text.replace("```", "\0").count("\n</details>")


def test_long_lists_are_cut() -> None:
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


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        (0.997, 0.997, "same"),
        (0.996, 0.997, "better"),
        (0.997, 0.996, "worse"),  # exactly the tolerance, whatever floating point makes of it
        (0.997, 0.9959, "regression"),
        (0.997, None, "regression"),
        (0.997, float("nan"), "regression"),
        (0.997, "good", "regression"),
        (None, 0.997, "changed"),
    ],
)
def test_outcome(old: Any, new: Any, outcome: str) -> None:
    metrics = {"test.accuracy": {"old": old, "new": new}}
    assert [row.outcome for row in comparison.judge(metrics, {"test.accuracy": 0.001})] == [outcome]


def test_an_error_is_better_when_it_falls() -> None:
    metrics = {"test.calibration_error": {"old": 0.01, "new": 0.02}, "n": {"old": 1, "new": 2}}
    rows = comparison.judge(metrics, {"test.calibration_error": 0.005})
    assert [row.outcome for row in rows] == ["regression", "changed"]
    counts = {"test.errors": {"old": 45, "new": 73}, "test.loss": {"old": 0.02, "new": 0.01}}
    assert [row.outcome for row in comparison.judge(counts, {})] == ["worse", "better"]


def test_a_tolerance_for_no_metric_is_a_typo() -> None:
    with pytest.raises(ParameterError, match=r"'compare\.tolerance\.test\.acuracy'.*there are a"):
        comparison.judge({"a": {"old": 1, "new": 1}}, {"test.acuracy": 0.1})


def test_mcnemar_has_the_exact_p_value() -> None:
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
