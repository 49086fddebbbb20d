"""The training loss."""

import math
from typing import Any

from digits.models.arithmetic import log
from digits.models.backend import tf
from digits.models.networks import CLASSES


def cross_entropy(targets: Any, probabilities: Any, label_noise: float) -> Any:
    """Cross-entropy under the assumption that a share of the labels is wrong (Patrini et al. 2017).

    The cost of an image is bounded, so an image whose label cannot be right soon has no influence.
    The smallest possible cost is subtracted: a confident, correct prediction costs 0.

    Args:
        targets: float32 `(n, 10)`, the target distribution.
        probabilities: float32 `(n, 10)`, the predicted one.
        label_noise: the share of labels assumed to be drawn at random, 0 to below 1.

    Returns:
        float32 `(n,)`, in nats.
    """
    smallest = -math.log1p(label_noise / CLASSES - label_noise)
    mixed = probabilities * (1 - label_noise) + label_noise / CLASSES
    clipped = tf.clip_by_value(mixed, _EPSILON, 1 - _EPSILON)
    return -tf.reduce_sum(targets * log(clipped), axis=-1) - smallest


_EPSILON = 1e-7  # Keras' own bound, which keeps the logarithm finite
