"""How a network learns: deterministic, watched on validation data, best weights kept."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from digits import augmentation, models
from digits.errors import DataError
from digits.params import Train

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Split:
    """Images uint8 `(n, 28, 28)` and their labels uint8 `(n,)`."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Trained:
    """A network with the weights of its best epoch, and how it got there.

    `history` holds a list a metric, one value an epoch: `loss`, `accuracy` (on distorted images,
    while the weights move), `val_loss`, `val_accuracy`. `clean` has `loss` and `accuracy` of the
    final weights on undistorted training images, which val's can be compared with. `best_epoch`
    counts from 1.
    """

    model: "keras.Model"
    history: dict[str, list[float]]
    clean: dict[str, float]
    best_epoch: int


def train(
    data: Split,
    val: Split,
    mean: float,
    std: float,
    params: Train,
    callbacks: Sequence["keras.callbacks.Callback"] = (),
    say: Callable[[str], None] = print,
) -> Trained:
    """Train a network; the same arguments on the same machine give the same weights.

    Args:
        data: what is learned from.
        val: what early stopping and the best epoch are judged by.
        mean: of the training pixels, 0–1.
        std: their standard deviation, 0–1.
        callbacks: more Keras callbacks.
        say: called with one line an epoch.

    Raises:
        ParameterError: there is no network of the name in `params`.
        DataError: a split is empty, or the loss became NaN.
    """
    for name, split in (("train", data), ("val", val)):
        if not len(split.images):
            raise DataError(f"the {name} split is empty; look at preprocess in params.yaml")
    make_deterministic(params.seed)
    model = models.build(params.model, mean, std)
    steps = math.ceil(len(data.images) / params.batch_size)
    compile_(model, params, steps)
    best = _best_weights()
    model.fit(
        _batches(data, params),
        epochs=params.epochs,
        validation_data=(np.asarray(val.images), np.asarray(val.labels)),
        validation_batch_size=500,
        callbacks=[*callbacks, best, _report(params.epochs, say), *_stopping(params)],
        verbose=0,
    )
    history = {key: [float(v) for v in values] for key, values in model.history.history.items()}
    if not np.isfinite(history["loss"]).all():
        raise DataError(
            f"the loss became NaN in epoch {len(history['loss'])} with 'train.learning_rate' "
            f"{params.learning_rate}; lower it in params.yaml"
        )
    model.set_weights(best.weights)
    sample = slice(len(val.images))
    loss, accuracy = model.evaluate(
        np.asarray(data.images[sample]), np.asarray(data.labels[sample]), batch_size=500, verbose=0
    )
    return Trained(model, history, {"loss": loss, "accuracy": accuracy}, best.epoch)


def make_deterministic(seed: int) -> None:
    """Make everything that TensorFlow and Keras do from here on repeatable."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def keep_memory() -> None:
    """Let glibc keep freed memory instead of handing it back to the system after every step.

    TensorFlow's threads free and ask for the same megabytes at each step; the page faults of that
    took a third of the training time (5.0 million of them, 0.15 million with this). To be called
    before TensorFlow is imported, as its threads pick their share of memory when they start.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return  # not glibc
    trim_threshold, top_pad, mmap_max, arena_max = -1, -2, -4, -8  # malloc.h
    mallopt(arena_max, 1)
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 256 << 20)


def compile_(model: "keras.Model", params: Train, steps: int) -> None:
    """AdamW (Loshchilov & Hutter 2019), rising then falling along a cosine over all steps."""
    import keras

    total = params.epochs * steps
    rising = round(params.warmup * total)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=params.learning_rate / 25,
        warmup_target=params.learning_rate,
        warmup_steps=rising,
        decay_steps=max(1, total - rising),
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=params.weight_decay),
        loss=_loss(params.label_smoothing),
        metrics=["accuracy"],
    )


def _loss(smoothing: float) -> Any:
    import keras

    if not smoothing:
        return keras.losses.SparseCategoricalCrossentropy()

    def loss(labels: Any, probabilities: Any) -> Any:
        one_hot = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(labels, [-1]), "int32"), 10)
        return keras.losses.categorical_crossentropy(
            one_hot, probabilities, label_smoothing=smoothing
        )

    return loss


def _batches(data: Split, params: Train) -> "keras.utils.PyDataset":
    import keras

    class Batches(keras.utils.PyDataset):
        """Batches whose order and distortion depend on seed, epoch and place alone."""

        def __init__(self) -> None:
            super().__init__(workers=2)  # the next batches are distorted while one is learned from
            self.epoch = 0
            self._shuffle()

        def __len__(self) -> int:
            return math.ceil(len(data.images) / params.batch_size)

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = self.order[index * params.batch_size : (index + 1) * params.batch_size]
            rng = np.random.default_rng((params.seed, self.epoch, index))
            images = augmentation.distort(data.images[rows], params.augmentation, rng)
            return images, data.labels[rows]

        def on_epoch_end(self) -> None:
            self.epoch += 1
            self._shuffle()

        def _shuffle(self) -> None:
            rng = np.random.default_rng((params.seed, self.epoch))
            self.order = rng.permutation(len(data.images))

    return Batches()


def _stopping(params: Train) -> "list[keras.callbacks.Callback]":
    import keras

    return [
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=params.patience),
        keras.callbacks.TerminateOnNaN(),
    ]


def _best_weights() -> Any:
    import keras

    class BestWeights(keras.callbacks.Callback):
        """Keeps the weights of the epoch with the lowest validation loss."""

        def on_train_begin(self, logs: Any = None) -> None:
            self.loss, self.epoch = math.inf, 1
            self.weights = self.model.get_weights()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if logs["val_loss"] < self.loss:
                self.loss, self.epoch = logs["val_loss"], epoch + 1
                self.weights = self.model.get_weights()

    return BestWeights()


def _report(epochs: int, say: Callable[[str], None]) -> Any:
    import keras

    class Report(keras.callbacks.Callback):
        """One line an epoch, with the time that is left."""

        def on_train_begin(self, logs: Any = None) -> None:
            self.start = time.monotonic()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            passed = time.monotonic() - self.start
            left = passed / (epoch + 1) * (epochs - epoch - 1)
            say(
                f"epoch {epoch + 1}/{epochs}  loss {logs['loss']:.4f}  "
                f"val loss {logs['val_loss']:.4f}  val accuracy {logs['val_accuracy']:.4f}  "
                f"{passed:.0f} s, about {left:.0f} s left"
            )

    return Report()
