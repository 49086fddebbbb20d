"""What a trial of a search does: train a recipe, and report the validation loss of each epoch."""

import hashlib
from collections.abc import Callable

import numpy as np

from digits.core.params import Recipe, Search
from digits.data.dataset import Split
from digits.models.backend import ARITHMETIC, keras
from digits.training import loop
from digits.training.loop import OnEpoch

Objective = Callable[[Recipe, OnEpoch], None]
"""Trains a recipe and calls `on_epoch` after each epoch; raises DataError if training fails."""

_BUDGET = {"trials", "minutes"}


def training(data: Split, val: Split, scale: tuple[float, float], seed: int) -> Objective:
    """The objective that trains a network.

    Args:
        data: the training set.
        val: the validation set.
        scale: mean and standard deviation of the training pixels, 0–1.
        seed: the same for all trials, so that they differ by their recipes only.
    """

    def train(recipe: Recipe, on_epoch: OnEpoch) -> None:
        keras.utils.clear_session()  # frees the memory of the previous trial
        loop.train(data, val, scale, recipe, seed, on_epoch=on_epoch, log=lambda _: None)

    return train


def subset(data: Split, count: int, seed: int) -> Split:
    """A random sample of `count` images with the same share of each digit; at most all images."""
    rows = np.arange(len(data.labels))
    if count < len(rows):
        rows = np.random.default_rng(seed).permutation(rows)
        rows = rows[np.argsort(data.labels[rows], kind="stable")]
        rows = np.sort(rows[np.linspace(0, len(rows) - 1, count).astype(int)])
    return Split(data.images[rows], data.labels[rows])


def fingerprint(
    params: Search, start: Recipe, data: Split, val: Split, scale: tuple[float, float]
) -> str:
    """What comparable trials have in common, as 16 hex digits: settings, first recipe, images.

    The budget is not part of it, so that a search with a larger one continues the same trials.
    """
    digest = hashlib.sha256(params.model_dump_json(exclude=_BUDGET).encode())
    digest.update(start.model_dump_json(exclude={"epochs", "members", "views"}).encode())
    digest.update(f"{scale}{ARITHMETIC}".encode())
    for array in (data.images, data.labels, val.images, val.labels):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
