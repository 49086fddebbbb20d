"""Two models on the same images: who is better, and is it more than chance?"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

_DRAWS = 10_000  # bootstrap resamples


@dataclass(frozen=True)
class Difference:
    """How often two models are wrong on the same `n` images.

    `newly_wrong` and `newly_right` are indices of images. `change` is new minus old accuracy,
    `interval` its confidence interval. `p_value` is that of McNemar's exact test, after Holm's
    correction where several differences are tested together.
    """

    n: int
    newly_wrong: list[int]
    newly_right: list[int]
    change: float
    interval: tuple[float, float]
    p_value: float


def difference(old: Set[int], new: Set[int], n: int, level: float) -> Difference:
    """Compare two models by the images that each gets wrong.

    Args:
        old, new: indices of the images that the old and the new model get wrong.
        n: number of images.
        level: confidence level of the interval, 0–1.
    """
    wrong, right = sorted(new - old), sorted(old - new)
    interval = _interval(len(wrong), len(right), n, level)
    change = (len(right) - len(wrong)) / n if n else 0.0
    return Difference(n, wrong, right, change, interval, mcnemar(len(wrong), len(right)))


def mcnemar(newly_wrong: int, newly_right: int) -> float:
    """The p-value of McNemar's test (1947) in its exact form, a two-sided binomial test.

    Only images that exactly one model gets right count. If both models were equally good, either
    outcome would have probability 1/2.
    """
    from scipy.stats import binomtest

    discordant = newly_wrong + newly_right
    return float(binomtest(newly_wrong, discordant).pvalue) if discordant else 1.0


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's correction (1979): adjusted p-values, by name.

    The smallest of n is multiplied by n, the next by n - 1 and so on, and none is below one before.
    """
    names = sorted(p_values, key=lambda name: p_values[name])
    raised = [p_values[name] * (len(names) - place) for place, name in enumerate(names)]
    adjusted = dict(zip(names, accumulate(raised, max), strict=True))
    return {name: min(float(adjusted[name]), 1.0) for name in p_values}


def _interval(wrong: int, right: int, n: int, level: float) -> tuple[float, float]:
    """Percentile bootstrap (Efron 1979) of the difference, over images; 0, 0 without images."""
    if not n:
        return 0.0, 0.0
    rng = np.random.default_rng(0)
    shares = np.array([wrong, right, n - wrong - right]) / n
    draws = rng.multinomial(n, shares, _DRAWS)
    changes = (draws[:, 1] - draws[:, 0]) / n
    low, high = np.quantile(changes, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
