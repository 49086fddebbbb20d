"""What a trial of a search does: learn by a recipe, and be judged after each epoch on val."""

import hashlib
from collections.abc import Callable

import numpy as np

from digits.core.params import Recipe, Search
from digits.data.dataset import Split
from digits.models.backend import keras
from digits.training import loop
from digits.training.loop import OnEpoch

Objective = Callable[[Recipe, OnEpoch], None]
"""Trains by a recipe and calls the watch after each epoch; a DataError means that it failed."""

_BUDGET = {"trials", "minutes"}


def learning(data: Split, val: Split, scale: tuple[float, float], seed: int) -> Objective:
    """The objective that trains a network.

    Args:
        data: what is learned from.
        val: what each epoch is judged by.
        scale: mean and standard deviation of the training pixels, 0–1.
        seed: one for all trials, so that recipes differ and not random starts.
    """

    def learn(recipe: Recipe, watch: OnEpoch) -> None:
        keras.utils.clear_session()  # frees the memory of the previous trial
        loop.train(data, val, scale, recipe, seed, on_epoch=watch, log=lambda _: None)

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
