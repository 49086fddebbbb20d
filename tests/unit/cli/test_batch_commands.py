"""`digits add` and `digits drift` on the command line: words, JSON and exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import exit_code

from digits.core.project import Project


@pytest.fixture
def familiar(tmp_path: Path, built_project: Project) -> Path:
    """Validation images: what the model was made for."""
    images = np.load(built_project.splits / "val-images.npy")
    labels = np.load(built_project.splits / "val-labels.npy")
    path = tmp_path / "familiar.npz"
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture
def strange(tmp_path: Path, built_project: Project) -> Path:
    """The same, lying on their side, without labels."""
    images = np.load(built_project.splits / "val-images.npy")
    path = tmp_path / "strange.npz"
    np.savez(path, images=np.rot90(images, axes=(1, 2)).copy())
    return path


def test_familiar_handwriting_is_no_drift(
    familiar: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("drift", str(familiar), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["drift"] is False
    assert document["refused"] == []
    assert {"p_value", "n", "tests", "estimated_accuracy", "accuracy"} <= set(document)


def test_strange_handwriting_is_drift_with_exit_code_1(
    strange: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert exit_code("drift", str(strange), "--html", str(page)) == 1
    said = capsys.readouterr()
    assert "drift in" in said.out
    assert "✗" in said.out
    assert "estimated accuracy" in said.out
    assert said.err.count("\n") == 1
    assert "<html" in page.read_text(encoding="utf-8")[:2000].lower()


def test_adding_says_what_became_of_the_batch_and_what_to_do_next(
    familiar: Path, built_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("add", str(familiar), "--name", "mine") == 0
    said = capsys.readouterr().out
    assert "taken in: data/handwriting/mine, data version" in said
    for step in ("git add data.dvc", "dvc push", "preprocess.train_batches"):
        assert step in said
    assert exit_code("add", str(familiar), "--name", "mine") == 2
    assert "there is such a batch already" in capsys.readouterr().err


def test_strange_handwriting_is_taken_in_only_on_demand(
    strange: Path, built_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("add", str(strange), "--name", "odd", "--json") == 1
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["accepted"] is False
    assert document["drift"]["drift"] is True
    assert document["kept"] is None
    assert "add --accept-drift to take it" in said.err
    assert exit_code("add", str(strange), "--name", "odd", "--accept-drift") == 0
    assert "kept in build/handwriting/odd" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["predict", "add", "drift", "status"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(command, "--help") == 0
    assert "Usage: digits" in capsys.readouterr().out
