"""`digits predict` with a small trained model: output, errors, choice of the model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import exit_code, run
from PIL import Image

from digits.core.project import Project
from digits.registry import registry


@pytest.fixture
def pictures(tmp_path: Path, real_digits: tuple[np.ndarray, np.ndarray]) -> Path:
    """Twenty real digits, dark on light, 90 px, named NUMBER-LABEL.png."""
    images, labels = real_digits
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(20):
        large = Image.fromarray(255 - images[number]).resize((90, 90))
        large.save(folder / f"{number:02d}-{labels[number]}.png")
    return folder


def predict(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    """Run `digits predict --json`: exit code, parsed stdout, stderr."""
    code = exit_code("predict", "--json", *map(str, arguments))
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def test_each_picture_gets_a_digit_a_confidence_and_a_box(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, err = predict(capsys, pictures)
    assert code == 0
    assert [entry["path"] for entry in found] == sorted(map(str, pictures.iterdir()))
    for entry in found:
        (digit,) = entry["digits"]
        assert entry["text"] == str(digit["digit"])
        assert 0.1 <= digit["confidence"] <= 1
        left, top, right, bottom = digit["box"]
        assert 0 <= left < right <= 90
        assert max(right - left, bottom - top) == pytest.approx(20 / 28 * 90, abs=8)
    right = sum(entry["text"] == entry["path"][-5] for entry in found)
    assert right >= 16  # a small model
    assert err.startswith("model: the workspace's")


def test_an_unreadable_file_gets_an_error_and_the_others_are_read(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = sorted(pictures.iterdir())[0]
    bad = pictures / "bad.png"
    bad.write_bytes(b"no picture")
    code, found, _ = predict(capsys, good, bad, pictures / "none.png", good)
    assert code == 0
    assert [("error" in entry) for entry in found] == [False, True, True, False]
    assert set(found[1]) == {"path", "error"}
    assert "not a picture in a supported format" in found[1]["error"]
    assert found[2]["error"] == "file or folder not found"


def test_exit_code_is_2_if_nothing_could_be_read(
    built_project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, err = predict(capsys, tmp_path / "none.png")
    assert code == 2
    assert found == [{"path": str(tmp_path / "none.png"), "error": "file or folder not found"}]
    assert err.splitlines()[-1].startswith("digits: none of 1 could be read")


def test_the_champion_is_used_unless_another_version_is_named(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = registry.register(built_project)
    registry.promote(built_project, version.name, force=True, reason="a test")
    assert predict(capsys, pictures)[2].startswith("model: v0.1.0, the champion")
    assert predict(capsys, pictures, "--version", "0.1.0")[2].startswith("model: v0.1.0")
    found = predict(capsys, pictures, "--version", "workspace")
    assert found[2].startswith("model: the workspace's")
    assert exit_code("predict", str(pictures), "--version", "v9.9.9") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "version 'v9.9.9' is not registered" in captured.err


def test_modified_weights_are_refused(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = built_project.models / "digits.onnx"
    content = weights.read_bytes()
    weights.unlink()  # it may be a link to DVC's cache
    weights.write_bytes(content[:-1] + b"\0\0")
    assert exit_code("predict", str(pictures)) == 2
    assert "SHA-256 is" in capsys.readouterr().err


def test_without_json_lines_are_aligned(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("predict", str(pictures)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert {len(line) for line in lines} == {len(lines[0])}
    assert all(line.endswith("%") for line in lines)


def test_predictions_do_not_depend_on_chunks(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = predict(capsys, pictures)[1]
    many = predict(capsys, *[pictures] * 14)[1]  # more than one chunk
    assert [entry["text"] for entry in many] == [entry["text"] for entry in few] * 14


def test_stdout_is_json_and_stderr_names_the_model(built_project: Project, pictures: Path) -> None:
    done = run("python", "-m", "digits", "predict", "--json", str(pictures), cwd=built_project.root)
    assert len(json.loads(done.stdout)) == 20
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_prints_one_line_and_exits_with_130(built_project: Project, pictures: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "digits", "predict", *[str(pictures)] * 2000],
        cwd=built_project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    process.stdout.readline()  # wait until it is working
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "digits: interrupted"
    assert "Traceback" not in err
    assert time.monotonic() - started < 20


def test_a_trained_model_survives_changes_of_the_code(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = built_project.root / "src" / "digits" / "models" / "networks.py"
    module.write_text(module.read_text().replace("_convolution(x, first", "_convolution(x, 7"))
    done = subprocess.run(
        [sys.executable, "-m", "digits", "predict", str(pictures)],
        cwd=built_project.root,
        env=os.environ | {"PYTHONPATH": str(built_project.root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_outside_a_project_it_exits_with_2(
    tmp_path: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code("predict", str(pictures)) == 2
    assert "run this inside the project" in capsys.readouterr().err
