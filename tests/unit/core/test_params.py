"""params.yaml: what it says, and what it says of a mistake."""

from pathlib import Path

import pytest
from conftest import REPOSITORY

from digits.core import params
from digits.core.errors import ParameterError

TEXT = (REPOSITORY / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "    epochs:",
            "    epoch:",
            "unknown key 'epoch' in section 'models.accurate'; it has network, widths",
        ),
        ("    epochs: ", "    epochs: -", "'models.accurate.epochs' is -"),
        ("alpha: 0.01", "alpha: high", "'drift.alpha' is 'high'"),
        ("evaluate:", "evaluation:", "'evaluate' is missing; unknown key 'evaluation' in the file"),
        ("rotation: ", "rotation: 9", "'models.accurate.augmentation.rotation' is 9"),
        ("train:", "train: [", "not valid YAML"),
        ("model: accurate", "model: lenet", "'train.model' is 'lenet'; known: accurate, ensemble"),
    ],
)
def test_a_mistake_is_told_on_one_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in TEXT
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(ParameterError) as caught:
        params.load(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"params\.yaml: not found"):
        params.load(tmp_path / "params.yaml")
