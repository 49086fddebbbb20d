"""Which training image teaches and which one judges: train and val, the test set apart."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from digits.errors import DataError
from digits.params import Preprocess


@dataclass(frozen=True)
class Rows:
    """Row numbers of the index, int64, ascending; no two share a row or an image."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def split(index: pd.DataFrame, params: Preprocess) -> Rows:
    """Split by label, so that val has the shares of digits that train has.

    Copies of an image count as one: they never straddle splits, and what is in the test set is
    not learned from.

    Args:
        index: `split`, `batch`, `label`, `sha256` of every image.

    Raises:
        DataError: a batch to learn from is unknown or not labelled, or too few images are left.
    """
    from sklearn.model_selection import train_test_split

    test = index["split"].eq("test")
    learned = (index["split"].eq("train") | index["batch"].isin(_known(index, params))) & ~test
    learned &= ~index["sha256"].isin(index.loc[test, "sha256"])
    first = index[learned].drop_duplicates("sha256")
    if len(first) - params.val_count < 10:
        raise DataError(
            f"'preprocess.val_count' is {params.val_count} of {len(first)} different training "
            "images; lower it in params.yaml"
        )
    _, judges = train_test_split(
        first["sha256"],
        test_size=params.val_count,
        stratify=first["label"].astype(int),
        random_state=params.seed,
    )
    in_val = learned & index["sha256"].isin(judges)
    rows = (np.flatnonzero(mask) for mask in (learned & ~in_val, in_val, test))
    return Rows(*rows)


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
