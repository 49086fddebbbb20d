"""Figures on predictions, with intervals that say how far chance may have moved them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from digits.core.errors import ParameterError
from digits.core.params import Evaluate

_DIGITS = np.arange(10)
_DRAWS = 2000  # bootstrap samples behind the intervals of macro averages
_PLACES = 6  # decimals in reports


def score(labels: np.ndarray, probabilities: np.ndarray, params: Evaluate) -> dict[str, Any]:
    """Score predictions against labels.

    Args:
        labels: int `(n,)`, 0–9.
        probabilities: float `(n, 10)`.

    Returns:
        `n`, `errors`, `accuracy`, macro `precision`, `recall` and `f1`, each with an `_interval`
        beside it, `weighted`, `per_digit`, `confusion` (rows: written, columns: read), `loss`
        (cross-entropy, nats) and `calibration_error`.
    """
    from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

    predictions = probabilities.argmax(axis=1)
    matrix = confusion_matrix(labels, predictions, labels=_DIGITS)
    averages = {
        average: precision_recall_fscore_support(
            labels, predictions, labels=_DIGITS, average=average, zero_division=0
        )[:3]
        for average in ("macro", "weighted")
    }
    names = ("precision", "recall", "f1")
    right = int(np.trace(matrix))
    figures: dict[str, Any] = {
        "n": len(labels),
        "errors": len(labels) - right,
        "accuracy": right / len(labels),
        "accuracy_interval": _wilson(right, len(labels), params.confidence_level),
        **dict(zip(names, averages["macro"], strict=True)),
        **_macro_intervals(matrix, params.confidence_level),
        "weighted": dict(zip(names, averages["weighted"], strict=True)),
        "per_digit": _per_digit(matrix, params.confidence_level),
        "loss": log_loss(labels, _normalised(probabilities), labels=_DIGITS),
        "calibration_error": calibration_error(
            probabilities.max(axis=1), predictions == labels, params.calibration_bins
        ),
    }
    return {**_rounded(figures), "confusion": matrix.tolist()}


def without(
    rows: Sequence[int], labels: np.ndarray, probabilities: np.ndarray, params: Evaluate
) -> dict[str, Any]:
    """`n`, `errors`, `accuracy` and its interval, leaving some images out.

    Args:
        rows: which, from 0.
        labels: int `(n,)`, 0–9.
        probabilities: float `(n, 10)`.

    Raises:
        ParameterError: there are fewer images than that.
    """
    if rows and max(rows) >= len(labels):
        raise ParameterError(
            f"params.yaml: 'evaluate.doubted_labels' names image {max(rows)}; "
            f"the test set has {len(labels):,}, counted from 0"
        )
    kept = np.delete(probabilities.argmax(axis=1) == labels, list(rows))
    right = int(kept.sum())
    return _rounded(
        {
            "n": len(kept),
            "errors": len(kept) - right,
            "accuracy": right / len(kept),
            "accuracy_interval": _wilson(right, len(kept), params.confidence_level),
        }
    )


def mistakes(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """The rows that were misread: `index`, `label`, `prediction`, `confidence`."""
    predictions = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    return pd.DataFrame(
        {
            "index": wrong,
            "label": labels[wrong],
            "prediction": predictions[wrong],
            "confidence": probabilities[wrong].max(axis=1).astype(np.float64).round(4),
        }
    )


def calibration_error(confidences: np.ndarray, correct: np.ndarray, bins: int) -> float:
    """Expected calibration error (Guo et al. 2017): |confidence − accuracy|, mean over images.

    Args:
        confidences: float `(n,)`, 0–1.
        correct: bool `(n,)`.
        bins: how many bins of equal width 0–1 is cut into.
    """
    chosen = np.minimum((confidences * bins).astype(int), bins - 1)
    gap = np.bincount(chosen, confidences.astype(np.float64) - correct, minlength=bins)
    return float(np.abs(gap).sum() / len(confidences))


def _per_digit(matrix: np.ndarray, level: float) -> dict[str, Any]:
    written, read, right = matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)
    return {
        str(digit): {
            "n": int(written[digit]),
            "precision": _share(right[digit], read[digit]),
            "recall": _share(right[digit], written[digit]),
            "f1": _share(2 * right[digit], written[digit] + read[digit]),
            "precision_interval": _wilson(int(right[digit]), int(read[digit]), level),
            "recall_interval": _wilson(int(right[digit]), int(written[digit]), level),
        }
        for digit in _DIGITS
    }


def _macro_intervals(matrix: np.ndarray, level: float) -> dict[str, list[float]]:
    """Percentile bootstrap (Efron 1979) over the images, drawn as counts of the matrix's cells."""
    rng = np.random.default_rng(0)
    total = int(matrix.sum())
    draws = rng.multinomial(total, matrix.ravel() / total, _DRAWS).reshape(_DRAWS, 10, 10)
    written, read = draws.sum(axis=2), draws.sum(axis=1)
    right = np.diagonal(draws, axis1=1, axis2=2)
    tails = [(1 - level) / 2, (1 + level) / 2]
    shares = {
        "precision": right / np.maximum(read, 1),
        "recall": right / np.maximum(written, 1),
        "f1": 2 * right / np.maximum(written + read, 1),
    }
    return {
        f"{name}_interval": np.quantile(share.mean(axis=1), tails).tolist()
        for name, share in shares.items()
    }


def _wilson(successes: int, count: int, level: float) -> list[float]:
    """Wilson's (1927) score interval of a share."""
    from scipy.stats import binomtest

    if not count:
        return [0.0, 1.0]
    interval = binomtest(successes, count).proportion_ci(level, method="wilson")
    return [float(interval.low), float(interval.high)]


def _normalised(probabilities: np.ndarray) -> np.ndarray:
    """Rows that sum to 1 in float64 too, as float32 leaves them a little off."""
    wide = probabilities.astype(np.float64)
    return wide / wide.sum(axis=1, keepdims=True)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return value if isinstance(value, int) else round(float(value), _PLACES)
