"""The report's answer to "May it ship?" is the gate's, and says the same as everybody else."""

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import toy_model
from conftest import exit_code, set_param
from PIL import Image
from reading import Seen
from repository import commit_all

from digits.core import files
from digits.core.project import Project
from digits.data import handwriting
from digits.gate.judgement import Finding
from digits.plots import sheets
from digits.registry import registry
from digits.reports import page, verdict
from digits.reports.sources import Sources


def words(project: Project) -> str:
    return Seen(page.build(project)).words


def make_champion(project: Project, version: str = "v0.1.0") -> None:
    registry.promote(project, version, force=True, reason="a test")


def test_the_first_version_may_ship_with_the_evidence_for_each_yes(toy_project: Project) -> None:
    seen = words(toy_project)
    assert "May it ship? ✅ Promote: may ship There is no champion yet, so the working tree" in seen
    assert "the first version: it meets every limit of the policy" in seen
    assert "✓ accuracy accuracy on the test set 96.00 %, at least 90.00 % evidence" in seen
    assert "✓ each digit lowest recall, of 0, 96.00 %, at least 90.00 % evidence" in seen
    assert "✓ leaks no test image is among the training or validation images" in seen
    assert "✓ belongs together made from the data, code and parameters that are here" in seen
    assert "digits models register , digits models promote VERSION" in seen


def test_it_says_whether_the_model_was_tried_out(toy_project: Project) -> None:
    untried = "! note clean process not tried out: memory, speed and size are not judged"
    assert untried in words(toy_project)
    assert exit_code("gate") == 0
    seen = words(toy_project)
    assert untried not in seen
    assert "✓ clean process runs without TensorFlow and reads all golden images" in seen
    assert " MB, at most 5000" in seen
    assert page.build(toy_project) == page.build(toy_project)
    toy_model.train(toy_project, seed=4)  # other weights, of which the last gate knows nothing
    assert untried in words(toy_project)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"trials": {"a": {"memory": "much"}}}'])
def test_a_damaged_result_of_the_gate_counts_as_none(toy_project: Project, content: str) -> None:
    files.write_text(toy_project.gate_report / "gate.json", content)
    assert "not tried out" in words(toy_project)


def test_a_worse_model_is_rejected_with_pictures_of_what_it_gets_wrong(
    toy_project: Project,
) -> None:
    make_champion(toy_project)
    images = np.random.default_rng(0).integers(0, 256, (90, 28, 28), dtype=np.uint8)
    toy_project.mistakes_sheet.write_bytes(sheets.sheet(images))
    toy_model.train(toy_project, seed=5, errors=90)
    html = page.build(toy_project)
    seen = Seen(html)
    assert "❌ Reject: must not ship The working tree against v0.1.0, the champion" in seen.words
    assert "▼ worse the test set: worse by more than chance: -5.00 points (interval" in seen.words
    assert "96.00 % on the same images" in seen.words
    assert (
        "Newly wrong: 50 test images Read correctly by v0.1.0, misread now. 0 read as 1"
        in seen.words
    )
    assert "10 more are not shown." in seen.words
    pictures = [value for name, value in seen.attributes if name == "src"]
    first = base64.b64decode(pictures[0].partition(",")[2])
    assert (np.asarray(Image.open(io.BytesIO(first))) == 255 - images[40]).all()
    assert "digits models promote VERSION" not in seen.words


def test_a_model_that_is_the_champion_is_kept(toy_project: Project) -> None:
    registry.register(toy_project, "v0.3.0")
    make_champion(toy_project, "v0.3.0")
    seen = words(toy_project)
    assert "✅ Keep the champion" in seen
    assert "its weights are those of v0.3.0" in seen
    assert "Newly wrong" not in seen


def test_changed_parameters_without_a_run_cant_be_judged(toy_project: Project) -> None:
    set_param(toy_project, "train", "seed", 9)
    seen = words(toy_project)
    assert "⚠️ Can't be judged" in seen
    assert "? unknown train is stale: params.yaml: train changed" in seen
    assert "made from the data" not in seen
    assert "To bring the results up to date, run digits run" in seen
    assert "may ship" not in seen


def test_tampered_weights_cant_be_judged(toy_project: Project) -> None:
    onnx = toy_project.root / toy_model.ONNX
    content = onnx.read_bytes()
    onnx.unlink()
    onnx.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    html = page.build(toy_project)
    assert "Can't be judged" in Seen(html).words
    assert str(toy_project.root) not in html


def test_weights_that_are_not_here_are_not_said_to_be_checked(toy_clone: Project) -> None:
    shutil.rmtree(toy_clone.models, ignore_errors=True)
    assert "by dvc.lock; weights are not on this disk" in words(toy_clone)


def test_new_handwriting_without_a_new_model_cant_be_judged(
    built_project: Project, tmp_path: Path
) -> None:
    """Then results don't belong to the data that is pinned, and nobody says that they do."""
    assert "✅ Promote: may ship" in words(built_project)
    built_from = files.read_json(built_project.model_card)["weights"]
    for number, entry in enumerate(handwriting.uci_digits()[120:150]):
        picture = tmp_path / "new" / str(entry.label) / f"{number}{entry.suffix}"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(entry.picture)
    folder = str(tmp_path / "new")
    assert exit_code("add", folder, "--name", "forms", "--accept-drift") == 0
    commit_all(built_project.root)
    seen = words(built_project)
    assert "⚠️ Can't be judged" in seen
    assert "ingest is stale: data changed" in seen
    assert "! other data data.dvc pins" in seen
    assert "belongs together made from" not in seen
    assert "may ship" not in seen
    assert built_from == files.read_json(built_project.model_card)["weights"]


# what the gate doesn't decide


def note(project: Project, check: str) -> Finding:
    found = verdict.read(project, Sources.read(project)).judgement.findings
    return next(finding for finding in found if finding.check == check)


@pytest.mark.parametrize(
    ("accuracy", "status", "says"),
    [
        (0.961, "pass", "and test accuracy 96.00 % agree; up to"),
        (0.999, "warning", "differ: on test it is lower"),
        (0.91, "warning", "differ: on test it is higher"),
    ],
)
def test_the_gap_is_compared_with_the_sampling_error(
    toy_project: Project, accuracy: float, status: str, says: str
) -> None:
    metrics = files.read_json(toy_project.metrics)
    files.write_json(toy_project.metrics, metrics | {"val": {"n": 1000, "accuracy": accuracy}})
    found = note(toy_project, "generalisation")
    assert found.status == status
    assert says in found.text


def test_drift_is_a_note(toy_project: Project) -> None:
    assert note(toy_project, "drift").text.startswith("no batch of handwriting was checked")
    batches = {"forms": {"drift": True}, "uci": {"drift": False}}
    files.write_json(toy_project.drift_report, {"batches": batches})
    found = note(toy_project, "drift")
    assert (found.status, found.text) == (
        "warning",
        "forms differs from the training data (1 of 2 batches)",
    )
    files.write_json(toy_project.drift_report, {"batches": {"uci": {"drift": False}}})
    assert note(toy_project, "drift").text == "no drift in 1 batch of handwriting"


def test_the_number_of_expectations_that_are_met_is_told(toy_project: Project) -> None:
    rows = [{"success": True}] * 22
    report = json.dumps({"success": True, "expectations": rows})
    toy_project.validation_report.write_text(report)
    assert note(toy_project, "data").text == "all 22 expectations on the data are met"
