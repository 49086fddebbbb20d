"""Expectations: each kind of bad data breaks the one that names it, and the report says where."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from digits.core import params
from digits.validation import checks, expectations

PARAMS = params.load(REPOSITORY / "params.yaml").validate_.model_copy(
    update={
        "train_count": 200,
        "test_count": 100,
        "min_class_share": 0.05,
        "max_class_share": 0.2,
        "max_duplicate_share": 0.02,
        "max_near_copy_share": 0.03,
        "max_exchanged": 0.03,
    }
)


@pytest.fixture
def data(real_digits: tuple[np.ndarray, np.ndarray]) -> tuple[pd.DataFrame, np.ndarray]:
    """A valid index of 200 training and 100 test images, and these images."""
    images, labels = real_digits[0][:300].copy(), real_digits[1][:300]
    index = pd.DataFrame(
        {
            "id": np.arange(300),
            "split": ["train"] * 200 + ["test"] * 100,
            "source": "mnist",
            "batch": "mnist",
            "label": pd.array(labels, dtype="Int8"),
            "writer": "",
            "sha256": [f"{number:064x}" for number in range(300)],
            "intensity": images.mean(axis=(1, 2)) / 255,
        }
    )
    return index, images


def broken(report: dict[str, Any]) -> list[str]:
    """What the broken expectations say, in one line each."""
    json.dumps(report, allow_nan=False)  # can be written
    return [checks.describe(row) for row in report["expectations"] if not row["success"]]


def test_valid_data_breaks_nothing(data: tuple[pd.DataFrame, np.ndarray]) -> None:
    report = expectations.validate(*data, PARAMS)
    assert broken(report) == []
    assert report["success"]
    assert len(report["expectations"]) == 32


@pytest.mark.parametrize(
    ("column", "rows", "value", "line"),
    [
        ("id", 3, 4, "no id occurs twice: broken by 2 of 300, e.g. 4, 4"),
        ("label", slice(0, 2), 11, "label is a digit, 0–9: broken by 3 of 300, e.g. 0 (11), 1 (11"),
        (
            "label",
            7,
            pd.NA,
            "every training and test image has a label: broken by 1 of 300, e.g. 7",
        ),
        ("source", 9, None, "every source is known: broken by 1 of 300, e.g. 9 (None)"),
        ("sha256", 5, "x", "every image has its SHA-256: broken by 1 of 300, e.g. 5 (x)"),
        (
            "sha256",
            250,
            f"{5:064x}",
            "both in train and in test: broken by 1 of 300, e.g. 5 (copy of 250)",
        ),
        (
            "sha256",
            slice(0, 9),
            "a" * 64,
            "their split: at most 2.00 %: broken by 9 of 300 (3.00 %), e.g. 1 (copy of 0), 2",
        ),
        ("intensity", 8, 0.9, "mean intensity at most 0.5: broken by 1 of 300, e.g. 8 (0.9)"),
        ("split", 0, "val", "every image is in train, test or handwriting: broken by 1 of 300"),
        ("split", 0, "handwriting", "there are 200 training images: got 199"),
    ],
)
def test_bad_rows_of_the_index_are_named(
    data: tuple[pd.DataFrame, np.ndarray], column: str, rows: Any, value: object, line: str
) -> None:
    index, images = data
    index.loc[rows, column] = value
    assert any(line in found for found in broken(expectations.validate(index, images, PARAMS)))


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (
            0,
            "images: no image is blank: its brightest pixel is at least 128 of 255: broken by 1 of",
        ),
        (255, "no image is all ink"),
    ],
)
def test_blank_and_full_images_are_named(
    data: tuple[pd.DataFrame, np.ndarray], value: int, line: str
) -> None:
    index, images = data
    images[4] = value
    (found,) = broken(expectations.validate(index, images, PARAMS))
    assert line in found


def test_black_on_white_is_named(data: tuple[pd.DataFrame, np.ndarray]) -> None:
    index, images = data
    index["intensity"] = 1 - index["intensity"]
    lines = broken(expectations.validate(index, 255 - images, PARAMS))
    assert any("ink is white on black: mean intensity at most 0.5: broken" in s for s in lines)
    assert any("the outermost pixels are black: mean at most 0.1: got" in s for s in lines)


def test_arrays_of_another_length_or_type_are_an_error(
    data: tuple[pd.DataFrame, np.ndarray],
) -> None:
    index, images = data
    assert broken(expectations.validate(index, images[:-1, :27].astype(np.int16), PARAMS)) == [
        "arrays: the index has one row per image: broken by 1 of 1, e.g. [299, 300]",
        "arrays: images are 28 px high: broken by 1 of 1, e.g. 27",
        "arrays: pixels are uint8, 0–255: broken by 1 of 1, e.g. int16",
    ]


def test_a_missing_column_is_named(data: tuple[pd.DataFrame, np.ndarray]) -> None:
    index, images = data
    lines = broken(expectations.validate(index.drop(columns="source"), images, PARAMS))
    assert any("the index has its columns" in line for line in lines)
    assert any('The column "source" in BatchData does not exist' in line for line in lines)


@pytest.mark.parametrize("field", ["min_class_share", "max_class_share"])
def test_thresholds_are_those_of_params_yaml(
    data: tuple[pd.DataFrame, np.ndarray], field: str
) -> None:
    strict = PARAMS.model_copy(update={field: 0.105 if "max" in field else 0.1, "chance": 0.5})
    lines = broken(expectations.validate(*data, strict))
    assert any(line.startswith("shares: each digit has ") for line in lines)


def test_a_good_batch_passes(data: tuple[pd.DataFrame, np.ndarray]) -> None:
    index, images = data
    columns = ["id", "sha256"]
    assert broken(expectations.validate_batch(index[columns], images)) == []
    labelled = index[[*columns, "label"]].assign(in_test=False)
    assert broken(expectations.validate_batch(labelled, images)) == []


def test_a_bad_batch_breaks_each_expectation(data: tuple[pd.DataFrame, np.ndarray]) -> None:
    index, images = data
    images[0], images[1] = 0, 200
    batch = index[["id", "sha256", "label"]].assign(in_test=index["id"].eq(6))
    batch.loc[3, "sha256"] = batch.loc[2, "sha256"]
    batch.loc[5, "label"] = 12
    assert broken(expectations.validate_batch(batch, images)) == [
        "batch: no image is blank: its brightest pixel is at least 128 of 255: broken by 1 of "
        "300, e.g. 0 (0); remove blank images; if all are this dark, their range isn't 0–255: "
        "scale them",
        "batch: ink is white on black: mean intensity at most 0.5: "
        "broken by 1 of 300, e.g. 1 (0.784314); invert the images",
        "batch: no image is an exact copy of another: broken by 1 of 300, e.g. 3",
        "batch: every label is a digit, 0–9: broken by 1 of 300, e.g. 5 (12)",
        "batch: no image is one of MNIST's test images: broken by 1 of 300, e.g. 6",
    ]
