"""How a network learns: deterministic, watched on validation data, best weights kept."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.core.errors import DataError
from digits.core.params import Recipe
from digits.data.dataset import Split
from digits.models import networks
from digits.training.checkpoints import Checkpoint, best_epoch

if TYPE_CHECKING:
    import keras

_BATCH = 500  # images that are judged at a time


@dataclass(frozen=True)
class Trained:
    """A network with the weights of its best epoch, and how it got there.

    `history` holds a list a metric, one value an epoch: `loss`, `accuracy` (on distorted images,
    the hard ones more often, while the weights move), `val_loss`, `val_accuracy`. Losses are in
    nats: cross-entropy with the recipe's `label_noise`, 0 for a sure and right answer.
    `best_epoch` counts from 1.
    """

    model: "keras.Model"
    history: dict[str, list[float]]
    best_epoch: int


def train(
    data: Split,
    val: Split,
    scale: tuple[float, float],
    recipe: Recipe,
    seed: int,
    checkpoint: Checkpoint | None = None,
    pretrained: Path | None = None,
    callbacks: Sequence["keras.callbacks.Callback"] = (),
    say: Callable[[str], None] = print,
) -> Trained:
    """Train one network; the same arguments on the same machine give the same weights.

    Args:
        data: what is learned from.
        val: what early stopping and the best epoch are judged by.
        scale: mean and standard deviation of the training pixels, 0–1.
        recipe: the network and how it learns; `members` and `views` are not looked at.
        seed: of weights, order and distortion.
        checkpoint: where to go on from, and where each finished epoch is kept. A training that
            goes on ends with the same weights as one that was never interrupted.
        pretrained: verified weights to start from.
        callbacks: more Keras callbacks.
        say: called with lines of progress, one an epoch.

    Raises:
        ParameterError: the recipe's network can't be built.
        DataError: a split is empty, or the loss became NaN.
    """
    from digits.training.callbacks import Progress
    from digits.training.minibatches import Following, Minibatches, targets

    for name, split in (("train", data), ("val", val)):
        if not len(split.images):
            raise DataError(f"the {name} split is empty; look at preprocess in params.yaml")
    make_deterministic(seed)
    model = networks.build(recipe, *scale)
    if pretrained:
        networks.load_pretrained(model, pretrained)
    elif recipe.network == "mobilenet":
        say("no 'pretrained' weights in params.yaml: training MobileNetV2 from scratch")
    compile_(model, recipe, math.ceil(len(data.images) / recipe.batch_size))
    batches = Minibatches(data, recipe, seed)
    progress = Progress(recipe.epochs, recipe.patience, batches.difficulty, checkpoint, say)
    progress.resume(model)
    if not progress.is_over():
        judges = np.asarray(val.images), targets(val.labels)
        # metrics have their variables from here on; else Keras would trace the training step twice
        model.compute_metrics(None, judges[1][:1], judges[1][:1])
        model.fit(
            batches,
            initial_epoch=progress.epoch,
            epochs=recipe.epochs,
            validation_data=judges,
            validation_batch_size=_BATCH,
            callbacks=[Following(batches), progress, *_averaging(recipe), *callbacks],
            shuffle=False,  # Keras' own depends on how many epochs this process has seen
            verbose=0,
        )
    history = progress.history
    if not np.isfinite(history["loss"]).all():
        raise DataError(
            f"the loss became NaN in epoch {len(history['loss'])} with 'learning_rate' "
            f"{recipe.learning_rate}; lower it in params.yaml"
        )
    model.set_weights(progress.best)
    return Trained(model, history, best_epoch(history))


def member_seed(seed: int, member: int) -> int:
    """The seed of an ensemble's member, from 1; the first is what it would be alone."""
    return seed + 1000 * (member - 1)


def score(model: "keras.Model", split: Split) -> dict[str, float]:
    """`loss` (cross-entropy, nats) and `accuracy` of a two-headed network on undistorted images."""
    _, probabilities = model.predict(np.asarray(split.images), batch_size=_BATCH, verbose=0)
    of_label = probabilities[np.arange(len(split.labels)), split.labels].astype(np.float64)
    return {
        "loss": float(-np.log(np.maximum(of_label, 1e-7)).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == split.labels).mean()),
    }


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


def compile_(model: "keras.Model", recipe: Recipe, steps: int) -> None:
    """Give a network its optimizer, for so many steps an epoch, and its loss."""
    model.compile(
        optimizer=_optimizer(recipe, steps),
        loss=_loss(recipe),
        metrics=["accuracy"],
    )


def _loss(recipe: Recipe) -> "keras.losses.Loss":
    """Cross-entropy with the labels when a share of them is drawn at random (Patrini et al. 2017).

    An image whose label can't be right costs a limited amount, and soon pulls at nothing. The least
    that any image can cost is taken off, so that a sure and right answer costs 0 with noise too.
    `of_images` is what each of the last minibatch cost, if the recipe skips easy ones.
    """
    import keras
    import tensorflow as tf

    noise = recipe.label_noise
    least = -math.log1p(noise / networks.CLASSES - noise)

    class CrossEntropy(keras.losses.Loss):
        def __init__(self) -> None:
            super().__init__()
            self.of_images = tf.Variable(tf.zeros(0), trainable=False, shape=[None])

        def call(self, labels: Any, probabilities: Any) -> Any:
            if noise:
                probabilities = probabilities * (1 - noise) + noise / networks.CLASSES
            costs = keras.losses.categorical_crossentropy(labels, probabilities)
            if recipe.skip_easy:
                self.of_images.assign(costs)
            return costs - least

    return CrossEntropy()


def _optimizer(recipe: Recipe, steps: int) -> "keras.optimizers.Optimizer":
    """AdamW (Loshchilov & Hutter 2019) or Muon, at a constant rate or one that rises and falls."""
    import keras

    from digits.training.optimizers import ConvolutionMuon, WarmCosine

    total = recipe.epochs * steps
    rising = round(recipe.warmup * total)
    rate = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = WarmCosine(recipe.learning_rate, rising, max(1, total - rising))
    options: dict[str, Any] = {"weight_decay": recipe.weight_decay}
    if recipe.averaging:
        options |= {"use_ema": True, "ema_momentum": recipe.averaging}
    if recipe.optimizer == "adam":
        return keras.optimizers.AdamW(rate, **options)
    return ConvolutionMuon(rate, momentum=recipe.momentum, **options)


def _averaging(recipe: Recipe) -> "list[keras.callbacks.Callback]":
    """Validate with the moving average of the weights, learn on with the weights themselves."""
    import keras

    return [keras.callbacks.SwapEMAWeights()] if recipe.averaging else []
