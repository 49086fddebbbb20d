"""What can be measured on a glyph without a model. A new column is also tested for drift."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from digits.images.ink import stroke_width

_CHUNK = 5000
_FAINT, _BRIGHT = 16, 250  # grey levels below and above which a lit pixel is faint or bright

# Each column in plain words, and its unit. Readers see ink on paper, so white pixels are ink.
WORDS: Mapping[str, tuple[str, str]] = {
    "intensity": ("how dark the picture is", "mean of all pixels; 1 is all ink"),
    "ink": ("how much is covered by ink", "share of all pixels"),
    "height": ("height of the digit", "px"),
    "width": ("width of the digit", "px"),
    "slant": ("slant of the writing", "tangent; above 0 leans right"),
    "thickness": ("width of the strokes", "px"),
    "noise": ("grain and specks", "mean response of a noise filter"),
    "softness": ("blurred, grey strokes", "share of inked pixels"),
    "length": ("longest side, with all smudges", "px"),
    "right": ("left or right of the middle", "px to the right"),
    "down": ("above or below the middle", "px downwards"),
    "faint": ("faint traces around the strokes", "share of all pixels"),
    "bright": ("strokes in full ink", "share of inked pixels"),
    "sharpness": ("hard edges", "squared step between neighbours"),
}


def measure(images: np.ndarray, ink_level: int) -> pd.DataFrame:
    """Measure every glyph.

    Args:
        images: uint8 `(n, h, w)`, white on black.
        ink_level: pixels of at least this value count as ink, 1–255.

    Returns:
        One row per glyph, float64, no NaN (0 where there is no ink): `intensity` (mean, 0–1), `ink`
        (share of ink pixels), `height` and `width` of the ink in px, `slant` (tangent of the
        angle, positive leans right), `thickness` (mean stroke width in px), `noise`
        (high-frequency energy that strokes don't explain), `softness` (share of non-black pixels
        that are grey), `length` (longer side of all that isn't black, in px; 20 in MNIST), `right`
        and `down` (the ink's centre of mass from the image's centre, in px), `faint` (share of the
        pixels that are nearly black, but not black), `bright` (share of the non-black pixels that
        are nearly white), `sharpness` (mean squared step between neighbours, by the mean square).
    """
    starts = range(0, max(len(images), 1), _CHUNK)  # in chunks, to save memory
    parts = [_measure(np.asarray(images[i : i + _CHUNK]), ink_level) for i in starts]
    return pd.concat(parts, ignore_index=True)


def _measure(images: np.ndarray, ink_level: int) -> pd.DataFrame:
    values = images.astype(np.float32) / 255
    mask = images >= ink_level
    return pd.DataFrame(
        {
            "intensity": values.mean(axis=(1, 2)),
            "ink": mask.mean(axis=(1, 2)),
            "height": _extent(np.asarray(mask.any(axis=2))),
            "width": _extent(np.asarray(mask.any(axis=1))),
            "slant": _slant(values),
            "thickness": stroke_width(mask),
            "noise": _noise(values),
            "softness": _softness(images),
            "length": _length(images),
            "right": _centre(images.sum(axis=1, dtype=np.float64)),
            "down": _centre(images.sum(axis=2, dtype=np.float64)),
            "faint": ((images > 0) & (images < _FAINT)).mean(axis=(1, 2)),
            "bright": _brightness(images),
            "sharpness": _sharpness(images),
        }
    ).astype(np.float64)


def _extent(occupied: np.ndarray) -> np.ndarray:
    """Length from the first to the last occupied place of each row; 0 where none is."""
    length = occupied.shape[1]
    first = occupied.argmax(axis=1)
    last = length - 1 - occupied[:, ::-1].argmax(axis=1)
    return np.where(occupied.any(axis=1), last - first + 1, 0)


def _slant(values: np.ndarray) -> np.ndarray:
    """Shear of the ink's second moments: -μ11 / μ02 (deslanting, LeCun et al. 1998)."""
    _n, height, width = values.shape
    # relative to the centre: float32 has only seven digits, so squares must stay small
    y, x = (np.arange(side, dtype=np.float32) - (side - 1) / 2 for side in (height, width))
    total = np.maximum(values.sum(axis=(1, 2)), 1e-6)
    rows, columns = values.sum(axis=2), values.sum(axis=1)
    mean_y, mean_x = rows @ y / total, columns @ x / total
    covariance = (values @ x * y).sum(axis=1) / total - mean_y * mean_x
    variance = rows @ y**2 / total - mean_y**2
    return np.where(variance > 1e-3, -covariance / np.maximum(variance, 1e-3), 0)


def _noise(values: np.ndarray) -> np.ndarray:
    """Mean absolute response to Immerkær's (1996) noise mask, which cancels edges and lines."""
    d = values[:, :, :-2] - 2 * values[:, :, 1:-1] + values[:, :, 2:]
    d = d[:, :-2] - 2 * d[:, 1:-1] + d[:, 2:]
    return np.abs(d).mean(axis=(1, 2))


def _softness(images: np.ndarray) -> np.ndarray:
    lit = (images > 0).sum(axis=(1, 2))
    grey = ((images > 25) & (images < 230)).sum(axis=(1, 2))
    return grey / np.maximum(lit, 1)


def _length(images: np.ndarray) -> np.ndarray:
    """The longer side of the box around all pixels that are not black, in px."""
    lit = images > 0
    return np.maximum(_extent(np.asarray(lit.any(axis=2))), _extent(np.asarray(lit.any(axis=1))))


def _centre(profiles: np.ndarray) -> np.ndarray:
    """Centre of mass of each row of whole numbers, in px from the middle; 0 without any mass."""
    length = profiles.shape[1]
    places = np.arange(length) - (length - 1) / 2
    return profiles @ places / np.maximum(profiles.sum(axis=1), 1)


def _brightness(images: np.ndarray) -> np.ndarray:
    lit = (images > 0).sum(axis=(1, 2))
    return (images > _BRIGHT).sum(axis=(1, 2)) / np.maximum(lit, 1)


def _sharpness(images: np.ndarray) -> np.ndarray:
    """Energy of the steps between neighbouring pixels, relative to the image's own energy."""
    levels = images.astype(np.int32)
    right, down = np.diff(levels, axis=2), np.diff(levels, axis=1)
    steps = (right**2).sum(axis=(1, 2)) + (down**2).sum(axis=(1, 2))
    return steps / np.maximum((levels**2).sum(axis=(1, 2)), 1)
