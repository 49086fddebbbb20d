"""`digits verify`: same bytes, equivalent, different, and why."""

import csv
import json
from typing import Any

import pytest
import yaml
from conftest import exit_code, run, set_param
from repository import dvc

from digits.core import files, params
from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.gate import verification
from digits.stages.evaluate import evaluate


def rebuilt_with_other_bytes(project: Project, misread: dict[int, int]) -> None:
    """Give evaluate's outputs other content, as another kind of machine would."""
    table = project.mistakes.read_text().splitlines()[:1]
    table += [
        f"{index},{index % 10},{prediction},0.9" for index, prediction in sorted(misread.items())
    ]
    project.mistakes.write_text("\n".join(table) + "\n")
    report = files.read_json(project.metrics)
    report["test"]["accuracy"] = 1 - len(misread) / report["test"]["n"]
    files.write_json(project.metrics, report)
    dvc(project.root, "commit", "--quiet", "--force", "evaluate")


def commit_results(project: Project, metrics: str, batch_mistakes: str) -> None:
    """Make these evaluate's outputs, as dvc.lock records them."""
    project.metrics.write_text(metrics)
    project.batch_mistakes.write_text(batch_mistakes)
    dvc(project.root, "commit", "--quiet", "--force", "evaluate")


def predictions(project: Project) -> dict[int, int]:
    rows = [line.split(",") for line in project.mistakes.read_text().splitlines()[1:]]
    return {int(row[0]): int(row[2]) for row in rows}


def test_an_untouched_tree_has_the_same_bytes(
    built_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("verify", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "same"
    assert document["changed_outputs"] == []


def test_other_bytes_with_equal_figures_are_equivalent(
    built_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    misread = predictions(built_project)
    index = next(iter(misread))
    misread[index] = (misread[index] + 1) % 10
    rebuilt_with_other_bytes(built_project, misread)
    assert exit_code("verify") == 0
    output = capsys.readouterr().out
    assert output.startswith("Equivalent")
    assert "99.75% of the predictions are equal" in output
    assert "git checkout -- dvc.lock reports" in output


def test_other_predictions_and_a_lower_accuracy_are_different(built_project: Project) -> None:
    misread = predictions(built_project) | dict.fromkeys(range(300, 396), 3)
    rebuilt_with_other_bytes(built_project, misread)
    result = verification.verify(built_project)
    assert result.verdict == "different"
    assert any("equal predictions" in reason for reason in result.reasons)
    assert any(reason.startswith("accuracy is 0.7") for reason in result.reasons)
    assert any("outside the committed" in reason for reason in result.reasons)
    assert exit_code("verify") == 1


def test_a_forged_report_is_different_also_on_another_kind_of_machine(
    built_project: Project,
) -> None:
    honest = built_project.metrics.read_text()
    report = json.loads(honest)
    report["corrupted"]["mean_error"] = 0.0
    files.write_json(built_project.metrics, report)
    run("git", "commit", "-qam", "Better figures", cwd=built_project.root)
    built_project.metrics.write_text(honest)
    rebuilt_with_other_bytes(built_project, predictions(built_project))
    result = verification.verify(built_project)
    assert result.verdict == "different"
    assert "evaluate is stale: reports/metrics.json changed" in result.reasons[0]


def test_a_batch_that_is_read_otherwise_is_different(built_project: Project) -> None:
    """Though dvc.lock records the altered report."""
    reports = (built_project.metrics, built_project.batch_mistakes)
    honest = [path.read_text() for path in reports]
    report = json.loads(honest[0])
    figures = report["batches"]["uci-digits"]
    header, *rows = honest[1].splitlines()
    known = {int(row["index"]) for row in csv.DictReader([header, *rows])}
    right = [index for index in range(figures["n"]) if index not in known]
    rows += [f"uci-digits,{index},{index % 10},{(index + 1) % 10},0.9" for index in right[:30]]
    figures["accuracy"] = 1 - len(rows) / figures["n"]
    commit_results(built_project, json.dumps(report), "\n".join([header, *rows]) + "\n")
    run("git", "commit", "-qam", "Other figures", cwd=built_project.root)
    commit_results(built_project, *honest)
    result = verification.verify(built_project)
    assert result.verdict == "different"
    assert "accuracy on batch 'uci-digits' is 0.9" in result.reasons[0]


def test_weights_that_the_reports_do_not_describe_are_different(built_project: Project) -> None:
    weights = built_project.models / "digits.onnx"
    weights.write_bytes(weights.read_bytes() + b"\0")
    result = verification.verify(built_project)
    assert result.verdict == "different"
    assert any("digits.onnx: SHA-256 is" in reason for reason in result.reasons)


def test_a_changed_parameter_is_a_changed_input(built_project: Project) -> None:
    set_param(built_project, "evaluate", "calibration_bins", 10)
    evaluate(built_project, params.load(built_project.params))
    dvc(built_project.root, "commit", "--quiet", "--force", "evaluate")
    result = verification.verify(built_project)
    assert result.verdict == "different"
    assert result.changed_inputs == ["evaluate.calibration_bins"]


def test_arithmetic_alone_is_no_changed_input(built_project: Project) -> None:
    path = built_project.root / "dvc.lock"
    lock: dict[str, Any] = yaml.safe_load(path.read_text())
    lock["stages"]["train"]["params"]["params.yaml"]["train"]["arithmetic"] = "fast"
    path.write_text(yaml.safe_dump(lock, sort_keys=False))
    set_param(built_project, "train", "arithmetic", "fast")
    assert verification.verify(built_project).changed_inputs == []


def test_without_results_there_is_nothing_to_compare(small_project: Project) -> None:
    with pytest.raises(DigitsError, match="the working tree has no results"):
        verification.verify(small_project)
    assert exit_code("verify") == 2


def test_compare_says_that_the_same_inputs_gave_the_same_bytes(
    built_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("compare", "HEAD") == 0
    assert "Rebuilt: the same bytes as commit" in capsys.readouterr().out
    set_param(built_project, "gate", "max_memory", 900)
    run("git", "commit", "-qam", "Another commit", cwd=built_project.root)
    assert exit_code("compare", "HEAD~1", "--json") == 0
    assert "the same bytes" in json.loads(capsys.readouterr().out)["rebuild"]


def test_missing_weights_have_to_be_built_first(built_project: Project) -> None:
    (built_project.models / "digits.onnx").unlink()
    with pytest.raises(DigitsError, match=r"digits\.onnx: not found; run 'digits run'"):
        verification.verify(built_project)
