"""What a network learns from: images drawn, put in order and distorted, a minibatch at a time."""

import math
from typing import Any

import keras
import numpy as np

from digits.core.params import Recipe
from digits.data.dataset import Split
from digits.models import networks
from digits.training import augmentation, sampling

_RECENT = 0.5  # weight of the last loss in an image's difficulty


class Minibatches(keras.utils.PyDataset):
    """Minibatches whose order and distortion depend on seed, epoch and place alone.

    `difficulty` float32 `(n,)` is what each image cost when it was last read, smoothed; empty if
    the recipe doesn't ask for it.
    """

    def __init__(self, data: Split, recipe: Recipe, seed: int) -> None:
        """Minibatches of a split, of the first epoch."""
        super().__init__(workers=2)  # the next ones are distorted while one is learned from
        self._data, self._recipe, self._seed = data, recipe, seed
        kept = len(data.images) if recipe.skip_easy else 0
        self.difficulty = np.full(kept, np.inf, np.float32)
        self.turn_to(0)

    def turn_to(self, epoch: int) -> None:
        """Begin an epoch, counted from 0."""
        self._epoch = epoch
        rng = np.random.default_rng((self._seed, epoch))
        if self._recipe.skip_easy and 0 < epoch < self._recipe.epochs - 1:
            self._order = sampling.rows(self.difficulty, self._recipe.skip_easy, rng)
        else:
            self._order = rng.permutation(len(self._data.images))

    def note(self, index: int, costs: np.ndarray) -> None:
        """Take down what the images of a minibatch cost."""
        rows = self._rows(index)
        before = np.where(np.isfinite(self.difficulty[rows]), self.difficulty[rows], costs)
        self.difficulty[rows] = before + _RECENT * (costs - before)

    def __len__(self) -> int:
        """How many an epoch has."""
        return math.ceil(len(self._data.images) / self._recipe.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Distorted images uint8 `(n, 28, 28)` and the probabilities to learn."""
        rows = self._rows(index)
        rng = np.random.default_rng((self._seed, self._epoch, index))
        images = augmentation.distort(self._data.images[rows], self._recipe.augmentation, rng)
        return images, targets(self._data.labels[rows], self._recipe.label_smoothing)

    def _rows(self, index: int) -> np.ndarray:
        size = self._recipe.batch_size
        return self._order[index * size : (index + 1) * size]


class Following(keras.callbacks.Callback):
    """Turns minibatches to each epoch, and takes down what their images cost."""

    def __init__(self, minibatches: Minibatches) -> None:
        """The model's loss tells the costs: see `training`."""
        super().__init__()
        self._minibatches = minibatches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Order and distortions of this epoch."""
        self._minibatches.turn_to(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """What the images just learned from cost."""
        if len(self._minibatches.difficulty):
            self._minibatches.note(batch, self.model.loss.of_images.numpy())


def targets(labels: np.ndarray, smoothing: float = 0) -> np.ndarray:
    """Probabilities to learn, float32 `(n, 10)`: smoothed (Szegedy et al. 2016) or the labels."""
    sure = np.eye(networks.CLASSES, dtype=np.float32)[np.asarray(labels)]
    return sure * np.float32(1 - smoothing) + np.float32(smoothing / networks.CLASSES)
