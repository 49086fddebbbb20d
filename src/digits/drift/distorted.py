"""Digits as others might write, scan or damage them: what `harm` learns to accept as digits.

Some random changes of shape, stroke, sharpness, light or noise for each image, covered parts or
lines across, or one of MNIST-C's corruptions. All arithmetic is the same on every CPU.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from digits.core.errors import PictureError
from digits.evaluation import corruptions
from digits.images import glyphs

_SIDE = glyphs.SIZE
_CENTRE = (_SIDE - 1) / 2  # px
_PUBLISHED_SHARE = 0.5  # of the images, corrupted as MNIST-C
_COARSE_SHARE = 0.12

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def moderately(images: np.ndarray, seed: int) -> np.ndarray:
    """Digits that people still read: uint8 `(n, 28, 28)`, one for each image."""
    rng = np.random.default_rng([seed, 0])
    changed = images.copy()
    published = rng.random(len(images)) < _PUBLISHED_SHARE
    which = rng.integers(len(corruptions.NAMES), size=len(images))
    for number, name in enumerate(corruptions.NAMES):
        rows = np.flatnonzero(published & (which == number))
        changed[rows] = corruptions.corrupt(images[rows], name, seed)
    rest = np.flatnonzero(~published)
    values = _moved(images[rest], rng, 0.25, 0.25, 2.5) / 255.0
    for change, share in _CHANGES:
        some = np.flatnonzero(rng.random(len(rest)) < share)
        values[some] = change(values[some], rng)
    changed[rest] = _grey(values)
    for row in np.flatnonzero(rng.random(len(images)) < _COARSE_SHARE):
        changed[row] = _coarse(images[row], int(rng.integers(8, 15)))
    return changed


def heavily(images: np.ndarray, seed: int) -> np.ndarray:
    """Digits that are hard to read: turned, shifted, bent, covered, blurred or noisy."""
    rng = np.random.default_rng([seed, 1])
    kind = rng.integers(6, size=len(images))
    values = images.astype(np.float64)
    turned, shifted, warped, hidden, blurred, noisy = (kind == k for k in range(6))
    values[turned] = _moved(images[turned], rng, 1.0, 0.2, 1.0)
    values[shifted] = _moved(images[shifted], rng, 0.1, 0.1, 11.0)
    values[warped] = bent(images[warped], rng, 2.5)
    values /= 255
    values[hidden] = _covered(values[hidden], rng, 0.5)
    for _ in range(2):
        values[blurred] = _blurred(values[blurred], rng)
    strength = rng.uniform(0.2, 0.6, noisy.sum())[:, None, None]
    values[noisy] += strength * rng.standard_normal(values[noisy].shape)
    return _grey(values)


def _grey(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values.round(6), 0, 1) * 255).astype(np.uint8)


def _moved(
    images: np.ndarray, rng: np.random.Generator, turn: float, scale: float, shift: float
) -> np.ndarray:
    """Turned by up to `2 · arctan(turn / 2)`-like angles, scaled, sheared and shifted: float64.

    Args:
        turn: largest tangent of half the angle; 1 is a quarter turn.
        scale: largest change of size, and of shear.
        shift: px.
    """
    n = len(images)
    t = rng.uniform(-turn, turn, n)
    cos, sin = (1 - t**2) / (1 + t**2), 2 * t / (1 + t**2)
    wide, high = 1 + rng.uniform(-scale, scale, (2, n))
    shear = rng.uniform(-scale, scale, n)
    matrix = np.stack(
        [cos / wide, (cos * shear - sin) / high, sin / wide, (sin * shear + cos) / high]
    )
    place = np.arange(_SIDE) - _CENTRE
    a, b, c, d = matrix[:, :, None, None]
    dx, dy = rng.uniform(-shift, shift, (2, n, 1, 1)) + _CENTRE
    x = a * place[None, None, :] + b * place[None, :, None] + dx
    y = c * place[None, None, :] + d * place[None, :, None] + dy
    image = np.broadcast_to(np.arange(n)[:, None, None], x.shape)
    places = np.stack([image, y, x]).round(6)
    return ndimage.map_coordinates(images.astype(np.float64), places, order=1, mode="constant")


def bent(images: np.ndarray, rng: np.random.Generator, wobble: float) -> np.ndarray:
    """Lines that waver: float64.

    Args:
        images: `(n, 28, 28)`.
        wobble: standard deviation of the displacement at 5 × 5 points, px.
    """
    n, side, _ = images.shape
    points = rng.normal(0, wobble, (2, n, 5, 5))
    weights = _tents(side, 5)
    dy, dx = weights @ points @ weights.T
    image, y, x = np.meshgrid(np.arange(n), np.arange(side), np.arange(side), indexing="ij")
    places = np.stack([image, y + dy, x + dx]).round(6)
    return ndimage.map_coordinates(images.astype(np.float64), places, order=1, mode="constant")


def _tents(side: int, count: int) -> np.ndarray:
    """Weights of linear interpolation of `side` places between `count` points."""
    place = np.arange(side) * (count - 1) / (side - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(count)))


def _wavering(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return bent(values, rng, 1.2)


def _covered(values: np.ndarray, rng: np.random.Generator, share: float = 0.35) -> np.ndarray:
    """A box of random size and place is blank, its sides at most `share` of the picture's."""
    place = np.arange(_SIDE)
    high, wide = rng.uniform(0.1, share, (2, len(values))) * _SIDE
    top, left = rng.uniform(2, _SIDE - 2, (2, len(values))) - np.array([high, wide]) / 2
    down = (place >= top[:, None]) & (place < (top + high)[:, None])
    across = (place >= left[:, None]) & (place < (left + wide)[:, None])
    return np.where(down[:, :, None] & across[:, None, :], 0.0, values)


