"""params.yaml: short error messages that name the key."""

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

from digits.core import params
from digits.core.errors import ParameterError

TEXT = (REPOSITORY / "params.yaml").read_text()


def error_of(tmp_path: Path, old: str, new: str) -> str:
    """The error message for params.yaml with the first `old` replaced by `new`."""
    assert old in TEXT
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(ParameterError, match=r"^params\.yaml: ") as caught:
        params.load(path)
    return str(caught.value).removeprefix("params.yaml: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    epochs:", "    epoch:", "unknown key 'epoch' in models.accurate"),
        ("    epochs: ", "    epochs: -", "'models.accurate.epochs' is -"),
        ("alpha: 0.01", "alpha: high", "'drift.alpha' is 'high': input should be a valid number"),
        ("permutations:", "x:", "unknown key 'x' in drift; expected reference_count, alpha, "),
        ("rotation: ", "rotation: 9", "'models.accurate.augmentation.rotation' is 9"),
        ("model: accurate", "model: x", "'train.model' is 'x', which is not in 'models'; expected"),
    ],
)
def test_an_error_is_one_line_that_names_the_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    error = error_of(tmp_path, old, new)
    assert message in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("evaluate:", "evaluation:", "unknown key 'evaluation' in the file; did you mean 'evalu"),
        ("alpha:", "alphas:", "unknown key 'alphas' in drift; did you mean 'alpha'?"),
        (
            "  dropout: [",
            "  drop_out: [",
            "unknown key 'drop_out' in search.space; did you mean 'd",
        ),
        ("model: accurate", "model: accurat", "is not in 'models'; did you mean 'accurate'?"),
    ],
)
def test_a_misspelled_name_gets_the_nearest_one_suggested(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    error = error_of(tmp_path, old, new)
    assert message in error
    assert "is missing" not in error  # the misspelled key isn't reported a second time


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "momentum:",
            "momentun:",
            r"unknown key 'momentun' in models\.accurate \(and \d+ models that inherit or repeat "
            r"it\); did you mean 'momentum'\?",
        ),
        (
            "  patience: 5",
            "  patience: 0",
            r"'models\.accurate\.patience' is 0 \(and \d+ models that inherit or repeat it\): .*",
        ),
        (
            "  filtered: 0.5",
            "  filtred: 0.5",
            r"unknown key 'filtred' in models\.accurate\.augmentation.*; did you mean 'filtered'\?",
        ),
    ],
)
def test_an_error_inherited_through_yaml_anchors_is_reported_once(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    error = error_of(tmp_path, old, new)
    assert re.fullmatch(message, error)
    assert len(error) < 160


def test_a_huge_value_is_abbreviated(tmp_path: Path) -> None:
    error = error_of(tmp_path, "val_count: ", f"val_count: [{'1, ' * 1000}] #")
    assert len(error) < 160


def test_a_file_that_is_not_yaml_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train: [\n")
    with pytest.raises(ParameterError, match=r"params\.yaml: not valid YAML: [^\n]*$"):
        params.load(tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"params\.yaml: not found"):
        params.load(tmp_path / "params.yaml")
