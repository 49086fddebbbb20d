"""Finds images that are another one shifted by a few pixels, recompressed or slightly noisy.

The low frequencies of an image's spectrum, without phase, do not change when it is shifted, and
hardly by noise; a k-d tree of them finds candidates. Each candidate is then moved onto its
partner's centre of mass and compared with it pixel by pixel. Straight strokes must be more alike
than other shapes: of the pairs that are only alike, almost all are ones.
"""

from dataclasses import dataclass

import numpy as np

from digits.validation.witness import one_thread

_FREQUENCIES = 5  # below this one, in either direction
_COMPONENTS = 12  # principal components of the spectrum: a k-d tree needs few dimensions
_RADIUS = 0.06  # between spectra of norm 1; noise of σ = 10 grey levels moves one by 0.05 (p90)
_NEIGHBOURS = 6  # the image itself and its five nearest, so that equal images can't explode
_MAX_DIFFERENCE = 0.15  # of the norm: noise of σ = 10 gives 0.09, JPEG of quality 50 0.11
_PER_ROUNDNESS = 0.3  # largest difference of a stroke, in units of its width as a share of length
_CHUNK = 1000


@dataclass(frozen=True)
class Pairs:
    """Pairs of near-copies: row numbers `first` < `second`, int `(k,)`, the closest pair first.

    `difference` is the norm of what differs, as a share of the darker image's norm, 0–0.15.
    """

    first: np.ndarray
    second: np.ndarray
    difference: np.ndarray


def find(images: np.ndarray) -> Pairs:
    """The pairs among distinct images, uint8 `(n, 28, 28)`; an image finds at most six others."""
    from scipy.spatial import cKDTree
    from sklearn.decomposition import PCA

    lit = np.flatnonzero(images.any(axis=(1, 2)))
    if len(lit) <= _COMPONENTS:
        none = np.zeros(0, dtype=np.int64)
        return Pairs(none, none, np.zeros(0))
    with one_thread():
        spectra = np.concatenate([_spectra(images[rows]) for rows in _chunks(lit)])
        points = PCA(_COMPONENTS, svd_solver="covariance_eigh").fit_transform(spectra)
    tree = cKDTree(points)
    neighbours = min(_NEIGHBOURS, len(lit))
    found = tree.query(points, k=neighbours, distance_upper_bound=_RADIUS, workers=-1)[1]
    rows, columns = np.nonzero(found < len(lit))
    pairs = np.sort(np.column_stack([rows, found[rows, columns]]), axis=1)
    first, second = lit[np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)].T
    difference = _differences(images, first, second)
    shape = np.minimum(_roundness(images, first), _roundness(images, second))
    near = np.flatnonzero(difference <= np.minimum(_MAX_DIFFERENCE, _PER_ROUNDNESS * shape))
    order = near[np.lexsort((second[near], first[near], difference[near].round(6)))]
    return Pairs(first[order], second[order], difference[order])


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]


def _spectra(images: np.ndarray) -> np.ndarray:
    """Magnitudes of the low frequencies without the mean, float64 `(n, 40)` of norm 1."""
    transformed = np.fft.rfft2(images.astype(np.float64))
    half = np.abs(transformed[:, :, :_FREQUENCIES])
    low = np.concatenate([half[:, :_FREQUENCIES], half[:, 1 - _FREQUENCIES :]], axis=1)
    values = low.reshape(len(images), -1)[:, 1:]
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)


def _differences(images: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How much each pair differs when one is moved onto the other, float64 `(k,)`."""
    pairs = zip(_chunks(first), _chunks(second), strict=True)
    parts = [_difference(images[one], images[other]) for one, other in pairs]
    return np.concatenate([np.zeros(0), *parts])


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(np.int64), other.astype(np.int64)
    moves = np.rint(_centres(one) - _centres(other)).astype(np.int64)
    pixels = np.arange(one.shape[1])
    rows = (pixels - moves[:, :1])[:, :, None] % len(pixels)
    columns = (pixels - moves[:, 1:])[:, None, :] % len(pixels)
    moved = other[np.arange(len(other))[:, None, None], rows, columns]
    apart = ((one - moved) ** 2).sum(axis=(1, 2))
    weaker = np.minimum((one**2).sum(axis=(1, 2)), (other**2).sum(axis=(1, 2)))
    return np.sqrt(apart / weaker)


def _centres(images: np.ndarray) -> np.ndarray:
    """Row and column of each image's centre of mass, float64 `(n, 2)`."""
    pixels = np.arange(images.shape[1])
    moments = [images.sum(axis=2) @ pixels, images.sum(axis=1) @ pixels]
    return np.column_stack(moments) / images.sum(axis=(1, 2))[:, None]


def _roundness(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Width of the ink as a share of its length, 0–1: standard deviations along its main axes."""
    parts = [_round(images[chunk].astype(np.int64)) for chunk in _chunks(rows)]
    return np.concatenate([np.zeros(0), *parts])


def _round(images: np.ndarray) -> np.ndarray:
    mass, pixels = images.sum(axis=(1, 2)), np.arange(images.shape[1])
    (y, x), down, across = _centres(images).T, images.sum(axis=2), images.sum(axis=1)
    yy = down @ pixels**2 / mass - y**2
    xx = across @ pixels**2 / mass - x**2
    xy = (images @ pixels) @ pixels / mass - x * y
    half, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return np.sqrt(np.maximum(half - spread, 0) / np.maximum(half + spread, 1e-9))
