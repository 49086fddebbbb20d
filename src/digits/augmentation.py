"""Random affine distortion of training images, as another hand would have written them."""

import numpy as np

from digits.params import Augmentation


def transforms(count: int, size: int, params: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Random affine maps about the centre, from output to input pixels.

    Returns:
        float32 `(count, 8)`, rows as in tf.raw_ops.ImageProjectiveTransformV3.
    """
    angle = np.deg2rad(rng.uniform(-params.rotation, params.rotation, count))
    scale_x, scale_y = 1 + rng.uniform(-params.scale, params.scale, (2, count))
    shear = rng.uniform(-params.shear, params.shear, count)
    shift = rng.uniform(-params.shift, params.shift, (2, count))
    cos, sin = np.cos(angle), np.sin(angle)
    # rotation · shear · scale
    a, b = cos / scale_x, (cos * shear - sin) / scale_y
    c, d = sin / scale_x, (sin * shear + cos) / scale_y
    centre = (size - 1) / 2
    x = centre - a * centre - b * centre + shift[0]
    y = centre - c * centre - d * centre + shift[1]
    zero = np.zeros(count)
    return np.stack([a, b, x, c, d, y, zero, zero], axis=1).astype(np.float32)


def distort(images: np.ndarray, params: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Distort each image in its own way.

    Args:
        images: uint8 `(n, h, h)`, white on black.

    Returns:
        uint8 `(n, h, h)`.
    """
    import tensorflow as tf

    distorted = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.constant(images[..., None]),
        transforms=transforms(len(images), images.shape[1], params, rng),
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return np.asarray(distorted)[..., 0]
