"""The training loop: deterministic, validated after each epoch, resumable, best weights kept."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from digits.core.errors import DataError
from digits.core.params import Recipe
from digits.data.dataset import Split
from digits.models import networks
from digits.models.backend import keras, make_deterministic, tf
from digits.training import optimizers
from digits.training.checkpoints import Checkpoint, State, best_epoch
from digits.training.losses import cross_entropy
from digits.training.minibatches import Minibatches, targets

_BATCH = 500  # images per validation step

OnEpoch = Callable[[int, float], bool]
"""Called after each epoch with its number, from 1, and validation loss; True stops the run."""


@dataclass(frozen=True)
class Trained:
    """A network with the weights of its best epoch, and its history.

    `history` has one value per epoch of `loss` and `accuracy` (on distorted images, hard ones more
    often, while the weights change), `val_loss` and `val_accuracy`. Losses are in nats: see
    `cross_entropy`. `best_epoch` counts from 1. `complete` is False if `on_epoch` stopped the run.
    """

    model: "keras.Model"
    history: dict[str, list[float]]
    best_epoch: int
    complete: bool = True


def train(
    data: Split,
    val: Split,
    scale: tuple[float, float],
    recipe: Recipe,
    seed: int,
    *,
    checkpoint: Checkpoint | None = None,
    pretrained: Path | None = None,
    on_epoch: OnEpoch = lambda *_: False,
    log: Callable[[str], None] = print,
) -> Trained:
    """Train one network. The same arguments give the same weights.

    Args:
        data: the training set.
        val: the validation set, for early stopping and the choice of the best epoch.
        scale: mean and standard deviation of the training pixels, 0–1.
        recipe: the network and its hyperparameters; `members` and `views` are ignored.
        seed: of initial weights, order and distortion.
        checkpoint: written after each epoch. If it fits, the run resumes from it and ends with the
            same weights as one that was never interrupted.
        pretrained: verified weights to start from.
        on_epoch: called after each epoch, once its checkpoint is written.
        log: called with one line per epoch.

    Raises:
        ParameterError: the recipe's network can't be built.
        DataError: a split is empty, or the loss became NaN.
    """
    for name, split in (("train", data), ("val", val)):
        if not len(split.images):
            raise DataError(f"the {name} split is empty; check 'preprocess' in params.yaml")
    make_deterministic(seed)
    model = networks.build(recipe, *scale)
    if pretrained:
        networks.load_pretrained(model, pretrained)
    elif recipe.network == "mobilenet":
        log("no 'pretrained' weights in params.yaml: MobileNetV2 is trained from scratch")
    run = _Run(model, Minibatches(data, recipe, seed), recipe)
    if checkpoint and run.restore(checkpoint.load()):
        log(f"resuming after epoch {run.epoch}/{recipe.epochs}")
    start, first = time.monotonic(), run.epoch
    stopped = False
    while not run.is_over() and not stopped:
        run.train_epoch()
        run.validate(val)
        if checkpoint:
            checkpoint.save(run.state())
        elapsed = time.monotonic() - start
        left = elapsed / (run.epoch - first) * (recipe.epochs - run.epoch)
        latest = {metric: values[-1] for metric, values in run.history.items()}
        log(
            f"epoch {run.epoch}/{recipe.epochs}  loss {latest['loss']:.4f}  "
            f"val loss {latest['val_loss']:.4f}  val accuracy {latest['val_accuracy']:.4f}  "
            f"{elapsed:.0f} s, about {left:.0f} s left"
        )
        stopped = on_epoch(run.epoch, latest["val_loss"]) and not run.is_over()
    if not np.isfinite(run.history["loss"]).all():
        raise DataError(
            f"the loss became NaN in epoch {run.epoch} with 'learning_rate' "
            f"{recipe.learning_rate}; lower it in params.yaml"
        )
    model.set_weights(run.best)
    return Trained(model, run.history, best_epoch(run.history), not stopped)


def member_seed(seed: int, member: int) -> int:
    """The seed of an ensemble's member, from 1; the first has the seed of a single model."""
    return seed + 1000 * (member - 1)


