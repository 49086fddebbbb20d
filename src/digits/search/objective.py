"""What a trial of a search does: learn by a recipe, and be judged after each epoch on val."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.core.params import Recipe, Search
from digits.data.dataset import Split
from digits.training import loop

if TYPE_CHECKING:
    import keras

Watch = Callable[[int, float], bool]
"""Takes an epoch, from 1, and the validation loss after it; says whether to stop there."""

Objective = Callable[[Recipe, Watch], None]
"""Learns by a recipe and calls the watch after each epoch; a DataError means that it failed."""

_BUDGET = {"trials", "minutes"}


def learning(data: Split, val: Split, scale: tuple[float, float], seed: int) -> Objective:
    """The objective that trains a network.

    Args:
        data: what is learned from.
        val: what each epoch is judged by.
        scale: mean and standard deviation of the training pixels, 0–1.
        seed: one for all trials, so that recipes differ and not random starts.
    """

    def learn(recipe: Recipe, watch: Watch) -> None:
        import keras

        keras.utils.clear_session()  # frees the memory of the trial before
        reporting = _reporting(watch)
        loop.train(data, val, scale, recipe, seed, callbacks=[reporting], say=lambda _: None)

    return learn


def some(data: Split, count: int, seed: int) -> Split:
    """So many of the images, or all if there are fewer; each digit keeps its share."""
    rows = np.arange(len(data.labels))
    if count < len(rows):
        rows = np.random.default_rng(seed).permutation(rows)
        rows = rows[np.argsort(data.labels[rows], kind="stable")]
        rows = np.sort(rows[np.linspace(0, len(rows) - 1, count).astype(int)])
    return Split(data.images[rows], data.labels[rows])


def fingerprint(
    params: Search, start: Recipe, data: Split, val: Split, scale: tuple[float, float]
) -> str:
    """What makes trials comparable, as 16 hex digits: what is searched, the start, the images.

    The budget is no part of it: a larger one goes on with the same trials.
    """
    digest = hashlib.sha256(params.model_dump_json(exclude=_BUDGET).encode())
    digest.update(start.model_dump_json(exclude={"epochs", "members", "views"}).encode())
    digest.update(repr(scale).encode())
    for array in (data.images, data.labels, val.images, val.labels):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _reporting(watch: Watch) -> "keras.callbacks.Callback":
    import keras

    class Reporting(keras.callbacks.Callback):
        """Hands each epoch's validation loss to the watch, and stops when that says so."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if watch(epoch + 1, float(logs["val_loss"])):
                self.model.stop_training = True

    return Reporting()
