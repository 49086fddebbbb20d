"""Arithmetic that gives the same bytes on every x86-64 CPU with AVX, as layers and functions.

TensorFlow promises the same result only on the same hardware. What differs between CPUs, and the
cure here (`backend` has the settings that belong to it):

- The kernel for 1/√x, and the one for 1/x in softmax and in the gradient of the logarithm, refine
  an approximate instruction that Intel and AMD implement differently: divide and take roots.
  LiteRT's converter folds batch normalisation by 1/√x, too: it gets it folded.
- The gradient of a convolution's input (Conv2DBackpropInput) sums in blocks sized by the L1 cache:
  the same sum as a forward convolution, which does not.
- oneDNN's kernels differ by instruction set: off. The number of threads splits sums: fixed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from digits.models.backend import ARITHMETIC, keras, tf


class Convolution(keras.layers.Conv2D):
    """Conv2D whose gradient is computed by forward convolutions."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The convolution of images `(n, h, w, c)` with a kernel `(h, w, c, filters)`."""
        if ARITHMETIC != "portable":
            return super().convolution_op(inputs, kernel)
        return convolution(inputs, tf.convert_to_tensor(kernel), self.strides[0], self.padding)


def convolution(images: Any, kernel: Any, stride: int, padding: str) -> Any:
    """A 2-D convolution with a portable gradient; `padding` is "same" or "valid"."""
    padding = padding.upper()

    def convolve(images: Any, kernel: Any) -> Any:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            of_kernel = tf.raw_ops.Conv2DBackpropFilter(
                input=images,
                filter_sizes=tf.shape(kernel),
                out_backprop=upstream,
                strides=(1, stride, stride, 1),
                padding=padding,
            )
            return _input_gradient(images.shape, kernel, upstream, stride, padding), of_kernel

        return tf.nn.conv2d(images, kernel, stride, padding), gradient

    return tf.custom_gradient(convolve)(images, kernel)


def _input_gradient(shape: Any, kernel: Any, upstream: Any, stride: int, padding: str) -> Any:
    """The upstream gradient, dilated by the stride and padded, convolved by flipped kernels."""
    height, width = shape[1:3]
    rows, columns = kernel.shape[:2]
    n, (out_height, out_width, channels) = tf.shape(upstream)[0], upstream.shape[1:]
    same = padding == "SAME"
    top = max((out_height - 1) * stride + rows - height, 0) // 2 if same else 0
    left = max((out_width - 1) * stride + columns - width, 0) // 2 if same else 0
    if stride > 1:
        zeros = ((0, 0), (0, 0), (0, stride - 1), (0, 0), (0, stride - 1), (0, 0))
        upstream = tf.reshape(upstream, (n, out_height, 1, out_width, 1, channels))
        upstream = tf.reshape(
            tf.pad(upstream, zeros), (n, out_height * stride, out_width * stride, channels)
        )
        upstream = upstream[:, : (out_height - 1) * stride + 1, : (out_width - 1) * stride + 1]
    above, before = rows - 1 - top, columns - 1 - left
    below = height + top - upstream.shape[1]
    after = width + left - upstream.shape[2]
    upstream = tf.pad(upstream, ((0, 0), (above, below), (before, after), (0, 0)))
    flipped = tf.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
    return tf.nn.conv2d(upstream, flipped, 1, "VALID")


class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation (Ioffe & Szegedy 2015) by a root and a division per channel."""

    folded: tuple[np.ndarray, np.ndarray] | None = None

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise `(n, h, w, c)`, in training by the minibatch's own mean and variance."""
        if self.folded:
            scale, offset = self.folded
            return inputs * scale + offset
        mean, variance = self.moving_mean.value, self.moving_variance.value
        if training and self.trainable:
            axes = list(range(len(inputs.shape) - 1))
            mean = tf.reduce_mean(inputs, axes)
            variance = tf.reduce_mean(tf.math.squared_difference(inputs, mean), axes)
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + value * (1 - self.momentum))
        scale = self.gamma / tf.sqrt(variance + self.epsilon)
        return inputs * scale + (self.beta - mean * scale)

    def fold(self) -> None:
        """From here on, scale and offset are constants, computed by NumPy, which divides."""
        gamma, beta, mean, variance = (np.asarray(weight) for weight in self.weights)
        scale = gamma / np.sqrt(variance + np.float32(self.epsilon))
        self.folded = scale, beta - mean * scale


@contextmanager
def folded(model: Any) -> Iterator[None]:
    """All batch normalisations of a model are folded: for exporters, which do it by 1/√x."""
    found = [one for one in _layers(model) if isinstance(one, BatchNormalization)]
    try:
        for layer in found:
            layer.fold()
        yield
    finally:
        for layer in found:
            layer.folded = None


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield from _layers(layer) if hasattr(layer, "layers") else [layer]


class ContrastNormalization(keras.layers.Layer):
    """Each image is brought to mean 0 and variance 1 (layer normalisation, Ba et al. 2016)."""

    def call(self, inputs: Any) -> Any:
        """Normalise `(n, h, w, c)`."""
        axes = (1, 2, 3)
        mean = tf.reduce_mean(inputs, axes, keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(inputs, mean), axes, keepdims=True)
        return (inputs - mean) / tf.sqrt(variance + 1e-3)


def softmax(logits: Any) -> Any:
    """Softmax over the last axis, by division."""
    powers = tf.exp(logits - tf.stop_gradient(tf.reduce_max(logits, axis=-1, keepdims=True)))
    return powers / tf.reduce_sum(powers, axis=-1, keepdims=True)


def log(x: Any) -> Any:
    """The natural logarithm, with a gradient by division."""
    return tf.custom_gradient(lambda x: (tf.math.log(x), lambda upstream: upstream / x))(x)
