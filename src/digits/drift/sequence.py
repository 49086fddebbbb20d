"""Does handwriting drift slowly, over many batches that are each within chance?

A conformal test martingale for each feature (Vovk, Nouretdinov and Gammerman 2003). The rank of a
new image among the reference window and all images before it, ties broken at random, is uniform as
long as nothing has changed. A bettor starts with one unit of money and bets on the ranks by a
histogram of the latest ones: without a change nobody can expect to win, so the money ever reaches
1 / p with a probability of at most p (Ville 1939). That bounds false alarms over the whole history,
however long, and however often one looks. The money is not all at stake from the beginning: a part
is put in at each batch, so that a change after a long quiet time is seen as well.

The state is small: counts of images in the bins of each feature, histograms of ranks, and money.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from digits.core.errors import DataError
from digits.drift.change import Rows, Scores

MAX_ROWS = 100  # of a batch, drawn at random

_BINS = 8  # of the histogram of ranks
_MEMORY = 1000  # images after which a rank weighs 1 / e
_PRIOR = 40.0  # ranks spread evenly that a histogram starts with
_DIGIT = "digit"
_DECIMALS = 6


@dataclass(frozen=True)
class Slow:
    """What the history shows.

    Attributes:
        p_value: bound on the probability that batches like the reference, however many, ever look
            so different; 1 at the beginning. It never rises.
        drift: whether `p_value` is at most alpha.
        feature: with the most evidence.
        batches, images: of the history.
        since: the batch at which `p_value` fell to alpha, "" before.
    """

    p_value: float
    drift: bool
    feature: str
    batches: int
    images: int
    since: str


@dataclass(frozen=True)
class Sequence:
    """The bets after some batches.

    Attributes:
        reference: identifies the reference window; another one begins a new sequence.
        counts: of reference and history in each bin of each feature, int64 `(f, b)`.
        ranks: weights of the histogram of ranks, float64 `(f, 8)`.
        money: logarithm of what each feature's bettor has at stake `(f,)`; −inf at the beginning.
        batches, images: added so far.
        last: the batch that was added last, as the caller identifies it.
        p_value, feature, since: as in `Slow`.
    """

    reference: str
    counts: np.ndarray
    ranks: np.ndarray
    money: np.ndarray
    batches: int = 0
    images: int = 0
    last: str = ""
    p_value: float = 1.0
    feature: str = ""
    since: str = ""

    @classmethod
    def start(cls, reference: str, scores: Scores, window: Rows) -> "Sequence":
        """Before the first batch; `window` is the reference window that `reference` identifies."""
        bins = _bins(scores, window)
        features = bins.shape[1]
        counts = np.stack([np.bincount(column, minlength=_width(scores)) for column in bins.T])
        ranks = np.full((features, _BINS), _PRIOR / _BINS)
        return cls(reference, counts, ranks, np.full(features, -np.inf))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Sequence":
        """The sequence that `as_dict` described.

        Raises:
            DataError: the document has another form.
        """
        try:
            arrays = {
                "counts": np.array(document["counts"], np.int64),
                "ranks": np.array(document["ranks"], np.float64),
                "money": np.array([-np.inf if m is None else m for m in document["money"]], float),
            }
            if arrays["ranks"].shape != (len(arrays["counts"]), _BINS):
                raise ValueError("shapes differ")
            return cls(**{**document, **arrays})
        except (KeyError, TypeError, ValueError) as exc:
            raise DataError(f"not the state of a sequence of batches ({exc})") from exc

    def as_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        money = [None if np.isneginf(m) else round(float(m), _DECIMALS) for m in self.money]
        arrays = {"counts": self.counts.tolist(), "ranks": self.ranks.round(_DECIMALS).tolist()}
        return {**vars(self), **arrays, "money": money}

    def add(self, name: str, last: str, scores: Scores, rows: Rows, alpha: float) -> "Sequence":
        """The sequence after one more batch; itself, if that batch is `last` already.

        Args:
            name: of the batch.
            last: identifies it.
            rows: at most MAX_ROWS of them are used.
            alpha: as in `slow`.
        """
        if last == self.last:
            return self
        rng = np.random.default_rng([self.batches, self.images])
        chosen = np.sort(rng.permutation(len(rows))[:MAX_ROWS])
        bins = _bins(scores, rows.take(chosen))
        names = _names(scores)
        counts, ranks = self.counts.copy(), self.ranks.copy()
        features = np.arange(len(counts))
        stake = -np.log((self.batches + 1) * (self.batches + 2))  # these sum to 1 over all batches
        money = np.logaddexp(self.money, stake)
        best, p_value, feature = -np.inf, self.p_value, self.feature
        keep = np.exp(-1 / _MEMORY)
        for image in bins:
            below = np.cumsum(counts, axis=1)[features, image] - counts[features, image]
            ties = counts[features, image] + 1
            total = counts.sum(axis=1) + 1
            rank = (below + rng.random(len(features)) * ties) / total
            bin_ = np.minimum((rank * _BINS).astype(int), _BINS - 1)
            money += np.log(_BINS * ranks[features, bin_] / ranks.sum(axis=1))
            ranks = _PRIOR / _BINS + (ranks - _PRIOR / _BINS) * keep
            ranks[features, bin_] += 1
            counts[features, image] += 1
            best = max(best, float(money.max()))
            bound = min(1.0, len(features) * float(np.exp(-min(money.max(), 700.0))))
            if bound < p_value:
                p_value, feature = bound, names[int(money.argmax())]
        return Sequence(
            reference=self.reference,
            counts=counts,
            ranks=ranks,
            money=money,
            batches=self.batches + 1,
            images=self.images + len(bins),
            last=last,
            p_value=p_value,
            feature=feature,
            since=self.since or (name if p_value <= alpha else ""),
        )

    def slow(self, alpha: float) -> Slow:
        """What it shows so far."""
        p_value = float(f"{self.p_value:.3g}")
        drift = self.p_value <= alpha
        return Slow(p_value, drift, self.feature, self.batches, self.images, self.since)


def _names(scores: Scores) -> list[str]:
    """The numeric features, and the digit read as one."""
    return [*(name for name, view in scores.views.items() if view != "digits"), _DIGIT]


def _width(scores: Scores) -> int:
    return max(len(scores.edges) + 1, 10)


def _bins(scores: Scores, rows: Rows) -> np.ndarray:
    """The bin of each feature, int64 `(n, f)`."""
    edges, numeric = scores.edges.shape
    above = rows.above[:, : edges * numeric].reshape(len(rows), numeric, edges)
    return np.column_stack([above.sum(axis=2), scores.read(rows)]).astype(np.int64)
