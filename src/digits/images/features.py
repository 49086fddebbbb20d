"""What can be measured on a glyph without a model: amount of ink, size, slant, thickness, noise."""

import numpy as np
import pandas as pd

_CHUNK = 5000


def measure(images: np.ndarray, ink_level: int) -> pd.DataFrame:
    """Measure every glyph.

    Args:
        images: uint8 `(n, h, w)`, white on black.
        ink_level: pixels from here on count as ink, 1–255.

    Returns:
        One row a glyph, float64, no NaN (0 where there is no ink): `intensity` (mean, 0–1), `ink`
        (share of ink pixels), `height` and `width` of the ink in px, `slant` (tangent of the
        angle, positive leans right), `thickness` (mean stroke width in px, twice area over
        outline), `noise` (high-frequency energy that strokes don't explain), `softness` (share of
        the ink that is neither black nor white).
    """
    chunks = [images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK)] or [images]
    parts = [_measure(np.asarray(chunk), ink_level) for chunk in chunks]
    return pd.concat(parts, ignore_index=True)


def _measure(images: np.ndarray, ink_level: int) -> pd.DataFrame:
    values = images.astype(np.float32) / 255
    mask = images >= ink_level
    area = mask.sum(axis=(1, 2))
    return pd.DataFrame(
        {
            "intensity": values.mean(axis=(1, 2)),
            "ink": mask.mean(axis=(1, 2)),
            "height": _extent(np.asarray(mask.any(axis=2))),
            "width": _extent(np.asarray(mask.any(axis=1))),
            "slant": _slant(values),
            "thickness": _thickness(mask, area),
            "noise": _noise(values),
            "softness": _softness(images),
        }
    ).astype(np.float64)


def _extent(occupied: np.ndarray) -> np.ndarray:
    """From the first to the last occupied place, in places; 0 where none is."""
    length = occupied.shape[1]
    first = occupied.argmax(axis=1)
    last = length - 1 - occupied[:, ::-1].argmax(axis=1)
    return np.where(occupied.any(axis=1), last - first + 1, 0)


def _slant(values: np.ndarray) -> np.ndarray:
    """Shear of the ink's second moments: -μ11 / μ02 (deslanting, LeCun et al. 1998)."""
    _n, height, width = values.shape
    # from the middle, so that squares stay small: float32 has seven digits
    y, x = (np.arange(side, dtype=np.float32) - (side - 1) / 2 for side in (height, width))
    total = np.maximum(values.sum(axis=(1, 2)), 1e-6)
    rows, columns = values.sum(axis=2), values.sum(axis=1)
    mean_y, mean_x = rows @ y / total, columns @ x / total
    covariance = (values @ x * y).sum(axis=1) / total - mean_y * mean_x
    variance = rows @ y**2 / total - mean_y**2
    return np.where(variance > 1e-3, -covariance / np.maximum(variance, 1e-3), 0)


def _thickness(mask: np.ndarray, area: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    outline = (padded[:, 1:] != padded[:, :-1]).sum(axis=(1, 2))
    outline = outline + (padded[:, :, 1:] != padded[:, :, :-1]).sum(axis=(1, 2))
    return 2 * area / np.maximum(outline, 1)


def _noise(values: np.ndarray) -> np.ndarray:
    """Mean absolute response to Immerkær's (1996) noise mask, which cancels edges and lines."""
    d = values[:, :, :-2] - 2 * values[:, :, 1:-1] + values[:, :, 2:]
    d = d[:, :-2] - 2 * d[:, 1:-1] + d[:, 2:]
    return np.abs(d).mean(axis=(1, 2))


def _softness(images: np.ndarray) -> np.ndarray:
    some = (images > 0).sum(axis=(1, 2))
    grey = ((images > 25) & (images < 230)).sum(axis=(1, 2))
    return grey / np.maximum(some, 1)
