"""Where a training stands: told after each epoch, kept, stopped in time, gone on with."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from digits.training.checkpoints import Checkpoint, State, best_epoch


class Progress(keras.callbacks.Callback):
    """Says how a training goes, keeps its best weights, stops it, lets it go on.

    `history` holds a list a metric, one value an epoch; `best` the weights of the best epoch.
    """

    def __init__(
        self,
        epochs: int,
        patience: int,
        difficulty: np.ndarray,
        checkpoint: Checkpoint | None,
        say: Callable[[str], None],
    ) -> None:
        """Progress of a training of so many epochs.

        Args:
            patience: epochs without a better validation loss before it stops.
            difficulty: of each image; kept with the rest, and filled in when the training goes on.
            checkpoint: where the state after each epoch is kept.
            say: called with one line an epoch.
        """
        super().__init__()
        self._epochs, self._patience = epochs, patience
        self._difficulty = difficulty
        self._checkpoint, self._say = checkpoint, say
        self._resumed = 0
        self.history: dict[str, list[float]] = {}
        self.best: list[np.ndarray] = []

    @property
    def epoch(self) -> int:
        """Epochs that are finished."""
        return len(self.history.get("loss", ()))

    def is_over(self) -> bool:
        """Whether there is nothing left to learn: all epochs done, no progress, or NaN."""
        return bool(self.epoch) and (
            self.epoch >= self._epochs
            or self.epoch - best_epoch(self.history) >= self._patience
            or not math.isfinite(self.history["loss"][-1])
        )

    def resume(self, model: keras.Model) -> None:
        """Take up what the checkpoint holds, if it fits the network."""
        model.optimizer.build(model.trainable_variables)
        state = self._checkpoint.load() if self._checkpoint else None
        if (
            state
            and _fits(model.variables, state.variables)
            and _fits(model.optimizer.variables, state.optimizer)
            and state.difficulty.shape == self._difficulty.shape
        ):
            _assign(model.variables, state.variables)
            _assign(model.optimizer.variables, state.optimizer)
            self._difficulty[:] = state.difficulty
            self.history, self.best = state.history, state.best
            self._resumed = self.epoch
            self._say(f"going on after epoch {self.epoch}/{self._epochs}")

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_test_end(self, logs: Any = None) -> None:
        """Take the weights that were judged: their average, where there is one."""
        self._judged = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note what the epoch brought."""
        for key, value in logs.items():
            self.history.setdefault(key, []).append(float(value))
        if best_epoch(self.history) == self.epoch:
            self.best = self._judged
        if self.is_over():
            self.model.stop_training = True
        if self._checkpoint:
            weights, optimizer = self.model.variables, self.model.optimizer.variables
            self._checkpoint.save(
                State(
                    _values(weights),
                    _values(optimizer),
                    self.best,
                    self.history,
                    self._difficulty,
                )
            )
        passed = time.monotonic() - self._start
        left = passed / (self.epoch - self._resumed) * (self._epochs - self.epoch)
        self._say(
            f"epoch {self.epoch}/{self._epochs}  loss {logs['loss']:.4f}  "
            f"val loss {logs['val_loss']:.4f}  val accuracy {logs['val_accuracy']:.4f}  "
            f"{passed:.0f} s, about {left:.0f} s left"
        )


def _values(variables: Sequence[Any]) -> list[np.ndarray]:
    return [np.asarray(variable) for variable in variables]


def _fits(variables: Sequence[Any], values: Sequence[np.ndarray]) -> bool:
    return [tuple(v.shape) for v in variables] == [v.shape for v in values]


def _assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
