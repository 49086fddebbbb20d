"""A witness for labels: reads digits cheaply, without the network that the labels are to train.

Features are the strengths of brightness gradients in 8 directions and 7 × 7 overlapping cells; the
classifier is linear discriminant analysis. It reads 98 % of MNIST's test set, fits in a second,
and has no seed. Sums of features and of their products suffice to fit it, so leaving out a part
costs a subtraction: scikit-learn's estimator, which must see all images again, takes ten times as
long. Everything is computed in float64 on one thread, so that decisions do not depend on the
machine: they could only differ where two scores agree to ten digits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

_SIDE, _CELLS, _DIRECTIONS = 28, 7, 8
_CELL = (1, 3, 5, 7, 7, 5, 3, 1)  # weights of a cell's rows and columns: a tent, half overlapping
_CHUNK = 250  # images whose gradients stay in the processor's cache
_FOLDS = 5
_SIMILAR, _ROWS = 10, 100
_DIGITS = 10


@dataclass(frozen=True)
class Sums:
    """What fits a witness: `counts` `(10,)`, `totals` `(10, k)` and `products` `(k, k)`."""

    counts: np.ndarray
    totals: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, labels: np.ndarray) -> "Sums":
        """Sum features `(n, k)` by their labels, int `(n,)`, 0–9."""
        values = features.astype(np.float64)
        members = (labels[:, None] == np.arange(_DIGITS)).astype(np.float64)
        return cls(members.sum(axis=0), members.T @ values, values.T @ values)

    def without(self, part: "Sums") -> "Sums":
        """The sums over the rest, where `part` is left out."""
        return Sums(
            self.counts - part.counts, self.totals - part.totals, self.products - part.products
        )


@dataclass(frozen=True)
class Witness:
    """Linear discriminants: `weights` `(10, k)` and `offsets` `(10,)`, −∞ for a digit not seen."""

    weights: np.ndarray
    offsets: np.ndarray

    @classmethod
    def fit(cls, sums: Sums) -> "Witness":
        """Linear discriminant analysis; the covariance is shrunk by OAS (Chen et al. 2010)."""
        n, k = sums.counts.sum(), sums.totals.shape[1]
        means = sums.totals / np.maximum(sums.counts, 1)[:, None]
        within = (sums.products - means.T @ (sums.counts[:, None] * means)) / n
        trace, square = np.trace(within), (within**2).sum()
        spread = (n + 1 - 2 / k) * (square - trace**2 / k)
        shrinkage = min(1.0, ((1 - 2 / k) * square + trace**2) / spread) if spread > 0 else 1.0
        floor = max(trace / k, 1e-9)  # constant images have no covariance
        covariance = (1 - shrinkage) * within + shrinkage * floor * np.eye(k)
        weights = np.linalg.solve(covariance, means.T).T
        with np.errstate(divide="ignore"):
            offsets = np.log(sums.counts / n) - (weights * means).sum(axis=1) / 2
        return cls(weights, offsets)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Logarithms of likelihoods up to a constant, float64 `(n, 10)`, for features `(n, k)`."""
        with one_thread():
            return features.astype(np.float64) @ self.weights.T + self.offsets

    def read(self, features: np.ndarray) -> np.ndarray:
        """The likeliest digit, int `(n,)`, for features `(n, k)`."""
        return self.scores(features).argmax(axis=1)

    def look(self, images: np.ndarray) -> np.ndarray:
        """The likeliest digit, int `(n,)`, of images uint8 `(n, 28, 28)`."""
        return self.read(describe(images))


@dataclass(frozen=True)
class Testimony:
    """What a witness says about labels.

    Attributes:
        read: the digit that it reads, int `(n,)`.
        trust: log odds of the label against the likeliest other digit.
        wrong: whether the label is confidently wrong, bool `(n,)`.
    """

    read: np.ndarray
    trust: np.ndarray
    wrong: np.ndarray

    @classmethod
    def about(cls, scores: np.ndarray, labels: np.ndarray) -> "Testimony":
        """Confident learning (Northcutt et al. 2021) on scores `(n, 10)` and labels `(n,)`, 0–9.

        An image counts as a digit if that digit's probability is at least the mean one of the
        images with this label; of several, as the likeliest. A label is wrong if the image counts
        as another digit. (cleanlab does the same, with many more packages to install.)
        """
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        rows = np.arange(len(labels))
        own = probabilities[rows, labels]
        counts = np.bincount(labels, minlength=_DIGITS)
        sums = np.bincount(labels, weights=own, minlength=_DIGITS)
        thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
        confident = np.where(probabilities >= thresholds, probabilities, -1)
        counts_as = confident.argmax(axis=1)
        wrong = (confident.max(axis=1) > 0) & (counts_as != labels)
        others = scores.copy()
        others[rows, labels] = -np.inf
        return cls(scores.argmax(axis=1), scores[rows, labels] - others.max(axis=1), wrong)


