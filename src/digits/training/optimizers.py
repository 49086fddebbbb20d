"""What Keras' optimizers lack: Muon for convolutions, and a schedule without branches.

Keras' own Muon takes matrices only and leaves kernels to AdamW. Its CosineDecay with a warmup puts
a branch of the graph beside every variable: a second until the first step, and some at each.
"""

import math
from typing import Any

import keras

_ADAM_SHARE = 0.2  # learning rate of everything that is no hidden kernel, relative to Muon's


class ConvolutionMuon(keras.optimizers.Muon):
    """Muon (Jordan et al. 2024) for hidden convolutions, AdamW for everything else.

    A kernel's gradient, as a matrix of all its inputs by its outputs, is replaced by the nearest
    one whose singular values are about 1: a step then moves all directions alike, where Adam's
    is ruled by few. Steps are scaled as in that work, by the root of inputs over outputs.
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
        """Keras' Newton–Schulz iterations, on the Gram matrix alone.

        Each multiplies by a polynomial of it; what they come to is applied once. As a kernel has
        several times as many inputs as outputs, that takes half the time.
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


class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises evenly, then falls by half a cosine to 0."""

    def __init__(self, peak: float, rising: int, falling: int) -> None:
        """Steps until the peak, of which the first has a 25th of it, and from there to the end."""
        self._peak, self._rising, self._falling = peak, rising, falling

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step, from 0."""
        ops = keras.ops
        step = ops.cast(step, "float32")
        risen = step / max(1, self._rising)
        fallen = ops.clip((step - self._rising) / self._falling, 0, 1)
        rate = ops.where(
            step < self._rising, (1 + 24 * risen) / 25, (1 + ops.cos(math.pi * fallen)) / 2
        )
        return self._peak * rate

    def get_config(self) -> dict[str, float]:
        """What it was made from."""
        return {"peak": self._peak, "rising": self._rising, "falling": self._falling}
