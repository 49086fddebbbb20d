"""The page of `plots.drift` on a batch: what it shows of the test's features and of the images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from digits.core import files
from digits.drift import words
from digits.drift.change import ChangeTest, Rows, Scores

_TYPICAL = 2  # images of each digit
_LAST = "embedding"  # features that say least to people come last, however significant


def typical(scores: Scores, rows: Rows, images: np.ndarray) -> np.ndarray:
    """For each digit, images that are read as it and are neither common nor strange for it.

    Args:
        rows: the images as the test sees them.
        images: uint8 `(n, 28, 28)`.

    Returns:
        uint8 `(10, 2, 28, 28)`; black where there are fewer images.
    """
    names = list(scores.views)
    strange = rows.values[:, names.index("strange to the network")]
    read = scores.read(rows)
    chosen = np.zeros((10, _TYPICAL, *images.shape[1:]), np.uint8)
    for digit in range(10):
        own = np.flatnonzero(read == digit)
        own = own[np.argsort(strange[own], kind="stable")]
        places = np.linspace(0, max(len(own) - 1, 0), _TYPICAL + 2)[1:-1]
        rows_shown = own[np.unique(np.rint(places).astype(int))] if len(own) else own
        chosen[digit, : len(rows_shown)] = images[rows_shown]
    return chosen


def write(
    path: Path,
    name: str,
    result: Mapping[str, Any],
    test: ChangeTest,
    examples: np.ndarray,
    batch: Rows,
    images: np.ndarray,
    strangest: list[int],
) -> None:
    """Write the page as a PNG.

    Args:
        name: of the batch.
        result: `DriftResult.as_dict()`.
        examples: `typical` of the reference.
        images: those of `batch`, uint8 `(n, 28, 28)`.
        strangest: rows of `batch`, the strangest first.
    """
    from digits.plots import drift
    from digits.plots.drift import Digits, Feature

    scores = test.scores
    columns = {feature: place for place, feature in enumerate(scores.views)}
    p_values = {k: one["p_value"] for k, one in result["tests"].items() if one["view"] != "digits"}
    features = [
        Feature(
            *words.feature(feature),
            p_value=p_values[feature],
            skewed=scores.views[feature] == "strangest",
            reference=test.reference.values[:, columns[feature]],
            batch=batch.values[:, columns[feature]],
        )
        for feature in sorted(p_values, key=lambda one: one.startswith(_LAST))
    ]
    views = {words.VIEWS[view]: p_value for view, p_value in result["views"].items()}
    reference, here = (
        Digits(len(rows), np.bincount(scores.read(rows), minlength=10) / len(rows), shown)
        for rows, shown in ((test.reference, examples), (batch, typical(scores, batch, images)))
    )
    shown = images[strangest], scores.read(batch)[strangest]
    png = drift.page(name, result, views, features, reference, here, shown)
    with files.replacing(path) as temporary:
        temporary.write_bytes(png)