def describe(images: np.ndarray) -> np.ndarray:
    """The features of images, uint8 `(n, 28, 28)`: float32 `(n, 392)`.

    A gradient is split between the two of 8 directions on its sides, as along an axis and a
    diagonal. Up to the square root, which all processors round alike, the sums are whole numbers.
    """
    features = np.empty((len(images), _DIRECTIONS * _CELLS**2), dtype=np.float32)
    with one_thread():
        for start in range(0, len(images), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            features[chunk] = _describe(np.asarray(images[chunk]))
    return features


def fit(features: np.ndarray, labels: np.ndarray) -> Witness:
    """A witness that has seen features `(n, 392)` with labels `(n,)`, 0–9."""
    with one_thread():
        return Witness.fit(Sums.of(features, labels))


def cross_read(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scores `(n, 10)`, each by a witness that has not seen the image's neighbours.

    Neighbours in MNIST share their writer, so the folds are runs of neighbours; of each digit, as
    images may be sorted by it.
    """
    scores = np.empty((len(features), _DIGITS))
    with one_thread():
        everything = Sums.of(features, labels)
        for fold in _folds(labels):
            rest = everything.without(Sums.of(features[fold], labels[fold]))
            scores[fold] = Witness.fit(rest).scores(features[fold])
    return scores


def support(features: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of the ten images most similar to each of `rows`, how many have its label: int `(k,)`."""
    values = features.astype(np.float64)
    squares = (values**2).sum(axis=1)
    found = np.zeros(len(rows), dtype=np.int64)
    with one_thread():
        for start in range(0, len(rows), _ROWS):
            chunk = rows[start : start + _ROWS]
            distances = squares - 2 * values[chunk] @ values.T
            distances[np.arange(len(chunk)), chunk] = np.inf  # not itself
            nearest = np.argpartition(distances, min(_SIMILAR, len(labels) - 1), axis=1)
            similar = labels[nearest[:, :_SIMILAR]]
            found[start : start + _ROWS] = (similar == labels[chunk, None]).sum(axis=1)
    return found


def _folds(labels: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each fold."""
    runs = [np.array_split(np.flatnonzero(labels == d), _FOLDS) for d in range(_DIGITS)]
    folds = [np.sort(np.concatenate(parts)) for parts in zip(*runs, strict=True)]
    return [fold for fold in folds if len(fold)]


def _describe(images: np.ndarray) -> np.ndarray:
    n = len(images)
    padded = np.pad(images.astype(np.float32), ((0, 0), (1, 1), (1, 1)))
    x = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    y = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    diagonal = np.minimum(np.abs(x), np.abs(y))
    across, down = np.abs(x) - diagonal, np.abs(y) - diagonal
    right, left, lower, upper = x > 0, x < 0, y > 0, y < 0
    planes = [
        *(across * right, across * left, down * lower, down * upper),
        *(diagonal * (right & lower), diagonal * (left & lower)),
        *(diagonal * (left & upper), diagonal * (right & upper)),
    ]
    cells = _cells()
    columns = np.stack(planes).reshape(-1, _SIDE) @ cells
    columns = columns.reshape(_DIRECTIONS, n, _SIDE, _CELLS).transpose(1, 0, 3, 2)
    return np.sqrt(columns.reshape(-1, _SIDE) @ cells).reshape(n, -1)


def _cells() -> np.ndarray:
    """Weights of 28 rows in 7 cells, float32 `(28, 7)`."""
    weights = np.zeros((_SIDE + 2 * len(_CELL), _CELLS), dtype=np.float32)
    step = _SIDE // _CELLS
    for cell in range(_CELLS):
        start = len(_CELL) + cell * step + (step - len(_CELL)) // 2
        weights[start : start + len(_CELL), cell] = _CELL
    return weights[len(_CELL) : -len(_CELL)]


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrix products on one thread: as fast for these shapes, and the same sums on any machine."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
