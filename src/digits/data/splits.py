"""Which images are in train, val and test, so that no image or writer is in two of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from digits.core.errors import DataError
from digits.core.params import Preprocess

_TRAIN, _VAL, _LEFT_OUT = range(3)


@dataclass(frozen=True)
class Rows:
    """Row numbers of the index, int64, ascending; no two splits share a row or an image."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    left_out: np.ndarray


def split(index: pd.DataFrame, params: Preprocess) -> Rows:
    """Split so that val, like the test set, has writers that train doesn't have.

    MNIST doesn't name its writers, but in each of its two interleaved sources (NIST SD-3 and SD-1;
    Bottou et al. 1994) the 120 or so images of a writer follow one another. So val consists of
    `val_runs` runs of neighbouring images, spread over all of them. The `val_guard` images on each
    side of a run may be by the same writers and are used in neither split.

    Identical images count as one: they never end up in two splits, and copies of test images are
    left out of training.

    Args:
        index: `split`, `batch`, `label`, `sha256` of every image, neighbours in their raw order.

    Raises:
        DataError: a batch in `train_batches` is unknown or not fully labelled, or too few images
            are left.
    """
    _check_batches(index, params.train_batches)
    test = index["split"].eq("test")
    chosen = (index["split"].eq("train") | index["batch"].isin(params.train_batches)) & ~test
    chosen &= ~index["sha256"].isin(index.loc[test, "sha256"])
    distinct = index.loc[chosen, "sha256"].drop_duplicates()
    left = len(distinct) - params.val_count - 2 * params.val_runs * params.val_guard
    if left < 10 or params.val_count < params.val_runs:
        raise DataError(
            f"'preprocess.val_count' is {params.val_count} of {len(distinct)} distinct training "
            f"images, in {params.val_runs} runs with {params.val_guard} images left out on each "
            "side; lower one of these in params.yaml"
        )
    roles = pd.Series(_roles(len(distinct), params), index=distinct)
    role = index["sha256"].map(roles).where(chosen)
    masks = (role.eq(_TRAIN), role.eq(_VAL), test, role.eq(_LEFT_OUT))
    return Rows(*map(np.flatnonzero, masks))


def typical(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The image of each digit that is closest to the mean of its digit's images.

    Args:
        images: uint8 `(n, 28, 28)`.
        labels: int `(n,)`, 0–9.

    Returns:
        uint8 `(10, 28, 28)`; blank where a digit has no image.
    """
    chosen = np.zeros((10, *images.shape[1:]), dtype=np.uint8)
    for digit in np.unique(labels):
        own = images[labels == digit].astype(np.int64)
        # in integers, so that every CPU finds the same image
        distances = ((len(own) * own - own.sum(axis=0)) ** 2).sum(axis=(1, 2))
        chosen[digit] = own[distances.argmin()]
    return chosen


def _roles(count: int, params: Preprocess) -> np.ndarray:
    """A role for each of `count` neighbouring images: one run of val in each of equal parts."""
    rng = np.random.default_rng(params.seed)
    parts = np.array_split(np.arange(count), params.val_runs)
    lengths = [len(run) for run in np.array_split(np.arange(params.val_count), params.val_runs)]
    runs = []
    for part, length in zip(parts, lengths, strict=True):
        start = part[0] + rng.integers(len(part) - length + 1)
        runs.append(slice(start, start + length))
    roles = np.full(count, _TRAIN)
    for run in runs:
        roles[max(0, run.start - params.val_guard) : run.stop + params.val_guard] = _LEFT_OUT
    for run in runs:  # after all guards, because a guard may reach into the next run
        roles[run] = _VAL
    return roles


def _check_batches(index: pd.DataFrame, names: tuple[str, ...]) -> None:
    batches = index[index["split"].eq("handwriting")]
    for name in names:
        labels = batches.loc[batches["batch"].eq(name), "label"]
        if labels.empty:
            known = ", ".join(sorted(batches["batch"].unique()))
            raise DataError(f"'preprocess.train_batches' names {name!r}; known: {known}")
        if labels.isna().any():
            raise DataError(
                f"'preprocess.train_batches' names {name!r}, which isn't fully labelled"
            )
