"""Optimizers and schedule: AdamW, Muon for convolutions, warm-up and cosine decay.

Keras' own Muon takes matrices only and leaves kernels to AdamW. Its CosineDecay with a warm-up puts
a conditional beside every variable: a second until the first step, and time in each step.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from digits.core.params import Recipe
from digits.models.backend import keras

_ADAM_SHARE = 0.2  # AdamW's learning rate, for everything but hidden kernels, relative to Muon's


def build(recipe: Recipe, steps: int) -> "keras.optimizers.Optimizer":
    """AdamW (Loshchilov & Hutter 2019) or Muon, as the recipe says.

    Args:
        steps: per epoch.
    """
    total = recipe.epochs * steps
    warmup = round(recipe.warmup * total)
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = WarmupCosine(recipe.learning_rate, warmup, max(1, total - warmup))
    options: dict[str, Any] = {"weight_decay": recipe.weight_decay}
    if recipe.averaging:
        options |= {"use_ema": True, "ema_momentum": recipe.averaging}
    if recipe.optimizer == "adam":
        return keras.optimizers.AdamW(rate, **options)
    return ConvolutionMuon(rate, momentum=recipe.momentum, **options)


@contextmanager
def averaged(optimizer: "keras.optimizers.Optimizer") -> Iterator[None]:
    """Inside, the trainable weights are their moving averages, if the optimizer keeps any."""
    if not optimizer.use_ema:
        yield
        return
    variables = optimizer._trainable_variables
    weights = [variable.numpy() for variable in variables]
    for variable, average in zip(variables, optimizer._model_variables_moving_average, strict=True):
        variable.assign(average)
    try:
        yield
    finally:
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)


class ConvolutionMuon(keras.optimizers.Muon):
    """Muon (Jordan et al. 2024) for hidden convolutions, AdamW for everything else.

    A kernel's gradient, as a matrix of all its inputs by its outputs, is replaced by the nearest
    one whose singular values are about 1, so that a step moves all directions alike, where few
    directions dominate Adam's. Steps are scaled by the root of inputs over outputs, as in that
    work.
    """

    def __init__(self, learning_rate: Any, weight_decay: float, **options: Any) -> None:
        super().__init__(
            learning_rate,
            weight_decay=weight_decay or None,
            adam_weight_decay=weight_decay or None,
            adam_lr_ratio=_ADAM_SHARE,
            **options,
        )

    def _should_use_adamw(self, variable: Any) -> bool:
        shape = variable.shape
        return not (len(shape) == 4 and shape[2] > 1)  # height, width, inputs, outputs

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        ops = keras.ops
        self.assign(m, m * self.momentum + gradient)
        matrix = ops.reshape(gradient + m * self.momentum, (-1, variable.shape[-1]))
        inputs, outputs = matrix.shape
        scale = max(1.0, inputs / outputs) ** 0.5
        step = self._orthogonalised(matrix)
        self.assign_sub(variable, ops.reshape(step, variable.shape) * (lr * scale))

    def _orthogonalised(self, matrix: Any) -> Any:
        """Keras' Newton–Schulz iterations, carried out on the Gram matrix.

        Each iteration multiplies by a polynomial of the Gram matrix; their product is applied to
        the matrix once. A kernel has several times as many inputs as outputs, so this takes half
        the time.
        """
        ops = keras.ops
        matrix = matrix / (ops.norm(matrix) + 1e-7)
        tall = matrix.shape[0] >= matrix.shape[1]
        other = ops.transpose(matrix)
        gram = other @ matrix if tall else matrix @ other
        product = identity = ops.eye(gram.shape[0])
        for _ in range(self.ns_steps):
            factor = self.muon_a * identity + self.muon_b * gram + self.muon_c * (gram @ gram)
            product = factor @ product
            gram = factor @ gram @ factor
        return matrix @ product if tall else product @ matrix


class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly to its peak, then falls to 0 along half a cosine."""

    def __init__(self, peak: float, warmup: int, decay: int) -> None:
        """A schedule of `warmup` steps, starting at a 25th of the peak, and `decay` steps."""
        self._peak, self._warmup, self._decay = peak, warmup, decay

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step, counted from 0."""
        ops = keras.ops
        step = ops.cast(step, "float32")
        risen = step / max(1, self._warmup)
        fallen = ops.clip((step - self._warmup) / self._decay, 0, 1)
        rate = ops.where(
            step < self._warmup, (1 + 24 * risen) / 25, (1 + ops.cos(math.pi * fallen)) / 2
        )
        return self._peak * rate

    def get_config(self) -> dict[str, float]:
        """The arguments that it was made with."""
        return {"peak": self._peak, "warmup": self._warmup, "decay": self._decay}
