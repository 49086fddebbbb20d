"""Random distortion of training images, as another hand would have written them.

Affine and elastic (Simard et al. 2003) displacements are added up and sampled once, so that an
image is blurred by one interpolation only.
"""

import numpy as np

from digits.core.params import Augmentation

_GRID = 7  # control points along a side: folds of about a fifth of the image
_BORDER = 2  # blank pixels around an image, so that what lies outside is black


def distort(images: np.ndarray, params: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Distort each image in its own way.

    Args:
        images: uint8 `(n, h, h)`, white on black.

    Returns:
        uint8 `(n, h, h)`; the images themselves if nothing is to be distorted.
    """
    if not any(params.model_dump().values()):
        return images
    x, y = _affine(len(images), images.shape[1], params, rng)
    if params.elastic:
        dx, dy = _elastic(len(images), images.shape[1], params.elastic, rng)
        x += dx
        y += dy
    images = _sample(images, x, y)
    if params.filtered:
        images = _filtered(images, params.filtered, rng)
    return _with_noise(images, params.noise, rng) if params.noise else images


def _affine(
    count: int, size: int, params: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Where each output pixel comes from: columns and rows, float32 `(count, size, size)`."""
    angle = np.deg2rad(rng.uniform(-params.rotation, params.rotation, count))
    scale_x, scale_y = 1 + rng.uniform(-params.scale, params.scale, (2, count))
    shear = rng.uniform(-params.shear, params.shear, count)
    shift_x, shift_y = rng.uniform(-params.shift, params.shift, (2, count))
    cos, sin = np.cos(angle), np.sin(angle)
    # rotation · shear · scale
    from_x = np.stack([cos / scale_x, (cos * shear - sin) / scale_y, shift_x])
    from_y = np.stack([sin / scale_x, (sin * shear + cos) / scale_y, shift_y])
    centre = (size - 1) / 2
    row, column = np.mgrid[:size, :size].astype(np.float32) - centre
    basis = np.stack([column, row, np.ones_like(row)]).reshape(3, -1)
    x, y = (
        (terms.T.astype(np.float32) @ basis).reshape(count, size, size) + np.float32(centre)
        for terms in (from_x, from_y)
    )
    return x, y


def _elastic(
    count: int, size: int, strength: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random displacements: a coarse grid of them, joined by a uniform cubic B-spline."""
    control = rng.standard_normal((2, count, _GRID, _GRID), dtype=np.float32) * strength
    spline = _spline(size)
    dx, dy = spline @ control @ spline.T
    return dx, dy


def _spline(size: int) -> np.ndarray:
    """From control points to pixels, float32 `(size, _GRID)`; rows sum to 1."""
    place = np.linspace(0, _GRID - 3 - 1e-6, size)
    first = place.astype(int)
    t = place - first
    pieces = (1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3
    weights = np.zeros((size, _GRID), np.float32)
    for offset, piece in enumerate(pieces):
        weights[np.arange(size), first + offset] = piece / 6
    return weights


def _sample(images: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples of each image at its own places; black outside."""
    count, size = images.shape[:2]
    wide = size + 2 * _BORDER
    padded = np.zeros((count, wide, wide), np.float32)
    padded[:, _BORDER:-_BORDER, _BORDER:-_BORDER] = images
    outside = _BORDER - 0.5
    for places in (x, y):
        np.clip(places, -outside, size - 1 + outside, out=places)
        places += _BORDER
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, down = x - left, y - top
    corner = top * wide + left + (np.arange(count, dtype=np.int32) * wide**2)[:, None, None]
    pixels = padded.ravel()
    above, below = pixels.take(corner), pixels.take(corner + wide)
    above += (pixels.take(corner + 1) - above) * right
    below += (pixels.take(corner + wide + 1) - below) * right
    above += (below - above) * down
    return (above + 0.5).astype(np.uint8)


def _filtered(images: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Some images mixed with what a random kernel of 3 × 3 makes of them (Xu et al. 2021).

    Shape stays, texture and contrast don't: dark may become bright. All end at full contrast.
    """
    chosen = np.flatnonzero(rng.random(len(images)) < share)
    kernels = rng.standard_normal((3, 3, len(chosen), 1, 1), dtype=np.float32) / 3
    share_kept = rng.random((len(chosen), 1, 1), dtype=np.float32)
    size = images.shape[1]
    padded = np.pad(images[chosen].astype(np.float32), ((0, 0), (1, 1), (1, 1)))
    mixed = share_kept * images[chosen]
    for top, row in enumerate(kernels):
        for left, weight in enumerate(row):
            part = padded[:, top : top + size, left : left + size]
            mixed += (1 - share_kept) * weight * part
    darkest, brightest = (find(mixed, axis=(1, 2), keepdims=True) for find in (np.min, np.max))
    filtered = images.copy()
    filtered[chosen] = 255 * (mixed - darkest) / np.maximum(brightest - darkest, 1)
    return filtered


def _with_noise(images: np.ndarray, strongest: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise in half of the images, of another strength in each."""
    count = len(images)
    strength = 255 * strongest * rng.random(count) * (rng.random(count) < 0.5)
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    noise *= strength.astype(np.float32)[:, None, None]
    return np.clip(images + noise, 0, 255).astype(np.uint8)
