"""The fifteen corruptions of MNIST-C (Mu & Gilmer 2019, arXiv 1906.02337), made anew from formulas.

Strengths are those of the published data set: the defaults of its program, corruptions.py in
github.com/google-research/mnist-c, with scikit-image as it was in 2019. Given the same random
draws, pixels agree with it to one grey level. The draws are this project's own: corrupted images
are like those of MNIST-C, not the same ones. Random affine distortion for training is in
augmentation.

Inside, images are float `(n, 28, 28)`, 0–1.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from scipy import ndimage

from digits.core.errors import DataError, ParameterError

_SIDE = 28
_CENTRE = (_SIDE - 1) / 2
_CHUNK = 250


def corrupt(images: np.ndarray, name: str, seed: int) -> np.ndarray:
    """Corrupt each image in its own random way.

    Args:
        images: uint8 `(n, 28, 28)`, white on black; left as they are.
        name: one of NAMES.
        seed: not negative; the same images, name and seed give the same bytes.

    Returns:
        uint8 `(n, 28, 28)`.

    Raises:
        ParameterError: there is no such corruption.
        DataError: images of another shape or dtype.
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
        # in MNIST-C's precision: it decides where a value ends in .5
        corrupted[chunk] = np.rint(values.astype(np.float32))
    return corrupted