def _lined(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Straight lines across, at equal distances: a form's or paper's ruling."""
    n = len(values)
    place = np.arange(_SIDE) - _CENTRE
    slope, shift = rng.uniform(-0.15, 0.15, n)[:, None, None], rng.uniform(0, 28, n)[:, None, None]
    apart, width = rng.choice([7.0, 10.0, 14.0, 28.0], n)[:, None, None], rng.integers(1, 3, n)
    height = (place[None, :, None] + slope * place[None, None, :] + shift).round(6) % apart
    lines = (height < width[:, None, None]) * rng.uniform(0.2, 1, n)[:, None, None]
    upright = rng.random(n) < 0.4
    lines[upright] = lines[upright].swapaxes(1, 2)
    return np.maximum(values, lines)


def _stroke(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    thick = rng.random(len(values)) < 0.5
    values[thick] = ndimage.grey_dilation(values[thick], size=(1, 2, 2))
    values[~thick] = ndimage.grey_erosion(values[~thick], size=(1, 2, 2))
    return values


def _blurred(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    passes = rng.integers(1, 5, len(values))  # standard deviation 0.8 to 1.6 px
    for number in range(1, 5):
        some = passes >= number
        values[some] = ndimage.uniform_filter(values[some], (1, 3, 3), mode="constant")
    return values


def _coarse(image: np.ndarray, side: int) -> np.ndarray:
    """A digit scanned with few pixels, `side` for 20, and brought to MNIST's form."""
    inner = Image.fromarray(image[3:25, 3:25])
    small = np.asarray(inner.resize((side, side), Image.Resampling.BOX))
    try:
        return glyphs.extract(small).image
    except PictureError:
        return image


def _light(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey paper, lit from one side, and weak ink."""
    n = len(values)
    across, down = rng.uniform(-0.25, 0.25, (2, n, 1, 1))
    place = (np.arange(_SIDE) - _CENTRE) / _SIDE
    paper = (
        rng.uniform(0, 0.4, (n, 1, 1)) + across * place[None, None] + down * place[None, :, None]
    )
    return np.maximum(paper, 0) + values * rng.uniform(0.4, 0.8, (n, 1, 1))


def _noisy(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    strength = rng.uniform(0.02, 0.35, (len(values), 1, 1))
    spots = rng.random(values.shape) < rng.uniform(0, 0.08, (len(values), 1, 1))
    noisy = values + strength * rng.standard_normal(values.shape)
    return np.where(spots, rng.random(values.shape), noisy)


_CHANGES: tuple[tuple[Change, float], ...] = (  # in this order, with their shares of the images
    *((_wavering, 0.25), (_stroke, 0.35), (_covered, 0.12), (_blurred, 0.35)),
    *((_light, 0.35), (_lined, 0.12), (_noisy, 0.35)),
)
