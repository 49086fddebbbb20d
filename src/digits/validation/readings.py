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


@dataclass(frozen=True)
class Readings:
    """What two readers who know nothing of each other see in a batch.

    Attributes:
        witness: the digits that the witness reads, int `(n,)`.
        model: those that the model reads; None without a model.
        sure: whether the model is as sure as of most images of its reference window, bool `(n,)`.
        read: images uint8 `(n, 28, 28)` → digits, by the better of the two.
    """

    witness: np.ndarray
    model: np.ndarray | None
    sure: np.ndarray | None
    read: Callable[[np.ndarray], np.ndarray]

    def unsure(self) -> np.ndarray | None:
        """Images that the two don't read alike, or the model not surely; None without a model."""
        if self.model is None or self.sure is None:
            return None
        return (self.model != self.witness) | ~self.sure

    def no_digit(self, labels: np.ndarray | None) -> np.ndarray:
        """Images that neither reads surely, nor alike, nor as labelled: bool `(n,)`."""
        if self.model is None or self.sure is None:
            return np.zeros(len(self.witness), dtype=bool)
        found = (self.model != self.witness) & ~self.sure
        if labels is not None:
            found &= (self.model != labels) & (self.witness != labels)
        return found


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
    table["read"] = seen.witness if seen.model is None else seen.model
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
        wrong, share, says = _contradicted(seen, labels, params)
        table["contradicted"] = wrong & known
        bound = checks.at_most(share, n, params.chance)
        advice = "compare these images with their labels; --accept-labels overrides"
        reason = ""
        if table["contradicted"].mean() > bound:
            reason = agreement.explain(seen.read, images[known], labels[known])
        advice = f"{reason}; {advice}" if reason else advice
        expectations.append(checks.rarely("contradicted", n, bound, says, advice))
    return Suite(SUITE, table, expectations, ("id", "label", "read"))


def _contradicted(
    seen: Readings, labels: np.ndarray, params: Validate
) -> tuple[np.ndarray, float, str]:
    """Which labels are contradicted, the share that may be, and how to say it."""
    if seen.model is None or seen.sure is None:
        says = "labels that train's witness contradicts"
        return seen.witness != labels, 1 - params.min_outside_agreement, says
    wrong = (seen.model == seen.witness) & seen.sure & (seen.model != labels)
    return wrong, params.max_contradicted, "labels that model and witness contradict"
