"""A weights file with one changed byte is refused by everything that opens models.

They all go through `models.weights.verified`: Recogniser (predict, the gate's clean process, the
notebook, DriftDetector, `digits drift`, intake, inbox) opens the ONNX file, Reference (stages
evaluate and drift) the Keras file, evaluate the LiteRT file. Files of versions: test_store.py.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, exit_code

import digits
from digits.core import files, params
from digits.core.errors import RegistryError
from digits.core.project import Project
from digits.gate import infrastructure
from digits.models import weights
from digits.models.reference import Reference
from digits.registry import checks


@pytest.fixture(params=[weights.KERAS, weights.ONNX, weights.LITERT])
def tampered(request: pytest.FixtureRequest, built_project: Project) -> Project:
    """A project whose model has a changed byte in one of its files."""
    tamper(built_project, request.param)
    return built_project


def tamper(project: Project, name: str) -> None:
    path = project.models / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # it may be a link to DVC's cache
    path.write_bytes(content)


@pytest.mark.parametrize(
    "load",
    [
        lambda project: digits.Recogniser.load(),
        lambda project: digits.DriftDetector.load(),
        lambda project: Reference.from_card(project.root, files.read_json(project.model_card)),
    ],
    ids=["Recogniser", "DriftDetector", "Reference"],
)
def test_it_cannot_be_loaded(tampered: Project, load: Callable[[Project], object]) -> None:
    with pytest.raises(RegistryError, match=r"SHA-256 is \w+, registered is \w+; not opened"):
        load(tampered)


def test_a_file_that_is_swapped_after_it_was_verified_is_not_opened(
    built_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = weights.verified

    def then_swapped(*arguments: Any) -> dict[str, Path]:
        paths = verified(*arguments)
        tamper(built_project, weights.ONNX)
        return paths

    monkeypatch.setattr(weights, "verified", then_swapped)
    with pytest.raises(RegistryError, match="not opened"):
        digits.Recogniser.load()


@pytest.mark.parametrize("command", ["predict", "drift"])
def test_commands_refuse_it(
    tampered: Project, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(command, str(tampered.golden)) == 2
    assert "not opened" in capsys.readouterr().err


def test_verify_finds_it(tampered: Project) -> None:
    states = [check.state for check in checks.check_files(tampered)]
    assert sorted(states) == ["mismatch", "ok", "ok"]


def test_the_gate_s_clean_process_refuses_it(tampered: Project) -> None:
    golden = tampered.golden.read_bytes()
    trial, _ = infrastructure.try_out(golden, tampered.root, None)
    assert "not opened" in trial.error


@pytest.mark.parametrize(
    ("stage", "name"), [("evaluate", weights.LITERT), ("drift", weights.KERAS)]
)
def test_stages_refuse_it(built_project: Project, stage: str, name: str) -> None:
    tamper(built_project, name)
    run = getattr(importlib.import_module(f"digits.stages.{stage}"), stage)
    with pytest.raises(RegistryError, match="not opened"):
        run(built_project, params.load(built_project.params))


def test_only_these_modules_open_models() -> None:
    """A new one belongs in the list above, and behind `weights.verified`."""
    opening = ("InferenceSession(", "load_weights(", "Interpreter(")
    found = {
        path.relative_to(REPOSITORY / "src" / "digits").as_posix()
        for path in Path(REPOSITORY / "src").rglob("*.py")
        if any(call in path.read_text() for call in opening)
    }
    assert found == {
        "models/exports.py",
        "models/networks.py",
        "models/reference.py",
        "recogniser.py",
    }
