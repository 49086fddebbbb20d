"""A batch of new handwriting as model and witness read it: are these digits, and so labelled?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from digits.core.params import Validate
from digits.validation import agreement, checks
from digits.validation.checks import Suite

SUITE = "readings"
_NO_LABEL = -1
_SURE = 0.99  # the model's probability of another digit
_CLEAR = 4.0  # by how much the witness's log-likelihood of another digit is higher


@dataclass(frozen=True)
class Readings:
    """What two readers who know nothing of each other see in a batch.

    Attributes:
        scores: the witness's log-likelihoods up to a constant, `(n, 10)`.
        probabilities: the model's, `(n, 10)`; None without a model.
        least: the confidence from which the model is as sure as of most of its reference window.
        read: images uint8 `(n, 28, 28)` → digits, by the better of the two.
    """

    scores: np.ndarray
    probabilities: np.ndarray | None
    least: float
    read: Callable[[np.ndarray], np.ndarray]

    @property
    def digits(self) -> np.ndarray:
        """What the better of the two reads, int `(n,)`."""
        best = self.scores if self.probabilities is None else self.probabilities
        digits: np.ndarray = best.argmax(axis=1)
        return digits

    def unsure(self) -> np.ndarray | None:
        """Images that the two don't read alike, or the model not surely; None without a model."""
        if self.probabilities is None:
            return None
        return self._apart(self.probabilities) | (self.probabilities.max(axis=1) < self.least)

    def no_digit(self, labels: np.ndarray | None) -> np.ndarray:
        """Images that neither reads surely, nor alike, nor as labelled: bool `(n,)`."""
        if self.probabilities is None:
            return np.zeros(len(self.scores), dtype=bool)
        found = self._apart(self.probabilities) & (self.probabilities.max(axis=1) < self.least)
        if labels is not None:
            found &= (self.probabilities.argmax(axis=1) != labels) & (self._witness() != labels)
        return found

    def contradicted(self, labels: np.ndarray) -> np.ndarray:
        """Labels 0–9 `(n,)` that the model surely, and the witness clearly, excludes: bool `(n,)`.

        Without a model, those that the witness reads otherwise.
        """
        if self.probabilities is None:
            return self._witness() != labels
        rows, digits = np.arange(len(labels)), np.clip(labels, 0, 9)
        sure = self.probabilities.max(axis=1) > _SURE
        behind = self.scores.max(axis=1) - self.scores[rows, digits] > _CLEAR
        return sure & (self.probabilities.argmax(axis=1) != labels) & behind

    def _witness(self) -> np.ndarray:
        digits: np.ndarray = self.scores.argmax(axis=1)
        return digits

    def _apart(self, probabilities: np.ndarray) -> np.ndarray:
        apart: np.ndarray = probabilities.argmax(axis=1) != self._witness()
        return apart


def suite(
    ids: pd.Series, images: np.ndarray, labels: np.ndarray | None, seen: Readings, params: Validate
) -> Suite:
    """Expectations on labels, if there are any, and on whether the images are digits.

    Args:
        ids: names of the images, `(n,)`.
        images: uint8 `(n, 28, 28)`.
        labels: int `(n,)`; those beyond 0–9 count as none.
    """
    n = len(images)
    table, expectations = pd.DataFrame({"id": ids}), []
    table["read"] = seen.digits
    unsure = seen.unsure()
    if unsure is not None:
        table["unsure"] = unsure
        says = "images that model and witness don't read alike and surely"
        advice = "they may show no digits, another script, or be turned; --accept-labels overrides"
        bound = checks.at_most(params.max_unsure, n, params.chance)
        expectations.append(checks.rarely("unsure", n, bound, says, advice))
    if labels is not None:
        known = (labels >= 0) & (labels <= 9)
        table["label"] = np.where(known, labels, _NO_LABEL)
        table["contradicted"] = seen.contradicted(labels) & known
        readers, share = "model and witness contradict", params.max_contradicted
        if unsure is None:
            readers, share = "train's witness contradicts", 1 - params.min_outside_agreement
        bound = checks.at_most(share, n, params.chance)
        advice = "compare these images with their labels; --accept-labels overrides"
        reason = ""
        if table["contradicted"].mean() > bound:
            reason = agreement.explain(seen.read, images[known], labels[known])
        advice = f"{reason}; {advice}" if reason else advice
        expectations.append(
            checks.rarely("contradicted", n, bound, f"labels that {readers}", advice)
        )
    return Suite(SUITE, table, expectations, ("id", "label", "read"))
