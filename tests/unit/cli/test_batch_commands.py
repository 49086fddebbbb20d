"""`digits add` and `digits drift`: output, JSON, exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import exit_code
from PIL import Image

from digits.core import files
from digits.core.project import Project
from digits.data import handwriting
from digits.drift import workspace


@pytest.fixture
def familiar(tmp_path: Path, built_project: Project) -> Path:
    """Validation images, which resemble the training data."""
    images = np.load(built_project.splits / "val-images.npy")
    labels = np.load(built_project.splits / "val-labels.npy")
    path = tmp_path / "familiar.npz"
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture
def strange(tmp_path: Path, built_project: Project) -> Path:
    """The same images rotated by 90°, without labels."""
    images = np.load(built_project.splits / "val-images.npy")
    path = tmp_path / "strange.npz"
    np.savez(path, images=np.rot90(images, axes=(1, 2)).copy())
    return path


def test_drift_accepts_familiar_handwriting_and_puts_it_on_the_dashboard(
    familiar: Path, built_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("drift", str(familiar), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["drift"] is False
    assert document["refused"] == []
    assert {"p_value", "n", "tests", "estimated_accuracy", "accuracy"} <= set(document)
    (run,) = workspace.runs(built_project)
    assert files.read_json(run)["name"] == "familiar.npz"


def test_drift_reports_strange_handwriting_and_exits_with_1(
    strange: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    assert exit_code("drift", str(strange), "--html", str(page), "--picture", str(picture)) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("harmful: ")
    assert captured.out.count("harmful: ") == 1
    assert "compared with: 200 validation images; accuracy on" in captured.out
    assert "estimated accuracy" in captured.out
    assert "slant of the writing" in captured.out
    assert captured.out.splitlines()[-1]
    assert captured.err == ""
    assert "<html" in page.read_text(encoding="utf-8")[:2000].lower()
    assert Image.open(picture).width == 1200


def test_drift_lists_what_drifted_and_all_features_only_if_asked(
    familiar: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("drift", str(familiar)) == 0
    short = capsys.readouterr().out
    assert short.count("✓") == 3
    assert "'--all' lists them" in short
    assert "Next: nothing to do." in short
    assert exit_code("drift", str(familiar), "--all") == 0
    full = capsys.readouterr().out
    assert full.count("✓") > 30
    assert "how often a 3 is read" in full


def test_drift_with_json_has_the_verdict_on_stderr_and_one_document_on_stdout(
    strange: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("drift", str(strange), "--json") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["verdict"] == "harmful"
    assert captured.err.count("\n") == 1
    assert "harmful: " in captured.err


def test_a_reference_that_was_made_with_another_model_is_an_error(
    familiar: Path, built_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    path = built_project.reference / "model.json"
    weights = json.loads(path.read_text())
    path.unlink()  # not through the link to DVC's cache
    path.write_text(json.dumps(dict.fromkeys(weights, "0" * 64)))
    assert exit_code("drift", str(familiar)) == 2
    error = capsys.readouterr().err
    assert "build/reference was made with another model than reports/model.json" in error
    assert "run 'digits run'" in error


def test_add_says_where_the_batch_is_and_what_to_do_next(
    familiar: Path, built_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("add", str(familiar), "--name", "mine") == 0
    output = capsys.readouterr().out
    assert "added: data/handwriting/mine, data version" in output
    for step in ("commit data.dvc", "dvc push", "preprocess.train_batches"):
        assert step in output
    assert exit_code("add", str(familiar), "--name", "mine") == 2
    assert "already exists; choose another name" in capsys.readouterr().err


def test_add_rejects_strange_handwriting_unless_both_flags_accept_it(
    strange: Path, built_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("add", str(strange), "--name", "odd", "--accept-drift") == 1
    error = capsys.readouterr().err
    assert "images that model and witness don't read alike and surely: at most" in error
    assert "--accept-labels overrides" in error
    assert exit_code("add", str(strange), "--name", "odd", "--accept-labels", "--json") == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["accepted"] is False
    assert document["drift"]["drift"] is True
    assert document["kept"] is None
    assert "add --accept-drift to accept it" in captured.err
    both = ("--accept-labels", "--accept-drift")
    assert exit_code("add", str(strange), "--name", "odd", *both) == 0
    assert "stored: build/handwriting/odd" in capsys.readouterr().out


def test_drift_refuses_labels_for_some_pictures_only(
    tmp_path: Path, built_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.load(built_project.splits / "val-images.npy")[:30]
    scans = tmp_path / "scans"
    scans.mkdir()
    for number, image in enumerate(images):
        (scans / f"{number:02d}.pgm").write_bytes(handwriting.pgm(image))
    labels = tmp_path / "labels.csv"
    labels.write_text("filename,label\n" + "".join(f"{n:02d}.pgm,1\n" for n in range(10)))
    assert exit_code("drift", str(scans), "--labels", str(labels)) == 2
    assert "labels.csv: 20 of 30 pictures have no label, e.g. 10.pgm" in capsys.readouterr().err


def test_add_names_the_digit_whose_share_is_unusual(
    tmp_path: Path, built_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.load(built_project.splits / "val-images.npy")
    labels = np.load(built_project.splits / "val-labels.npy")
    rows = np.concatenate([np.flatnonzero(labels == 3), np.flatnonzero(labels != 3)[:20]])
    np.savez(tmp_path / "threes.npz", images=images[rows], labels=labels[rows])
    assert exit_code("add", str(tmp_path / "threes.npz"), "--name", "threes") == 1
    assert "digit 3 is" in capsys.readouterr().err
