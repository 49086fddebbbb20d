"""What a trial learns from, and what it is judged by."""

import numpy as np
import pytest
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from digits import objective, params
from digits.training import Split

SCALE = (0.15, 0.3)


@settings(max_examples=30)
@given(counts=st.lists(st.integers(1, 40), min_size=10, max_size=10), share=st.floats(0.3, 1))
def test_each_digit_keeps_its_share(counts: list[int], share: float) -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), counts)
    data = Split(np.arange(len(labels)), labels)
    wanted = max(2, round(share * len(labels)))
    chosen = objective.some(data, wanted, seed=1)
    assert len(np.unique(chosen.images)) == wanted
    of_each = np.bincount(chosen.labels, minlength=10)
    assert np.abs(of_each - np.array(counts) * wanted / len(labels)).max() <= 2


def test_fewer_images_than_asked_for_are_all_taken() -> None:
    data = Split(np.arange(5), np.arange(5))
    assert objective.some(data, 9, seed=1).images.tolist() == [0, 1, 2, 3, 4]


def test_a_smoothed_recipe_is_judged_by_labels_as_they_are(
    real_digits: tuple[np.ndarray, np.ndarray],
) -> None:
    images, labels = real_digits
    data, val = Split(images[:96], labels[:96]), Split(images[200:250], labels[200:250])
    learn = objective.learning(data, val, SCALE, seed=3)
    small = {"network": "dense", "widths": (8,), "optimizer": "adam", "epochs": 2, "batch_size": 32}
    recipe = params.load(REPOSITORY / "params.yaml").models["accurate"]

    def losses(smoothing: float) -> list[float]:
        changes = small | {"label_smoothing": smoothing, "averaging": 0.8}
        told: list[float] = []

        def watch(_: int, loss: float) -> bool:
            told.append(loss)
            return False

        learn(recipe.model_copy(update=changes), watch)
        return told

    unsmoothed = losses(0.0)
    assert len(unsmoothed) == 2
    # so little smoothing that the loss Keras gives would be the same
    assert losses(1e-9) == pytest.approx(unsmoothed, rel=1e-4)


def test_stopping_ends_after_that_epoch(real_digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = real_digits
    data = Split(images[:64], labels[:64])
    recipe = params.load(REPOSITORY / "params.yaml").models["accurate"]
    recipe = recipe.model_copy(update={"network": "dense", "widths": (8,), "epochs": 5})
    told: list[int] = []

    def watch(epoch: int, _: float) -> bool:
        told.append(epoch)
        return epoch == 2

    objective.learning(data, data, SCALE, seed=3)(recipe, watch)
    assert told == [1, 2]
