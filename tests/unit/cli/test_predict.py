"""`digits predict` on a real small model: what it prints where, and what it refuses."""

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
from conftest import run
from PIL import Image

from digits.cli import main
from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.versioning import registry


@pytest.fixture
def pictures(tmp_path: Path, real_digits: tuple[np.ndarray, np.ndarray]) -> Path:
    """Twenty real digits, dark on light, 90 px, named by number and label."""
    images, labels = real_digits
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(20):
        large = Image.fromarray(255 - images[number]).resize((90, 90))
        large.save(folder / f"{number:02d}-{labels[number]}.png")
    return folder


def predict(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    """Exit code, JSON on stdout, stderr."""
    code = 0
    try:
        main(["predict", "--json", *map(str, arguments)])
    except SystemExit as exc:
        code = int(exc.code or 0)
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


def test_each_picture_gives_its_digit_confidence_and_box(
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


def test_what_cannot_be_read_gets_an_error_and_the_rest_go_on(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = sorted(pictures.iterdir())[0]
    bad = pictures / "bad.png"
    bad.write_bytes(b"no picture")
    code, found, _ = predict(capsys, good, bad, pictures / "none.png", good)
    assert code == 0
    assert [("error" in entry) for entry in found] == [False, True, True, False]
    assert set(found[1]) == {"path", "error"}
    assert "no picture in a format that is read" in found[1]["error"]
    assert found[2]["error"] == "no such file or folder"


def test_it_fails_only_if_nothing_could_be_read(
    built_project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, err = predict(capsys, tmp_path / "none.png")
    assert code == 2
    assert found == [{"path": str(tmp_path / "none.png"), "error": "no such file or folder"}]
    assert err.splitlines()[-1].startswith("digits: none of 1 could be read")


def test_the_champion_is_used_unless_another_version_is_named(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = registry.register(built_project)
    registry.promote(built_project, version.name)
    assert predict(capsys, pictures)[2].startswith("model: v0.1.0, the champion")
    assert predict(capsys, pictures, "--version", "0.1.0")[2].startswith("model: v0.1.0")
    found = predict(capsys, pictures, "--version", "workspace")
    assert found[2].startswith("model: the workspace's")
    with pytest.raises(SystemExit, match="2"):
        main(["predict", str(pictures), "--version", "v9.9.9"])
    said = capsys.readouterr()
    assert said.out == ""
    assert "version 'v9.9.9' is not registered" in said.err


def test_weights_that_were_changed_are_not_opened(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = built_project.models / "digits.onnx"
    content = weights.read_bytes()
    weights.unlink()  # it may be a link into DVC's cache
    weights.write_bytes(content[:-1] + b"\0\0")
    with pytest.raises(SystemExit, match="2"):
        main(["predict", str(pictures)])
    assert "SHA-256 is" in capsys.readouterr().err


def test_a_person_gets_aligned_lines(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["predict", str(pictures)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert {len(line) for line in lines} == {len(lines[0])}
    assert all(line.endswith("%") for line in lines)


def test_many_pictures_are_read_in_chunks(
    built_project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = predict(capsys, pictures)[1]
    many = predict(capsys, *[pictures] * 14)[1]  # more than one chunk
    assert [entry["text"] for entry in many] == [entry["text"] for entry in few] * 14


def test_nothing_but_json_and_one_line_is_printed(built_project: Project, pictures: Path) -> None:
    done = run("python", "-m", "digits", "predict", "--json", str(pictures), cwd=built_project.root)
    assert len(json.loads(done.stdout)) == 20
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_ends_with_one_line(built_project: Project, pictures: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "digits", "predict", *[str(pictures)] * 2000],
        cwd=built_project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    process.stdout.readline()  # it is at work
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "digits: interrupted"
    assert "Traceback" not in err
    assert time.monotonic() - started < 20


def test_a_change_of_the_code_leaves_a_trained_network_usable(
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


def test_outside_a_project_it_says_so(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DigitsError, match="run this inside the project"):
        Project.find()
    with pytest.raises(SystemExit, match="2"):
        main(["predict", str(pictures)])
