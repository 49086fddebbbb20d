"""The fifteen corruptions of MNIST-C (Mu & Gilmer 2019, arXiv 1906.02337), reimplemented.

Strengths are the defaults of the published corruptions.py (github.com/google-research/mnist-c) with
the scikit-image of 2019. Given the same random draws, pixels agree to within one grey level. The
draws differ, so the corrupted images resemble those of MNIST-C but are not the same. The random
distortions used in training are in training/augmentation.py.

Private functions take and return float `(n, 28, 28)`, 0–1.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from digits.core.errors import DataError, ParameterError

_SIDE = 28
_CENTRE = (_SIDE - 1) / 2
_CHUNK = 250


def corrupt(images: np.ndarray, name: str, seed: int) -> np.ndarray:
    """Corrupt each image with its own random draws.

    Args:
        images: uint8 `(n, 28, 28)`, white on black; not modified.
        name: one of NAMES.
        seed: 0 or more; equal images, name and seed give equal bytes.

    Returns:
        uint8 `(n, 28, 28)`.

    Raises:
        ParameterError: the name is unknown.
        DataError: images have another shape or dtype.
    """
    if name not in _CORRUPTIONS:
        raise ParameterError(f"corruption is {name!r}; known: {', '.join(NAMES)}")
    if images.dtype != np.uint8 or images.shape[1:] != (_SIDE, _SIDE):
        raise DataError(
            f"images to corrupt: expected uint8 (n, {_SIDE}, {_SIDE}), "
            f"got {images.dtype} {images.shape}"
        )
    rng = np.random.default_rng([seed, NAMES.index(name)])
    corrupted = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        values = np.clip(_CORRUPTIONS[name](images[chunk] / 255, rng), 0, 1) * 255
        # float32, like MNIST-C, as precision decides how values near .5 are rounded
        corrupted[chunk] = np.rint(values.astype(np.float32))
    return corrupted


def _shot_noise(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Poisson noise, 3 photons on average at white (Hendrycks & Dietterich 2019)."""
    return rng.poisson(values * 3) / 3


