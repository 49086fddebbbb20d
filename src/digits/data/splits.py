"""Which training image teaches and which one judges: train and val, the test set apart."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from digits.core.errors import DataError
from digits.core.params import Preprocess

_TRAIN, _VAL, _LEFT_OUT = range(3)


@dataclass(frozen=True)
class Rows:
    """Row numbers of the index, int64, ascending; no two share a row or an image."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    left_out: np.ndarray


def split(index: pd.DataFrame, params: Preprocess) -> Rows:
    """Split so that val has handwriting of people whom train doesn't know, as the test set has.

    MNIST doesn't name its writers, but their images follow one another: in each of two interleaved
    sources (NIST SD-3 and SD-1; Bottou et al. 1994) some 120 of a writer's stand together. So val
    is whole runs of neighbouring images, spread over all of them, and `val_guard` images to each
    side of a run belong to neither: their writers may have written some of the run.

    Copies of an image count as one: they never straddle splits, and what is in the test set is
    not learned from.

    Args:
        index: `split`, `batch`, `label`, `sha256` of every image, neighbours as they were written.

    Raises:
        DataError: a batch to learn from is unknown or not labelled, or too few images are left.
    """
    test = index["split"].eq("test")
    learned = (index["split"].eq("train") | index["batch"].isin(_known(index, params))) & ~test
    learned &= ~index["sha256"].isin(index.loc[test, "sha256"])
    first = index.loc[learned, "sha256"].drop_duplicates()
    left = len(first) - params.val_count - 2 * params.val_runs * params.val_guard
    if left < 10 or params.val_count < params.val_runs:
        raise DataError(
            f"'preprocess.val_count' is {params.val_count} of {len(first)} different training "
            f"images, in {params.val_runs} runs with {params.val_guard} images to each side left "
            "out; lower one of these in params.yaml"
        )
    roles = pd.Series(_roles(len(first), params), index=first)
    role = index["sha256"].map(roles).where(learned)
    masks = (role.eq(_TRAIN), role.eq(_VAL), test, role.eq(_LEFT_OUT))
    return Rows(*map(np.flatnonzero, masks))


def _roles(count: int, params: Preprocess) -> np.ndarray:
    """What each of so many neighbouring images is for: a run of val in every equal part of them."""
    rng = np.random.default_rng(params.seed)
    roles = np.full(count, _TRAIN)
    parts = np.array_split(np.arange(count), params.val_runs)
    lengths = [len(run) for run in np.array_split(np.arange(params.val_count), params.val_runs)]
    starts = [
        part[0] + rng.integers(len(part) - length + 1)
        for part, length in zip(parts, lengths, strict=True)
    ]
    runs = [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    for run in runs:
        roles[max(0, run.start - params.val_guard) : run.stop + params.val_guard] = _LEFT_OUT
    for run in runs:  # after all guards, as one may reach into the next run
        roles[run] = _VAL
    return roles


def _known(index: pd.DataFrame, params: Preprocess) -> tuple[str, ...]:
    for name in params.train_batches:
        batch = index[index["batch"].eq(name) & index["split"].eq("handwriting")]
        if not len(batch):
            known = sorted(index.loc[index["split"].eq("handwriting"), "batch"].unique())
            raise DataError(f"'preprocess.train_batches' names {name!r}; known: {', '.join(known)}")
        if batch["label"].isna().any():
            raise DataError(
                f"'preprocess.train_batches' names {name!r}, which isn't fully labelled"
            )
    return params.train_batches
