"""Muon for convolutions: Keras' own takes matrices only and leaves kernels to AdamW."""

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
            weight_decay=weight_decay,
            adam_weight_decay=weight_decay,
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
        step = self.zeropower_via_newtonschulz5(matrix, self.ns_steps)
        self.assign_sub(variable, ops.reshape(step, variable.shape) * (lr * scale))