def score(model: "keras.Model", split: Split) -> dict[str, float]:
    """`loss` (cross-entropy, nats) and `accuracy` of a two-headed network on undistorted images."""
    predict = tf.function(lambda images: model(images, training=False)[1])
    losses, correct = _validate(predict, split, label_noise=0)
    return {"loss": _mean(losses), "accuracy": _mean(correct)}


class _Run:
    """The state of a training run: network, optimizer, history, best weights so far."""

    def __init__(self, model: "keras.Model", minibatches: Minibatches, recipe: Recipe) -> None:
        self._model, self._minibatches, self._recipe = model, minibatches, recipe
        self._optimizer = optimizers.build(recipe, steps=len(minibatches))
        self._optimizer.build(model.trainable_variables)
        self._step = tf.function(
            self._train_step,
            input_signature=(
                tf.TensorSpec((None, networks.SIZE, networks.SIZE), tf.uint8),
                tf.TensorSpec((None, networks.CLASSES), tf.float32),
            ),
        )
        self._predict = tf.function(lambda images: model(images, training=False))
        self.history: dict[str, list[float]] = {}
        self.best: list[np.ndarray] = []

    @property
    def epoch(self) -> int:
        """Epochs that are complete."""
        return len(self.history.get("val_loss", ()))

    def is_over(self) -> bool:
        """Whether all epochs are done, the loss is NaN, or early stopping applies."""
        return bool(self.epoch) and (
            self.epoch >= self._recipe.epochs
            or self.epoch - best_epoch(self.history) >= self._recipe.patience
            or not math.isfinite(self.history["loss"][-1])
        )

    def train_epoch(self) -> None:
        """One pass over the minibatches."""
        losses, correct = [], []
        for rows, images, goals in self._minibatches.epoch(self.epoch):
            found, right = (tensor.numpy() for tensor in self._step(images, goals))
            self._minibatches.record(rows, found)
            losses.append(found)
            correct.append(right)
        self._append("loss", losses)
        self._append("accuracy", correct)

    def validate(self, val: Split) -> None:
        """Validation figures; the weights are kept if they are the best so far."""
        with optimizers.averaged(self._optimizer):
            losses, correct = _validate(self._predict, val, self._recipe.label_noise)
            self._append("val_accuracy", [correct])
            self._append("val_loss", [losses])
            if best_epoch(self.history) == self.epoch:
                self.best = self._model.get_weights()

    def state(self) -> State:
        """What a checkpoint holds."""
        variables, optimizer = (
            [np.asarray(variable) for variable in owner.variables]
            for owner in (self._model, self._optimizer)
        )
        return State(variables, optimizer, self.best, self.history, self._minibatches.difficulty)

    def restore(self, state: State | None) -> bool:
        """Continue from a checkpoint, if there is one that fits this run."""
        if state is None or state.difficulty.shape != self._minibatches.difficulty.shape:
            return False
        pairs = (
            (self._model.variables, state.variables),
            (self._optimizer.variables, state.optimizer),
        )
        for variables, values in pairs:
            if [tuple(v.shape) for v in variables] != [v.shape for v in values]:
                return False
        for variables, values in pairs:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self._minibatches.difficulty[:] = state.difficulty
        self.history, self.best = state.history, state.best
        return True

    def _train_step(self, images: Any, goals: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            probabilities = self._model(images, training=True)
            losses = cross_entropy(goals, probabilities, self._recipe.label_noise)
            loss = tf.reduce_mean(losses)
        variables = self._model.trainable_variables
        self._optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return losses, tf.argmax(probabilities, -1) == tf.argmax(goals, -1)

    def _append(self, metric: str, values: Sequence[np.ndarray]) -> None:
        self.history.setdefault(metric, []).append(_mean(np.concatenate(values)))


def _validate(predict: Any, split: Split, label_noise: float) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each image, and whether it is classified correctly."""
    losses, correct = [], []
    for start in range(0, len(split.images), _BATCH):
        rows = slice(start, start + _BATCH)
        probabilities = predict(tf.constant(split.images[rows]))
        losses.append(
            cross_entropy(targets(split.labels[rows]), probabilities, label_noise).numpy()
        )
        correct.append(probabilities.numpy().argmax(axis=1) == split.labels[rows])
    return np.concatenate(losses), np.concatenate(correct)


def _mean(values: np.ndarray) -> float:
    """The exact mean, which no order of summation changes."""
    return math.fsum(values.tolist()) / len(values)