def _shot_noise(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photon counts, 3 of them where an image is white (Hendrycks & Dietterich 2019)."""
    return rng.poisson(values * 3) / 3


def _impulse_noise(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Salt and pepper, half each, on 17 % of the pixels."""
    draws = rng.random(values.shape)
    return np.where(draws < 0.17, draws < 0.085, values)


def _glass_blur(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, swap pixels with neighbours above and to the left, blur again.

    MNIST-C takes the columns for colour channels, so it blurs only down the columns. Twice over,
    from the lower right, a pixel is left alone with probability 5/8 and swapped with one of its
    three neighbours otherwise (half of them move by -1 or 0 along each axis).
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
    """Half a Gaussian along a line within 45° of the horizontal: radius 10, sigma 3.

    As ImageMagick's MotionBlurImage: 2 · radius + 1 whole-pixel steps to one side, edges repeated.
    Its PNG writer drops the fraction that is rounded here.
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
    """Each image as seen from a point `dx`, `dy` pixels off, at most 20 away."""
    margin = 20
    padded = np.pad(values, ((0, 0), (margin, margin), (margin, margin)), mode=mode)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_SIDE, _SIDE), axis=(1, 2))
    return windows[np.arange(len(values)), margin + dy, margin + dx]


def _shear(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lean the vertical axis by 0.4 rad, its length kept, either way."""
    sin, cos = np.sin(0.4), np.cos(0.4)
    return _warp_either_way(values, rng, lambda way: np.array([[cos, 0], [-way * sin, 1]]))


def _scale(values: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Shrink to 0.7 of the size."""
    return _warp(values, np.eye(2) / 0.7)


def _rotate(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn by 0.4 rad, either way."""
    sin, cos = np.sin(0.4), np.cos(0.4)
    return _warp_either_way(
        values, rng, lambda way: np.array([[cos, way * sin], [-way * sin, cos]])
    )


def _warp_either_way(
    values: np.ndarray, rng: np.random.Generator, matrix: Callable[[int], np.ndarray]
) -> np.ndarray:
    warped = np.empty_like(values)
    ways = rng.choice([-1, 1], len(values))
    for way in (-1, 1):
        warped[ways == way] = _warp(values[ways == way], matrix(way))
    return warped


def _warp(values: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Map output `(y, x)`, measured from the centre, to input; bilinear, black outside."""
    stack = np.eye(3)
    stack[1:, 1:] = matrix
    offset = _CENTRE - stack @ [0, _CENTRE, _CENTRE]
    offset[0] = 0
    return ndimage.affine_transform(values, stack, offset, order=1, mode="grid-constant")


def _brightness(values: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Half of the range added, everywhere."""
    return values + 0.5


def _translate(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Three pixels along both axes, either way."""
    dx, dy = rng.choice([-3, 3], (2, len(values)))
    return _move(values, dx, dy, mode="constant")


def _stripe(values: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Invert the outer quarters, left and right."""
    outer = np.abs(np.arange(_SIDE) - _CENTRE) > _SIDE / 4
    return np.where(outer, 1 - values, values)


def _fog(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A corner of plasma, three times as strong as the image, added; then the old range again."""
    density = 3
    white = values.max(axis=(1, 2), keepdims=True)
    batches = np.array_split(np.arange(len(values)), max(len(values) // 8, 1))
    fog = np.concatenate([_plasma(len(batch), rng) for batch in batches])
    return (values + density * fog) * white / (white + density)


def _plasma(count: int, rng: np.random.Generator) -> np.ndarray:
    """The corner of a 256 × 256 diamond-square height map, `(count, 28, 28)`.

    The map wraps round, its heights from 0 to 1 over the whole. The displacement falls by 1.4² at
    each of the eight levels: MNIST-C divides the amplitude by 1.4, and uses it squared.
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
    """The places of a map twice as fine: corners, beside, below and centres, each `(n, k, k)`."""

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
    """Corners, beside, below and centres, each `(n, k, k)`, to one map `(n, 2k, 2k)`."""
    corners, beside, below, centres = quarters
    n, side, _ = corners.shape
    whole = np.empty((n, 2 * side, 2 * side), corners.dtype)
    whole[:, ::2, ::2], whole[:, ::2, 1::2] = corners, beside
    whole[:, 1::2, ::2], whole[:, 1::2, 1::2] = below, centres
    return whole


def _spatter(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark drops: smooth noise above a threshold, softened, where grey replaces the image."""
    liquid = ndimage.gaussian_filter(rng.normal(0.65, 0.3, values.shape), (0, 1, 1), mode="nearest")
    drops = (liquid > 0.65).astype(values.dtype)
    cover = ndimage.gaussian_filter(drops, (0, 1.5, 1.5), mode="nearest")
    cover[cover < 0.8] = 0
    return values * (1 - cover) + cover * 63 / 255


def _dotted_line(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A line from edge to edge, two columns off and two on."""
    left, right = rng.integers(0, 27, (2, len(values)))
    line = _line(np.zeros(len(values)), left, np.full(len(values), 27.0), right)
    return values + line * (np.arange(_SIDE) // 2 % 2)


def _zigzag(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A zigzag from column 2 to 25 that ends up to five rows higher or lower."""
    rows = rng.integers(0, 27, len(values))
    x, y = _zigzag_corners(rows, rng.integers(-5, 5, len(values)))
    inked = values.copy()
    for i in range(len(x) - 1):
        inked += _line(x[i], y[i], x[i + 1], y[i + 1])
    return inked


def _zigzag_corners(start: np.ndarray, rise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows, each `(8, n)`: turns every 4 px, 2 px off a line 23 px wide.

    The last corner lies where MNIST-C puts it, near the line's end but not on it.
    """
    length = np.hypot(23, rise)
    turns = np.tile([0, 2, 6, 10, 14, 18, 22], (len(length), 1))
    swings = np.tile([0, 2, -2, 2, -2, 2, -2], (len(length), 1))
    along = np.column_stack([turns, length]).T
    across = np.column_stack([swings, -1 / (length - 20)]).T
    cos, sin = 23 / length, rise / length
    return 2 + cos * along - sin * across, start + sin * along + cos * across


def _line(x0: np.ndarray, y0: np.ndarray, x1: np.ndarray, y1: np.ndarray) -> np.ndarray:
    """A line in each of n images, between columns `x0` and `x1`, each `(n,)`.

    Ink is 1 + log(1 - d / 2.3), where d is the vertical distance in px.
    """
    place = np.arange(_SIDE)
    x0, y0, x1, y1 = (end[:, None] for end in (x0, y0, x1, y1))
    middle = y0 + (y1 - y0) / (x1 - x0) * (place - x0)
    distance = np.abs(place[:, None] - middle[:, None])
    ink = 1 + np.log(1 - np.minimum(distance, 2.2) / 2.3)
    drawn = (place >= np.floor(x0)) & (place < np.ceil(x1))
    return np.maximum(ink, 0) * drawn[:, None]


def _canny_edges(values: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Canny's (1986) edges with scikit-image's defaults: sigma 1, thresholds 0.1 and 0.2."""
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
    """Where the slope is at least `threshold` and at its largest along its own direction.

    It is compared with the slopes before and behind, interpolated between the two neighbours that
    the direction passes. Pixels on the border are no ridge.
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
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "glass_blur": _glass_blur,
    "motion_blur": _motion_blur,
    "shear": _shear,
    "scale": _scale,
    "rotate": _rotate,
    "brightness": _brightness,
    "translate": _translate,
    "stripe": _stripe,
    "fog": _fog,
    "spatter": _spatter,
    "dotted_line": _dotted_line,
    "zigzag": _zigzag,
    "canny_edges": _canny_edges,
}
NAMES: tuple[str, ...] = tuple(_CORRUPTIONS)
