"""Has handwriting changed, and what? A calibrated two-sample test for a batch of any size.

Fixed functions, fitted on training images only, reduce an image to a row of features; each feature
is cut into bins at fixed edges. If nothing has changed, rows of reference and batch are
exchangeable, so a permutation test is exact for any number of images, one included.

Of each edge, the counts of rows above it in batch and reference make a 2 × 2 table, whose
log-likelihood ratio is small unless the shares differ. A feature's statistic is the largest ratio
over its edges (Berk & Jones 1979), which sees a small shift of all images as well as few images far
out; a view's is the largest of its features. Views see different things, and are combined by the
harmonic mean of their p-values (Wilson 2019). The same permutations calibrate all of this (Westfall
& Young 1993), so multiple testing is accounted for. Everything is counted in whole numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import wasserstein_distance

from digits.core.errors import DataError
from digits.images import features
from digits.validation.witness import one_thread

MAX_ROWS = 10_000  # of a batch; callers with more draw a sample, as more hardly add power
VIEWS = ("picture", "network", "digits", "strangest")
PERMUTATIONS = 999

_DIGITS = 10
_COMPONENTS = 10  # principal directions of the embedding
_SHRINKAGE = 0.1  # of the embedding's covariance towards a multiple of the identity
_SURPRISING = np.log(100)  # a feature adds to an image's strangeness from this surprise on
_TAILS = (0.0003, 0.003, 0.02, 0.1, 0.25)  # shares of training images beyond an edge
_BEYOND = (0.1, 0.5)  # edges outside the training images, in units of their range
_STRANGEST = 20  # images that a result names
_BLOCKS = 64  # of a batch, at least; larger ones are permuted in blocks of several rows
_DECIMALS = 6
_TIE = 9  # decimals of a statistic; sums of logarithms differ by CPU in the last of 15


@dataclass(frozen=True)
class Finding:
    """What a view or a feature shows.

    `p_value` accounts for all other features and views. `distance` says how large the difference
    is: of a feature, Wasserstein in standard deviations of the reference (in the feature's own
    unit, if that is constant); of the share of a digit, the difference; of a view, the largest of
    its features, but of `digits` the total variation distance of the shares.
    """

    view: str
    p_value: float
    distance: float


@dataclass(frozen=True)
class ChangeResult:
    """Has it changed?

    Attributes:
        p_value: probability that a batch like the reference differs this much.
        n: images tested.
        views: a finding for each of VIEWS.
        features: a finding for each feature, the most significant first.
        strangest: rows of the batch, the strangest images first, with the share of the reference
            that is at least as strange; at most 20.
    """

    p_value: float
    n: int
    views: Mapping[str, Finding]
    features: Mapping[str, Finding]
    strangest: Mapping[int, float]


@dataclass(frozen=True)
class Rows:
    """Images as the test sees them.

    Attributes:
        values: of each feature, float64 `(n, f)`; of `digit 0` and so on 1 or 0.
        above: whether a value is above an edge, bool `(n, e)`, the edges of all features in turn.
    """

    values: np.ndarray
    above: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> "Rows":
        """Some of the rows."""
        return Rows(self.values[rows], self.above[rows])


@dataclass(frozen=True)
class Scores:
    """Fixed functions of an image, fitted on training images.

    Attributes:
        picture: sorted values of each feature of the picture, `(n, p)`.
        names: of these features.
        mean, directions: of the embedding `(k,)`; its principal directions `(k, 10)`.
        centres, precision: of the embedding of each digit `(10, k)`; of what is left `(k, k)`.
        edges: of bins of each numeric feature, ascending, `(e, f)`.
    """

    picture: np.ndarray
    names: tuple[str, ...]
    mean: np.ndarray
    directions: np.ndarray
    centres: np.ndarray
    precision: np.ndarray
    edges: np.ndarray

    @classmethod
    def fit(cls, table: pd.DataFrame) -> "Scores":
        """Fit on `detector.describe` of at least some hundreds of training images."""
        names = tuple(features.measure(np.empty((0, 28, 28), np.uint8), 1).columns)
        embedding = _embedding(table)
        _check(table, names, embedding.shape[1])
        read = table["digit"].to_numpy(int)
        with one_thread():
            mean = embedding.mean(axis=0)
            _, vectors = np.linalg.eigh((embedding - mean).T @ (embedding - mean))
            directions = vectors[:, ::-1][:, :_COMPONENTS]
            largest = np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])
            directions = directions * np.sign(directions[largest])  # a sign has no meaning
            members = (read[:, None] == np.arange(_DIGITS)).astype(float)
            centres = members.T @ embedding / np.maximum(members.sum(axis=0), 1)[:, None]
            rest = embedding - centres[read]
            covariance = rest.T @ rest / len(rest)
            scale = max(np.trace(covariance) / len(covariance), 1e-9)
            shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * scale * np.eye(len(covariance))
            precision = np.linalg.inv(shrunk)
        picture = np.sort(table[list(names)].to_numpy(float), axis=0)
        raw = cls(picture, names, mean, directions, centres, precision, np.empty((0, 0)))
        return replace(raw, edges=_edges(raw.values(table)))

    @property
    def views(self) -> dict[str, str]:
        """The view of each feature, in the order of the columns of `Rows`."""
        network = ["doubt", *(f"embedding {i + 1}" for i in range(self.directions.shape[1]))]
        return {
            **dict.fromkeys(self.names, "picture"),
            **dict.fromkeys(network, "network"),
            "strange picture": "strangest",
            "strange to the network": "strangest",
            **{f"digit {digit}": "digits" for digit in range(_DIGITS)},
        }

    def rows(self, table: pd.DataFrame) -> Rows:
        """Describe images to the test.

        Args:
            table: `detector.describe` of images.

        Raises:
            DataError: a column is missing, or a value is not finite.
        """
        _check(table, self.names, len(self.mean))
        values = self.values(table)
        members = table["digit"].to_numpy(int)[:, None] == np.arange(_DIGITS)
        above = (values[:, :, None] > self.edges.T).reshape(len(values), self.edges.size)
        return Rows(np.hstack([values, members]), np.hstack([above, members]))

    def values(self, table: pd.DataFrame) -> np.ndarray:
        """The numeric features, float64 `(n, f)`."""
        picture = table[list(self.names)].to_numpy(float)
        embedding, read = _embedding(table), table["digit"].to_numpy(int)
        with one_thread():
            projected = (embedding - self.mean) @ self.directions
            rest = embedding - self.centres[read]
            far = ((rest @ self.precision) * rest).sum(axis=1)
        return np.column_stack(
            [picture, table["doubt"].to_numpy(float), projected, self._surprise(picture), far]
        )

    def read(self, rows: Rows) -> np.ndarray:
        """The digit that is read in each image, int `(n,)`."""
        digits = [place for place, view in enumerate(self.views.values()) if view == "digits"]
        return np.argmax(rows.values[:, digits], axis=1)

    def _surprise(self, picture: np.ndarray) -> np.ndarray:
        """How surprising an image is: −log of the share of training images as far out.

        Summed over features where this is large. Outside of all training images the distance adds.
        """
        total = np.zeros(len(picture))
        n = len(self.picture)
        for known, column in zip(self.picture.T, picture.T, strict=True):
            below = np.searchsorted(known, column, side="right")
            above = n - np.searchsorted(known, column, side="left")
            share = np.clip(2 * np.minimum(below, above), 1, n) / n
            outside = np.maximum(known[0] - column, column - known[-1]) / _range(known)
            surprise = -np.log(share) + np.log1p(10 * np.maximum(outside, 0))
            total += np.maximum(surprise - _SURPRISING, 0)
        return total.round(_DECIMALS)  # the logarithm differs by CPU, by 1e-16


@dataclass(frozen=True)
class ChangeTest:
    """Compares batches with a reference that neither the network nor `scores` was fitted on."""

    scores: Scores
    reference: Rows
    seed: int
    permutations: int = PERMUTATIONS

    def check(self, batch: Rows) -> ChangeResult:
        """Test whether a batch, of at most about MAX_ROWS rows, is like the reference.

        Raises:
            DataError: the batch is empty.
        """
        by_feature, by_view = self._statistics(batch)
        p_views, p_value = _combine(by_view)
        smallest = p_views.min(axis=1)
        views, distances = self._views(), self._distances(batch)
        p_features = np.empty(len(views))
        for view, statistic in zip(VIEWS, by_view.T, strict=True):
            p_features[views == view] = _share_at_least(statistic, by_feature[0, views == view])
        names = list(self.scores.views)
        found = {
            names[i]: _finding(views[i], smallest, p_features[i], distances[i])
            for i in np.lexsort((-distances, -by_feature[0], p_features))
        }
        sizes = {view: distances[views == view].max() for view in VIEWS}
        sizes["digits"] = distances[views == "digits"].sum() / 2
        return ChangeResult(
            p_value=p_value,
            n=len(batch),
            views={
                view: _finding(view, smallest, p, sizes[view])
                for view, p in zip(VIEWS, p_views[0], strict=True)
            },
            features=found,
            strangest=self._strangest(batch),
        )

    def p_value(self, batch: Rows) -> float:
        """The `p_value` of `check`, without the rest."""
        return _combine(self._statistics(batch)[1])[1]

    def _views(self) -> np.ndarray:
        return np.array(list(self.scores.views.values()))

    def _statistics(self, batch: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Statistics of the batch and, below, of permutations: by feature `(1 + b, f)`, by view."""
        if not len(batch):
            raise DataError("no images; there is nothing to test")
        totals = batch.above.sum(axis=0) + self.reference.above.sum(axis=0)
        both = len(batch) + len(self.reference)
        edges, numeric = self.scores.edges.shape
        feature = np.append(np.repeat(np.arange(numeric), edges), numeric + np.arange(_DIGITS))
        first = np.diff(feature, prepend=-1) > 0
        kept = first | ((totals > 0) & (totals < both))  # others say nothing
        totals, feature = totals[kept], feature[kept]
        counts = _permuted_counts(
            batch.above[:, kept], self.reference.above[:, kept], self.seed, self.permutations
        )
        ratios = _ratios(counts, totals, len(batch), both)
        views = self._views()
        odd = (views == "strangest")[feature]
        ratios[:, odd] *= counts[:, odd] * both > len(batch) * totals[odd]  # only too many count
        by_feature = np.maximum.reduceat(ratios, np.flatnonzero(first[kept]), axis=1)
        by_view = np.stack([by_feature[:, views == view].max(axis=1) for view in VIEWS], axis=1)
        return by_feature, by_view

    def _strangest(self, batch: Rows) -> dict[int, float]:
        columns = self._views() == "strangest"
        here, there = batch.values[:, columns], np.sort(self.reference.values[:, columns], axis=0)
        weaker = [np.searchsorted(a, b) for a, b in zip(there.T, here.T, strict=True)]
        share = 1 - np.max(weaker, axis=0) / len(there)
        far = (here / np.maximum(there[-1], 1e-9)).max(axis=1)
        order = np.lexsort((-far, share))[:_STRANGEST]
        return {int(row): round(float(share[row]), _DECIMALS) for row in order}

    def _distances(self, batch: Rows) -> np.ndarray:
        """Of each feature, see `Finding`."""
        here, there = batch.values, self.reference.values
        spread = there.std(axis=0)
        spread[(spread < 1e-9) | (self._views() == "digits")] = 1
        moved = [wasserstein_distance(a, b) for a, b in zip(here.T, there.T, strict=True)]
        return np.array(moved) / spread