def _impulse_noise(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Salt-and-pepper noise on 17 % of the pixels, half black and half white."""
    draws = rng.random(values.shape)
    return np.where(draws < 0.17, draws < 0.085, values)


def _glass_blur(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, swap pixels with neighbours above and to the left, blur again.

    MNIST-C mistakes columns for colour channels, so it blurs vertically only. There are two passes,
    each from the lower right. In a pass, a pixel stays with probability 5/8; otherwise it is
    swapped with the neighbour above, to the left, or above left, each with probability 1/8.
    """
    blurred = np.floor(_blur_columns(values) * 255) / 255
    pixels = np.ascontiguousarray(blurred.reshape(len(values), -1).T)
    image = np.arange(len(values))
    neighbour = np.array([0, 0, 0, 0, 0, 1, _SIDE, _SIDE + 1])
    inner = np.arange(_SIDE**2).reshape(_SIDE, _SIDE)[2:, 2:].ravel()[::-1]
    for here in np.tile(inner, 2):
        there = here - neighbour[rng.integers(0, len(neighbour), len(values))]
        moved = pixels[there, image]
        pixels[there, image] = pixels[here]
        pixels[here] = moved
    return _blur_columns(pixels.T.reshape(values.shape))


def _blur_columns(values: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(values, (0, 0.7, 0), mode="nearest")


def _motion_blur(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One-sided Gaussian along a line within 45° of the horizontal, radius 10 and sigma 3.

    Like ImageMagick's MotionBlurImage: 2 · radius + 1 steps of whole pixels, edges repeated. Values
    are rounded here; MNIST-C's PNG writer truncates them.
    """
    steps = np.arange(21)
    weights = np.exp(-(steps**2) / (2 * 3**2))
    angles = np.deg2rad(rng.uniform(-45, 45, len(values)))
    right, down = (
        np.ceil(np.outer(steps, part) - 0.5).astype(int)
        for part in (np.cos(angles), np.sin(angles))
    )
    blurred = np.zeros_like(values)
    for weight, dx, dy in zip(weights / weights.sum(), right, down, strict=True):
        blurred += weight * _move(values, dx, dy, mode="edge")
    return blurred


def _move(
    values: np.ndarray, dx: np.ndarray, dy: np.ndarray, mode: Literal["edge", "constant"]
) -> np.ndarray:
    """Translate each image by `-dx`, `-dy` pixels, at most 20 each."""
    margin = 20
    padded = np.pad(values, ((0, 0), (margin, margin), (margin, margin)), mode=mode)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_SIDE, _SIDE), axis=(1, 2))
    return windows[np.arange(len(values)), margin + dy, margin + dx]


def _shear(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tilt the vertical axis by ±0.4 rad, keeping its length."""
    sin, cos = np.sin(0.4), np.cos(0.4)
    return _warp_randomly(values, rng, [[cos, 0], [-sin, 1]], [[cos, 0], [sin, 1]])


def _scale(values: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Shrink by a factor of 0.7."""
    return _warp(values, np.eye(2) / 0.7)


def _rotate(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotate by ±0.4 rad."""
    sin, cos = np.sin(0.4), np.cos(0.4)
    return _warp_randomly(values, rng, [[cos, sin], [-sin, cos]], [[cos, -sin], [sin, cos]])


def _warp_randomly(
    values: np.ndarray, rng: np.random.Generator, one: ArrayLike, other: ArrayLike
) -> np.ndarray:
    """Warp each image by one of two matrices, chosen with equal probability."""
    chosen = rng.choice([-1, 1], len(values))[:, None, None] == 1
    return np.where(chosen, _warp(values, one), _warp(values, other))


def _warp(values: np.ndarray, matrix: ArrayLike) -> np.ndarray:
    """Map output `(y, x)`, relative to the centre, to input; bilinear, black outside."""
    stack = np.eye(3)
    stack[1:, 1:] = matrix
    offset = _CENTRE - stack @ [0, _CENTRE, _CENTRE]
    offset[0] = 0
    return ndimage.affine_transform(values, stack, offset, order=1, mode="grid-constant")


def _brightness(values: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Add half of the range to every pixel."""
    return values + 0.5


def _translate(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Translate by ±3 pixels along both axes."""
    dx, dy = rng.choice([-3, 3], (2, len(values)))
    return _move(values, dx, dy, mode="constant")


def _stripe(values: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Invert the left and right quarters."""
    outer = np.abs(np.arange(_SIDE) - _CENTRE) > _SIDE / 4
    return np.where(outer, 1 - values, values)


def _fog(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add plasma noise, three times as strong as the image, then scale back to the old range."""
    density = 3
    white = values.max(axis=(1, 2), keepdims=True)
    batches = np.array_split(np.arange(len(values)), max(len(values) // 8, 1))
    fog = np.concatenate([_plasma(len(batch), rng) for batch in batches])
    return (values + density * fog) * white / (white + density)


def _plasma(count: int, rng: np.random.Generator) -> np.ndarray:
    """The corner of a 256 × 256 diamond-square height map, `(count, 28, 28)`.

    The map is periodic and scaled to 0–1 as a whole. The displacement falls by a factor of 1.4² at
    each of the eight levels, as MNIST-C divides the amplitude by 1.4 and squares it.
    """
    heights = np.zeros((count, 1, 1), np.float32)
    for level in range(7):
        heights = _interleave(_quarters(heights, 1.4 ** (-2 * level), rng))
    finest = _quarters(heights, 1.4**-14, rng)
    low = np.min([part.min(axis=(1, 2)) for part in finest], axis=0)[:, None, None]
    high = np.max([part.max(axis=(1, 2)) for part in finest], axis=0)[:, None, None]
    corner = _interleave([part[:, : _SIDE // 2, : _SIDE // 2] for part in finest])
    return (corner - low) / (high - low)


def _quarters(
    corners: np.ndarray, amplitude: float, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Refine a map twofold: corners, beside, below and centres, each `(n, k, k)`."""

    def displaced(total: np.ndarray) -> np.ndarray:
        noise = rng.random(total.shape, dtype=np.float32)
        noise -= np.float32(0.5)
        noise *= np.float32(2 * amplitude)
        total *= np.float32(0.25)
        total += noise
        return total

    beside = corners + np.roll(corners, -1, axis=2)
    below = corners + np.roll(corners, -1, axis=1)
    centres = displaced(below + np.roll(below, -1, axis=2))
    beside += centres
    beside += np.roll(centres, 1, axis=1)
    below += centres
    below += np.roll(centres, 1, axis=2)
    return corners, displaced(beside), displaced(below), centres


def _interleave(quarters: Sequence[np.ndarray]) -> np.ndarray:
    """Join corners, beside, below and centres, each `(n, k, k)`, to a map `(n, 2k, 2k)`."""
    corners, beside, below, centres = quarters
    n, side, _ = corners.shape
    whole = np.empty((n, 2 * side, 2 * side), corners.dtype)
    whole[:, ::2, ::2], whole[:, ::2, 1::2] = corners, beside
    whole[:, 1::2, ::2], whole[:, 1::2, 1::2] = below, centres
    return whole


def _spatter(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark grey drops where smoothed noise exceeds a threshold."""
    liquid = ndimage.gaussian_filter(rng.normal(0.65, 0.3, values.shape), (0, 1, 1), mode="nearest")
    drops = (liquid > 0.65).astype(values.dtype)
    cover = ndimage.gaussian_filter(drops, (0, 1.5, 1.5), mode="nearest")
    cover[cover < 0.8] = 0
    return values * (1 - cover) + cover * 63 / 255


def _dotted_line(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a line from edge to edge, alternating two columns off and two on."""
    left, right = rng.integers(0, 27, (2, len(values)))
    line = _line(np.zeros(len(values)), left, np.full(len(values), 27.0), right)
    return values + line * (np.arange(_SIDE) // 2 % 2)


def _zigzag(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a zigzag from column 2 to 25 that ends up to five rows higher or lower."""
    rows = rng.integers(0, 27, len(values))
    x, y = _zigzag_corners(rows, rng.integers(-5, 5, len(values)))
    inked = values.copy()
    for i in range(len(x) - 1):
        inked += _line(x[i], y[i], x[i + 1], y[i + 1])
    return inked


def _zigzag_corners(start: np.ndarray, rise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows, each `(8, n)`: a corner every 4 px, 2 px off a line 23 px wide.

    As in MNIST-C, the last corner is near the end of the line but not on it.
    """
    length = np.hypot(23, rise)
    turns = np.tile([0, 2, 6, 10, 14, 18, 22], (len(length), 1))
    swings = np.tile([0, 2, -2, 2, -2, 2, -2], (len(length), 1))
    along = np.column_stack([turns, length]).T
    across = np.column_stack([swings, -1 / (length - 20)]).T
    cos, sin = 23 / length, rise / length
    return 2 + cos * along - sin * across, start + sin * along + cos * across


def _line(x0: np.ndarray, y0: np.ndarray, x1: np.ndarray, y1: np.ndarray) -> np.ndarray:
    """One line per image, from `(x0, y0)` to `(x1, y1)`, each `(n,)`.

    Ink is 1 + log(1 - d / 2.3) at a vertical distance of d px.
    """
    place = np.arange(_SIDE)
    x0, y0, x1, y1 = (end[:, None] for end in (x0, y0, x1, y1))
    middle = y0 + (y1 - y0) / (x1 - x0) * (place - x0)
    distance = np.abs(place[:, None] - middle[:, None])
    ink = 1 + np.log(1 - np.minimum(distance, 2.2) / 2.3)
    drawn = (place >= np.floor(x0)) & (place < np.ceil(x1))
    return np.maximum(ink, 0) * drawn[:, None]


def _canny_edges(values: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Canny edges (1986) with scikit-image's defaults: sigma 1, thresholds 0.1 and 0.2."""
    inside = ndimage.gaussian_filter(np.ones((_SIDE, _SIDE)), 1, mode="constant")
    smooth = ndimage.gaussian_filter(values, (0, 1, 1), mode="constant") / inside
    down, right = _sobel(smooth, 1), _sobel(smooth, 2)
    slope = np.hypot(down, right)
    weak = _ridges(slope, down, right, 0.1)
    within_an_image = np.zeros((3, 3, 3))
    within_an_image[1] = 1
    labels, count = ndimage.label(weak, within_an_image)
    kept = np.zeros(count + 1, bool)
    kept[labels[weak & (slope >= 0.2)]] = True
    return kept[labels]


def _sobel(values: np.ndarray, axis: int) -> np.ndarray:
    slope = ndimage.correlate1d(values, [-1, 0, 1], axis)
    return ndimage.correlate1d(slope, [1, 2, 1], 3 - axis)


def _ridges(slope: np.ndarray, down: np.ndarray, right: np.ndarray, threshold: float) -> np.ndarray:
    """Where the slope is at least `threshold` and a maximum along the gradient.

    Non-maximum suppression: the slope is compared with those on both sides, interpolated between
    the two pixels next to the gradient's direction. Border pixels are never ridges.
    """
    ridges = slope >= threshold
    ridges[:, [0, -1]] = ridges[:, :, [0, -1]] = False
    here = np.flatnonzero(ridges)
    y, x, slopes = down.ravel()[here], right.ravel()[here], slope.ravel()
    step_y, step_x = _SIDE * np.sign(y).astype(int), np.sign(x).astype(int)
    straight = np.where(np.abs(y) >= np.abs(x), step_y, step_x)
    diagonal = step_y + step_x
    share = np.minimum(np.abs(y), np.abs(x)) / np.maximum(np.abs(y), np.abs(x))
    for way in (-1, 1):
        nearby = slopes[here + way * diagonal] * share
        nearby += slopes[here + way * straight] * (1 - share)
        ridges.flat[here] &= nearby <= slopes[here]
    return ridges


_CORRUPTIONS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    function.__name__.removeprefix("_"): function
    for function in (
        _shot_noise, _impulse_noise, _glass_blur, _motion_blur, _shear, _scale, _rotate,
        _brightness, _translate, _stripe, _fog, _spatter, _dotted_line, _zigzag, _canny_edges,
    )
}  # fmt: skip
NAMES: tuple[str, ...] = tuple(_CORRUPTIONS)
