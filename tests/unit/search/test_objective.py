"""The objective: the sample of training images, and early termination."""

import numpy as np
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from digits.core import params
from digits.data.dataset import Split
from digits.search import objective

SCALE = (0.15, 0.3)


@settings(max_examples=30)
@given(counts=st.lists(st.integers(1, 40), min_size=10, max_size=10), share=st.floats(0.3, 1))
def test_subset_keeps_the_share_of_each_digit(counts: list[int], share: float) -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), counts)
    data = Split(np.arange(len(labels)), labels)
    wanted = max(2, round(share * len(labels)))
    chosen = objective.subset(data, wanted, seed=1)
    assert len(np.unique(chosen.images)) == wanted
    of_each = np.bincount(chosen.labels, minlength=10)
    assert np.abs(of_each - np.array(counts) * wanted / len(labels)).max() <= 2


def test_subset_larger_than_the_data_is_all_of_it() -> None:
    data = Split(np.arange(5), np.arange(5))
    assert objective.subset(data, 9, seed=1).images.tolist() == [0, 1, 2, 3, 4]


def test_training_stops_after_the_epoch_in_which_on_epoch_returns_true(
    real_digits: tuple[np.ndarray, np.ndarray],
) -> None:
    images, labels = real_digits
    data = Split(images[:64], labels[:64])
    recipe = params.load(REPOSITORY / "params.yaml").models["accurate"]
    recipe = recipe.model_copy(update={"network": "dense", "widths": (8,), "epochs": 5})
    epochs: list[int] = []

    def on_epoch(epoch: int, _: float) -> bool:
        epochs.append(epoch)
        return epoch == 2

    objective.training(data, data, SCALE, seed=3)(recipe, on_epoch)
    assert epochs == [1, 2]
