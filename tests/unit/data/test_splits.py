"""No image in two splits, whatever the data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digits.core.errors import DataError
from digits.core.params import Preprocess
from digits.data import splits


def _index(train: list[int], test: list[int]) -> pd.DataFrame:
    """An index of images given as numbers: equal ones are copies, the last digit is the label."""
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
    small = {"val_count": 20, "val_runs": 2, "val_guard": 5, "seed": 1, "train_batches": []}
    return Preprocess.model_validate(small | changed)


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 400), min_size=0, max_size=200),
    st.lists(st.integers(0, 400), max_size=50),
    st.integers(0, 9),
)
def test_no_two_splits_share_an_image(copies: list[int], test: list[int], seed: int) -> None:
    index = _index([*range(1000), *copies], test)
    rows = splits.split(index, _params(seed=seed))
    seen = [set(index.loc[r, "sha256"]) for r in (rows.train, rows.val, rows.test)]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    assert len(rows.test) == len(test)
    assert len(seen[1]) == 20


@given(st.integers(1, 6), st.integers(0, 99))
def test_train_and_val_have_no_writer_in_common(runs: int, seed: int) -> None:
    index = _index(list(range(2000)), [])
    writer = index.index.to_numpy() // 60
    # as in MNIST: two interleaved sources, each sorted by writer
    writer = 2 * writer + index.index.to_numpy() % 2
    rows = splits.split(index, _params(val_count=240, val_runs=runs, val_guard=60, seed=seed))
    assert len(rows.val) == 240
    assert not set(writer[rows.train]) & set(writer[rows.val])
    assert len(rows.train) >= 2000 - 240 - runs * 2 * 60


def test_runs_are_spread_over_all_images() -> None:
    index = _index(list(range(2000)), [])
    rows = splits.split(index, _params(val_count=200, val_runs=4))
    assert np.bincount(rows.val // 500).tolist() == [50] * 4


def test_a_seed_decides_the_split() -> None:
    index = _index(list(range(500)), list(range(500, 600)))
    first, second = (splits.split(index, _params()) for _ in range(2))
    np.testing.assert_array_equal(first.val, second.val)
    assert set(splits.split(index, _params(seed=2)).val) != set(first.val)


def test_too_few_images_are_an_error() -> None:
    with pytest.raises(DataError, match=r"'preprocess\.val_count' is 95 of 100"):
        splits.split(_index(list(range(100)), []), _params(val_count=95))


def test_a_guard_that_leaves_nothing_for_train_is_an_error() -> None:
    with pytest.raises(DataError, match="in 2 runs with 40 images left out on each side"):
        splits.split(_index(list(range(100)), []), _params(val_guard=40))


def test_more_runs_than_val_images_are_an_error() -> None:
    with pytest.raises(DataError, match=r"'preprocess\.val_count' is 20 of 500 .* in 21 runs"):
        splits.split(_index(list(range(500)), []), _params(val_runs=21))
