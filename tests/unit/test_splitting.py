"""No image in two splits, whatever the data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digits import splitting
from digits.errors import DataError
from digits.params import Preprocess


def _index(train: list[int], test: list[int]) -> pd.DataFrame:
    """Images are numbers; equal numbers are copies, and a number's last digit is its label."""
    images = [*train, *test]
    return pd.DataFrame(
        {
            "split": ["train"] * len(train) + ["test"] * len(test),
            "batch": "mnist",
            "label": pd.array([image % 10 for image in images], dtype="Int8"),
            "sha256": [str(image) for image in images],
        }
    )


def _params(**changed: object) -> Preprocess:
    return Preprocess.model_validate({"val_count": 20, "seed": 1, "train_batches": []} | changed)


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 400), min_size=0, max_size=200),
    st.lists(st.integers(0, 400), max_size=50),
    st.integers(0, 9),
)
def test_copies_never_straddle(copies: list[int], test: list[int], seed: int) -> None:
    index = _index([*range(1000), *copies], test)
    rows = splitting.split(index, _params(seed=seed))
    seen = [set(index.loc[r, "sha256"]) for r in (rows.train, rows.val, rows.test)]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    assert len(rows.test) == len(test)
    assert len(seen[1]) == 20
    labels = index.loc[rows.val].drop_duplicates("sha256")["label"]
    assert labels.value_counts().tolist() == [2] * 10 or len(set(test)) > 0


def test_the_same_seed_gives_the_same_split() -> None:
    index = _index(list(range(500)), list(range(500, 600)))
    first, second = (splitting.split(index, _params()) for _ in range(2))
    np.testing.assert_array_equal(first.val, second.val)
    assert set(splitting.split(index, _params(seed=2)).val) != set(first.val)


def test_too_few_images_are_told() -> None:
    with pytest.raises(DataError, match=r"'preprocess\.val_count' is 95 of 100"):
        splitting.split(_index(list(range(100)), []), _params(val_count=95))
