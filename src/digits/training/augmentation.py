"""Random distortion of training images: affine, elastic, filtered, noisy.

Affine and elastic (Simard et al. 2003) displacements are added and sampled once, so that each image
is interpolated only once. All of it is elementwise arithmetic, which gives the same bytes on every
CPU; matrix products and NumPy's sine and cosine do not.
"""

import numpy as np

from digits.core.params import Augmentation

_GRID = 7  # control points per side: distortions about a fifth of the image wide
_TERMS = 9  # of a Taylor series; at 45° the next one is below 1e-18
_BORDER = 2  # black pixels around an image


def distort(images: np.ndarray, params: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Distort each image at random.

    Args:
        images: uint8 `(n, h, h)`, white on black.

    Returns:
        uint8 `(n, h, h)`; the same array if all parameters are 0.
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
    """The source of each output pixel: columns and rows, float32 `(count, size, size)`."""
    angle = np.deg2rad(rng.uniform(-params.rotation, params.rotation, count))
    scale_x, scale_y = 1 + rng.uniform(-params.scale, params.scale, (2, count))
    shear = rng.uniform(-params.shear, params.shear, count)
    shift_x, shift_y = rng.uniform(-params.shift, params.shift, (2, count))
    sin, cos = _sin_cos(angle)
    # rotation · shear · scale
    from_x = (cos / scale_x, (cos * shear - sin) / scale_y, shift_x)
    from_y = (sin / scale_x, (sin * shear + cos) / scale_y, shift_y)
    centre = np.float32((size - 1) / 2)
    place = np.arange(size, dtype=np.float32) - centre
    row, column = place[:, None], place[None, :]
    x, y = (
        of_column * column + of_row * row + (shift + centre)
        for of_column, of_row, shift in (
            [term.astype(np.float32)[:, None, None] for term in terms] for terms in (from_x, from_y)
        )
    )
    return x, y


def _sin_cos(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of angles up to 45°, by their Taylor series."""
    square = angle * angle
    sin, cos = np.ones_like(angle), np.ones_like(angle)
    for power in range(_TERMS, 0, -1):
        sin = 1 - sin * square / (2 * power * (2 * power + 1))
        cos = 1 - cos * square / (2 * power * (2 * power - 1))
    return angle * sin, cos


def _elastic(
    count: int, size: int, strength: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random displacements: a coarse grid, interpolated by a uniform cubic B-spline."""
    control = rng.standard_normal((2, count, _GRID, _GRID), dtype=np.float32) * strength
    spline = _spline(size)
    rows = np.zeros((2, count, size, _GRID), np.float32)
    for point, weights in enumerate(spline):
        rows += weights[:, None] * control[:, :, point, None, :]
    moved = np.zeros((2, count, size, size), np.float32)
    for point, weights in enumerate(spline):
        moved += rows[..., point, None] * weights
    return moved[0], moved[1]


def _spline(size: int) -> np.ndarray:
    """The weight of each control point for each pixel, float32 `(_GRID, size)`."""
    place = np.linspace(0, _GRID - 3 - 1e-6, size)
    first = place.astype(int)
    t = place - first
    u, t2 = 1 - t, t * t
    pieces = (u * u * u, 3 * t2 * t - 6 * t2 + 4, -3 * t2 * t + 3 * t2 + 3 * t + 1, t2 * t)
    weights = np.zeros((_GRID, size), np.float32)
    for offset, piece in enumerate(pieces):
        weights[first + offset, np.arange(size)] = piece / 6
    return weights


def _sample(images: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples of each image at its source positions; black outside."""
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
    """Some images blended with their convolution by a random 3 × 3 kernel (Xu et al. 2021).

    This keeps shape and changes texture and contrast: dark may become bright. The result is scaled
    to full contrast.
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
    """Gaussian noise in half of the images, of random strength."""
    count = len(images)
    strength = 255 * strongest * rng.random(count) * (rng.random(count) < 0.5)
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    noise *= strength.astype(np.float32)[:, None, None]
    return np.clip(images + noise, 0, 255).astype(np.uint8)
