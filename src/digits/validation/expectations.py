"""What the data must be, as suites over small tables, by Great Expectations.

To add an expectation, add a line to one of the suites below, or in `agreement` if it is about what
labels and images say about each other. Its threshold belongs in section `validate` of params.yaml
and in `Validate` of core/params.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digits.core.params import Validate
from digits.validation import agreement, checks, near_copies
from digits.validation.agreement import Labelled
from digits.validation.checks import (
    Suite,
    among,
    at_least,
    at_most,
    between,
    count,
    expect,
    mean,
    rarely,
)

_MAX_INTENSITY = 0.5  # mean of an image in a batch, 0–1; MNIST's fullest image has 0.4
_COLUMNS = ["id", "split", "source", "batch", "label", "writer", "sha256"]
_DIGITS = list(range(10))
_COUNT_ADVICE = "run 'digits fetch', or correct the count in params.yaml"
_LABEL_ADVICE = "correct the labels that are named"
_PICTURE_ADVICE = "remove these images"
_FRAME_ADVICE = "bring the images to MNIST's form: the digit in 20 × 20 px, amid a black frame"
_LEAK_ADVICE = "take these images out of train: a test must not know them"


def validate(
    index: pd.DataFrame, images: np.ndarray, params: Validate, pages: Path | None = None
) -> dict[str, Any]:
    """Check index and images against all expectations.

    Args:
        index: one row per image, as made by `ingestion`.
        images: uint8 `(n, 28, 28)`.
        pages: folder for Great Expectations' own HTML (Data Docs), which holds dates.

    Returns:
        As `checks.run`.
    """
    return checks.run(suites(index, images, params), pages)


def suites(
    index: pd.DataFrame,
    images: np.ndarray,
    params: Validate,
    sets: Mapping[str, Labelled] | None = None,
) -> list[Suite]:
    """All expectations on a data set.

    Args:
        index, images: as for `validate`.
        sets: their labelled sets, where these are known already.
    """
    found = [_index_suite(index, params), _array_suite(index, images)]
    if complete(index, images):  # else these suites say what is wrong
        found.append(_image_suite(index, images, params))
        found += agreement.suites(sets or agreement.labelled_sets(index, images), params)
        found += _near_copy_suites(index, images, params)
    if set(_COLUMNS) <= set(index.columns):
        found += [_share_suite(index, params), _copy_suite(index, params)]
    return found


def validate_batch(
    index: pd.DataFrame, images: np.ndarray, more: Sequence[Suite] = ()
) -> dict[str, Any]:
    """Check a batch of new handwriting before it is added to the data.

    Args:
        index: one row per image: `id`, `sha256` of the glyph, and if known `label` (whole number)
            and `in_test` (whether the glyph is in MNIST's test set).
        images: uint8 `(n, 28, 28)`.
        more: further suites, such as `readings.suite`.

    Returns:
        As `checks.run`.
    """
    return checks.run([_batch_suite(index, images), *more], None)


def complete(index: pd.DataFrame, images: np.ndarray) -> bool:
    """Whether images and index are sound enough for suites that look at both."""
    return (
        images.shape == (len(index), 28, 28)
        and images.dtype == np.uint8
        and {*_COLUMNS, "intensity"} <= set(index.columns)
    )


def _index_suite(index: pd.DataFrame, params: Validate) -> Suite:
    table = index[_COLUMNS].copy() if set(_COLUMNS) <= set(index.columns) else index.copy()
    derived = ["train", "test", "known"]
    missing = [column for column in _COLUMNS if column not in index]
    strange = f"it is without {', '.join(missing)}" if missing else "it has others, too"
    if {"split", "label"} <= set(index.columns):  # else the first expectation names them
        table["train"], table["test"] = table["split"].eq("train"), table["split"].eq("test")
        table["known"] = table["label"].notna() | table["split"].eq("handwriting")
    splits = ["train", "test", "handwriting"]
    expectations = [
        expect(
            "the index has its columns",
            "TableColumnsToMatchSet",
            f"{strange}; run 'dvc repro ingest' to make it again",
            column_set=[*_COLUMNS, *derived],
        ),
        count(
            "train",
            params.train_count,
            f"there are {params.train_count:,} training images",
            _COUNT_ADVICE,
        ),
        count(
            "test", params.test_count, f"there are {params.test_count:,} test images", _COUNT_ADVICE
        ),
        expect("no id occurs twice", "ColumnValuesToBeUnique", column="id"),
        expect("ids are whole numbers", "ColumnValuesToBeOfType", column="id", type_="int64"),
        among("split", splits, "every image is in train, test or handwriting"),
        among("known", [True], "every training and test image has a label", _LABEL_ADVICE),
        among("label", _DIGITS, "every label is a digit, 0–9", _LABEL_ADVICE),
        expect(
            "every image has its SHA-256",
            "ColumnValuesToMatchRegex",
            column="sha256",
            regex="^[0-9a-f]{64}$",
        ),
        expect("every source is known", "ColumnValuesToNotBeNull", column="source"),
    ]
    return Suite("index", table, expectations)


def _array_suite(index: pd.DataFrame, images: np.ndarray) -> Suite:
    height, width = images.shape[1:] if images.ndim == 3 else (0, 0)
    found = {"images": len(images), "rows": len(index), "height": height, "width": width}
    expectations = [
        expect(
            "the index has one row per image",
            "ColumnPairValuesToBeEqual",
            column_A="images",
            column_B="rows",
        ),
        among("height", [28], "images are 28 px high"),
        among("width", [28], "images are 28 px wide"),
        among("type", ["uint8"], "pixels are uint8, 0–255"),
    ]
    return Suite("arrays", pd.DataFrame([found | {"type": str(images.dtype)}]), expectations)


def _image_suite(index: pd.DataFrame, images: np.ndarray, params: Validate) -> Suite:
    border = [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]
    table = pd.DataFrame(
        {
            "id": index["id"],
            "darkest": images.min(axis=(1, 2)).astype(int),
            "brightest": images.max(axis=(1, 2)).astype(int),
            "intensity": index["intensity"],
            "border": np.concatenate(border, axis=1).mean(axis=1) / 255,
        }
    )
    expectations = [
        _not_blank(),
        between("darkest", 0, 127, "no image is all ink", _PICTURE_ADVICE),
        _white_on_black(params.max_mean_intensity),
        mean("border", 0, 0.1, "the outermost pixels are black: mean at most 0.1", _FRAME_ADVICE),
        mean("intensity", 0.05, 0.3, "the mean image intensity is between 0.05 and 0.3"),
    ]
    return Suite("images", table, expectations)


def _share_suite(index: pd.DataFrame, params: Validate) -> Suite:
    rows = []
    for split in ("train", "test"):
        labels = index.loc[index["split"].eq(split), "label"].dropna()
        for digit in _DIGITS if len(labels) else []:
            n = int(labels.eq(digit).sum())
            low = at_least(params.min_class_share, len(labels), params.chance)
            high = at_most(params.max_class_share, len(labels), params.chance)
            usual = low <= n / len(labels) <= high
            name = f"digit {digit} of {split}"
            rows.append({"id": name, "images": n, "share": n / len(labels), "usual": usual})
    low, high = params.min_class_share, params.max_class_share
    says = f"each digit has {low:.0%} to {high:.0%} of train and of test, beyond chance"
    advice = "images of a digit are missing, or there are too many: complete the set or thin it out"
    table = pd.DataFrame(rows, columns=["id", "images", "share", "usual"])
    named = ("id", "images", "share")
    return Suite("shares", table, [among("usual", [True], says, advice)], named)


def _copy_suite(index: pd.DataFrame, params: Validate) -> Suite:
    mnist = index[index["split"].isin(["train", "test"])]
    first = mnist.groupby(["split", "sha256"])["id"].transform("first")
    test = mnist[mnist["split"].eq("test")].drop_duplicates("sha256").set_index("sha256")["id"]
    table = pd.DataFrame(
        {
            "id": mnist["id"],
            "copy": mnist.duplicated(["split", "sha256"]),
            "train_and_test": mnist["split"].eq("train") & mnist["sha256"].isin(test.index),
        }
    )
    table["copy_of"] = first.where(table["copy"], mnist["sha256"].map(test)).astype("Int64")
    expectations = [
        rarely(
            "copy",
            len(table),
            params.max_duplicate_share,
            "images that are exact copies of another in their split",
            "keep one of each",
        ),
        among("train_and_test", [False], "no image is both in train and in test", _LEAK_ADVICE),
    ]
    return Suite("copies", table, expectations, ("id", "copy_of"))


def _near_copy_suites(index: pd.DataFrame, images: np.ndarray, params: Validate) -> Iterator[Suite]:
    """Images that are nearly another one, within train and test, and across them."""
    rows = np.flatnonzero(index["split"].isin(["train", "test"]) & ~index["sha256"].duplicated())
    pairs = near_copies.find(images[rows])
    ids, test = index["id"].to_numpy()[rows], index["split"].eq("test").to_numpy()[rows]
    for name, chosen, says, advice in (
        ("train", ~test, "near-copies of another training image", "keep one of each"),
        ("test", test, "near-copies of another test image", "keep one of each"),
        ("leaks", test, "test images that are near-copies of a training image", _LEAK_ADVICE),
    ):
        one, other = pairs.first, pairs.second
        if name == "leaks":
            across = test[one] != test[other]
            one, other = (
                np.where(test[one], one, other)[across],
                np.where(test[one], other, one)[across],
            )
            difference = pairs.difference[across]
        else:
            within = chosen[one] & chosen[other]
            one, other, difference = other[within], one[within], pairs.difference[within]
        n = int(chosen.sum())
        if not n:
            continue
        copies = pd.DataFrame(
            {"row": one, "copy_of": ids[other], "difference": difference.round(4)}
        )
        copies = copies.drop_duplicates("row").set_index("row")
        table = pd.DataFrame({"id": ids, "near_copy": False}).join(copies)[chosen]
        table["near_copy"] = table["copy_of"].notna()
        table["copy_of"] = table["copy_of"].astype("Int64")
        table = table.sort_values(["difference", "id"], kind="stable")
        bound = at_most(params.max_near_copy_share, n, params.chance)
        expectation = rarely("near_copy", n, bound, says, advice)
        suite = "near-copies" if name == "leaks" else f"near-copies-{name}"
        yield Suite(suite, table, [expectation], ("id", "copy_of"))


def _batch_suite(index: pd.DataFrame, images: np.ndarray) -> Suite:
    table = index.assign(
        brightest=images.max(axis=(1, 2)).astype(int),
        intensity=images.mean(axis=(1, 2)) / 255,
        copy=index["sha256"].duplicated(),
    )
    expectations = [
        _not_blank(),
        _white_on_black(_MAX_INTENSITY),
        among("copy", [False], "no image is an exact copy of another"),
    ]
    if "label" in table:
        expectations.append(among("label", _DIGITS, "every label is a digit, 0–9"))
    if "in_test" in table:
        expectations.append(among("in_test", [False], "no image is one of MNIST's test images"))
    return Suite("batch", table, expectations)


def _not_blank() -> Any:
    says = "no image is blank: its brightest pixel is at least 128 of 255"
    advice = "remove blank images; if all are this dark, their range isn't 0–255: scale them"
    return between("brightest", 128, 255, says, advice)


def _white_on_black(limit: float) -> Any:
    says = f"ink is white on black: mean intensity at most {limit}"
    return between("intensity", 0, limit, says, "invert the images")