def _combine(by_view: np.ndarray) -> tuple[np.ndarray, float]:
    """P-values of each view `(1 + b, v)`, and the joint one of the first row."""
    p_views = np.stack([_share_at_least(column, column) for column in by_view.T], axis=1)
    combined = (1 / p_views).sum(axis=1).round(_TIE)
    return p_views, round(float(_share_at_least(combined, combined[:1])[0]), _DECIMALS)


def _share_at_least(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The share of `values` that are at least each of `bounds`."""
    ascending = np.sort(values)
    return 1 - np.searchsorted(ascending, bounds, side="left") / len(values)


def _finding(view: str, smallest: np.ndarray, p_value: float, distance: float) -> Finding:
    adjusted = (smallest <= p_value).mean()
    return Finding(view, round(float(adjusted), _DECIMALS), round(float(distance), 4))


def _permuted_counts(
    batch: np.ndarray, reference: np.ndarray, seed: int, permutations: int
) -> np.ndarray:
    """How many rows of a batch are above each edge: as it is, and if rows were exchanged.

    Large batches are cut into blocks, and blocks are exchanged: also an exact test, and faster.

    Args:
        batch, reference: bool `(n, e)` and `(m, e)`.

    Returns:
        float32 `(1 + permutations, e)`, whole numbers.
    """
    size = max(1, min(len(batch), len(reference)) // _BLOCKS)
    rng = np.random.default_rng(seed)
    here = _blocks(batch, size, rng)
    pooled = np.concatenate([here, _blocks(reference, size, rng)])
    draws = _draws(len(pooled), len(here), permutations, seed)
    rest = batch.sum(axis=0) - here.sum(axis=0)  # rows that fill no block stay where they are
    return np.asarray(draws @ pooled + rest.astype(np.float32))


def _blocks(above: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Sums over blocks of random rows, float32 `(blocks, e)`."""
    count = len(above) // size
    if size > 1:
        above = above[rng.permutation(len(above))[: count * size]]
    return above.reshape(count, size, -1).sum(axis=1, dtype=np.float32)


@lru_cache(maxsize=4)
def _draws(n: int, k: int, permutations: int, seed: int) -> sparse.csr_matrix:
    """Which `k` of `n` blocks are the batch, `(1 + b, n)`: the first ones, then random ones."""
    rng = np.random.default_rng(seed)
    random = [rng.choice(n, k, replace=False, shuffle=False) for _ in range(permutations)]
    chosen = np.concatenate([np.arange(k), *random])
    ones = np.ones(len(chosen), np.float32)
    starts = np.arange(permutations + 2) * k
    return sparse.csr_matrix((ones, chosen, starts), shape=(permutations + 1, n))


def _ratios(counts: np.ndarray, totals: np.ndarray, n: int, both: int) -> np.ndarray:
    """Log-likelihood ratios of 2 × 2 tables, batch or reference by above or not.

    Args:
        counts: rows of the batch above an edge, whole numbers `(b, e)`.
        totals: rows of both above it `(e,)`.
        n, both: rows of the batch, and of batch and reference.

    Returns:
        `(b, e)`, at least 0 up to rounding.
    """
    whole = np.arange(both + 1.0)
    weight = whole * np.log(np.maximum(whole, 1))
    here, totals = counts.astype(np.int64), totals.astype(np.int64)
    margins = weight[totals] + weight[both - totals] + weight[n] + weight[both - n] - weight[both]

    def ratio(here: np.ndarray) -> np.ndarray:
        there = totals - here
        cells = weight[here] + weight[n - here] + weight[there] + weight[both - n - there]
        return np.asarray((cells - margins).round(_TIE))

    if n >= len(counts):
        return ratio(here)
    possible = np.clip(np.arange(n + 1)[:, None], n - both + totals, totals)
    return np.take_along_axis(ratio(possible), here, axis=0)


def _edges(values: np.ndarray) -> np.ndarray:
    """Edges of bins, ascending `(e, f)`: quantiles, and some outside of all values `(n, f)`."""
    ascending = np.sort(values, axis=0)
    shares = np.array([0, *_TAILS, 0.5, *(1 - share for share in _TAILS[::-1]), 1])
    inside = ascending[np.rint(shares * (len(values) - 1)).astype(int)]
    reach = np.array(_BEYOND)[:, None] * _range(ascending)
    return np.concatenate([ascending[0] - reach[::-1], inside, ascending[-1] + reach])


def _range(ascending: np.ndarray) -> np.ndarray:
    """From the first to the last of sorted values; 1 for constants."""
    reach = ascending[-1] - ascending[0]
    return np.where(reach > 0, reach, 1.0)


def _embedding(table: pd.DataFrame) -> np.ndarray:
    return table.filter(regex=r"^e\d+$").to_numpy(float)


def _check(table: pd.DataFrame, names: tuple[str, ...], units: int) -> None:
    needed = [*names, "doubt", "digit", *(f"e{i}" for i in range(units))]
    if missing := [name for name in needed if name not in table]:
        raise DataError(
            f"the table of features has no {', '.join(missing)}; run 'digits run' to rebuild it"
        )
    finite = np.isfinite(table[needed].to_numpy(float)).all(axis=0)
    if not finite.all():
        broken = [name for name, good in zip(needed, finite, strict=True) if not good]
        raise DataError(f"not a number in {', '.join(broken)}")
