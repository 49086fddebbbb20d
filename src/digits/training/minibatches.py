"""Which images a training step sees: selected, shuffled and distorted, one minibatch at a time."""

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from digits.core.params import Recipe
from digits.data.dataset import Split
from digits.models.networks import CLASSES
from digits.training import augmentation

EASY = 0.9  # share of the images that may be skipped as learned
_RECENT = 0.5  # weight of the latest loss in an image's difficulty
_AHEAD = 4  # minibatches that are prepared while the network trains

Minibatch = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, images, targets


class Minibatches:
    """The minibatches of a training run. Order and distortion depend only on seed and position.

    `difficulty` is a float32 `(n,)` moving average of each image's loss; it is empty if the recipe
    skips no easy images.
    """

    def __init__(self, data: Split, recipe: Recipe, seed: int) -> None:
        self._data, self._recipe, self._seed = data, recipe, seed
        tracked = len(data.images) if recipe.skip_easy else 0
        self.difficulty = np.full(tracked, np.inf, np.float32)

    def __len__(self) -> int:
        """Minibatches per epoch."""
        return math.ceil(len(self._data.images) / self._recipe.batch_size)

    def epoch(self, epoch: int) -> Iterator[Minibatch]:
        """The minibatches of an epoch, counted from 0; the next ones are prepared in threads.

        Yields:
            Row numbers `(n,)`, distorted images uint8 `(n, 28, 28)`, targets float32 `(n, 10)`.
        """
        order = self._order(epoch)
        with ThreadPoolExecutor(2) as pool:
            waiting: list[Future[Minibatch]] = []
            try:
                for index in range(len(self)):
                    waiting.append(pool.submit(self._minibatch, order, epoch, index))
                    if len(waiting) > _AHEAD:
                        yield waiting.pop(0).result()
                for future in waiting:
                    yield future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def record(self, rows: np.ndarray, losses: np.ndarray) -> None:
        """Update the difficulty of the images that a step has just used."""
        if len(self.difficulty):
            before = np.where(np.isfinite(self.difficulty[rows]), self.difficulty[rows], losses)
            self.difficulty[rows] = before + _RECENT * (losses - before)

    def _order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self._seed, epoch))
        if self._recipe.skip_easy and 0 < epoch < self._recipe.epochs - 1:
            return sample(self.difficulty, self._recipe.skip_easy, rng)
        return rng.permutation(len(self._data.images))

    def _minibatch(self, order: np.ndarray, epoch: int, index: int) -> Minibatch:
        size = self._recipe.batch_size
        rows = order[index * size : (index + 1) * size]
        rng = np.random.default_rng((self._seed, epoch, index))
        images = augmentation.distort(self._data.images[rows], self._recipe.augmentation, rng)
        return rows, images, targets(self._data.labels[rows], self._recipe.label_smoothing)


def sample(difficulty: np.ndarray, skipped: float, rng: np.random.Generator) -> np.ndarray:
    """Rows for one epoch, as many as there are images, easy ones less often.

    Selective backpropagation (Jiang et al. 2019) with the losses of earlier epochs, which cost
    nothing. Passes over the images follow one another until the epoch is full. Each pass draws anew
    which easy images it leaves out, so that none is forgotten.

    Args:
        difficulty: float `(n,)`; the lowest count as easy.
        skipped: share of all images that each pass leaves out, 0 to EASY.
    """
    chance = skipped / EASY * (difficulty <= np.quantile(difficulty, EASY))
    passes: list[np.ndarray] = []
    while sum(map(len, passes)) < len(difficulty):
        order = rng.permutation(len(difficulty))
        passes.append(order[rng.random(len(order)) >= chance[order]])
    return np.concatenate(passes)[: len(difficulty)]


def targets(labels: np.ndarray, smoothing: float = 0) -> np.ndarray:
    """Target distributions, float32 `(n, 10)`, with label smoothing (Szegedy et al. 2016)."""
    one_hot = np.eye(CLASSES, dtype=np.float32)[np.asarray(labels)]
    return one_hot * np.float32(1 - smoothing) + np.float32(smoothing / CLASSES)
