"""Metrics on predictions, with confidence intervals."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from digits.core.errors import ParameterError
from digits.core.params import Evaluate

_DIGITS = np.arange(10)
_DRAWS = 2000  # bootstrap resamples for the intervals of macro averages
_PLACES = 6  # decimals in reports


def score(labels: np.ndarray, probabilities: np.ndarray, params: Evaluate) -> dict[str, Any]:
    """Score predictions against labels.

    Args:
        labels: int `(n,)`, 0–9.
        probabilities: float `(n, 10)`.

    Returns:
        `n`, `errors`, `accuracy`, macro `precision`, `recall` and `f1` (each also with its
        `_interval`), `weighted`, `per_digit`, `confusion` (rows: true, columns: predicted), `loss`
        (cross-entropy in nats) and `calibration_error`.
    """
    from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

    predictions = probabilities.argmax(axis=1)
    matrix = confusion_matrix(labels, predictions, labels=_DIGITS)
    *per_class, n = precision_recall_fscore_support(
        labels, predictions, labels=_DIGITS, zero_division=0
    )
    bins = reliability(
        probabilities.max(axis=1),
        predictions == labels,
        params.calibration_bins,
        params.confidence_level,
    )
    names = ("precision", "recall", "f1")
    right = int(np.trace(matrix))
    figures: dict[str, Any] = {
        "n": len(labels),
        "errors": len(labels) - right,
        "accuracy": right / len(labels),
        "accuracy_interval": _wilson(right, len(labels), params.confidence_level),
        **dict(zip(names, np.mean(per_class, axis=1), strict=True)),
        **_macro_intervals(matrix, params.confidence_level),
        "weighted": dict(zip(names, np.average(per_class, axis=1, weights=n), strict=True)),
        "per_digit": _per_digit(matrix, per_class, params.confidence_level),
        "loss": log_loss(labels, _normalised(probabilities), labels=_DIGITS),
        "calibration_error": _calibration_error(bins),
    }
    return {**_rounded(figures), "confusion": matrix.tolist()}


def without(
    rows: Sequence[int], labels: np.ndarray, probabilities: np.ndarray, params: Evaluate
) -> dict[str, Any]:
    """Score predictions with some images excluded.

    Args:
        rows: indices of the excluded images, counted from 0.
        labels: int `(n,)`, 0–9.
        probabilities: float `(n, 10)`.

    Returns:
        `n`, `errors`, `accuracy` and `accuracy_interval`.

    Raises:
        ParameterError: an index is out of range.
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


def overlap(images: np.ndarray, ids: np.ndarray, others: np.ndarray, other_ids: np.ndarray) -> int:
    """How many images are also among others, by their id or by the SHA-256 of their pixels.

    Args:
        images, others: uint8 `(n, 28, 28)`.
        ids, other_ids: int `(n,)`.
    """
    same_id = np.isin(ids, other_ids)
    known = set(map(_sha256, others))
    same_pixels = np.array([_sha256(image) in known for image in images], dtype=bool)
    return int((same_id | same_pixels).sum())


def digest(images: np.ndarray, labels: np.ndarray) -> str:
    """The SHA-256 of labelled images: two models with equal digests were tested on the same."""
    parts = (images.astype(np.uint8), labels.astype(np.uint8))
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def mistakes(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """The misread images: `index`, `label`, `prediction` and `confidence`."""
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


def predictions(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """All images: `actual`, `predicted` and `confidence`."""
    return pd.DataFrame(
        {
            "actual": labels,
            "predicted": probabilities.argmax(axis=1),
            "confidence": probabilities.max(axis=1).astype(np.float64).round(4),
        }
    )


def reliability(
    confidences: np.ndarray, correct: np.ndarray, bins: int, level: float
) -> pd.DataFrame:
    """Accuracy against confidence, in bins of equal width.

    Args:
        confidences: float `(n,)`, 0–1.
        correct: bool `(n,)`.
        bins: number of bins between 0 and 1.
        level: confidence level of the intervals, 0–1.

    Returns:
        For each bin that isn't empty: `start` and `stop`, `n`, mean `confidence`, `accuracy`, and
        the accuracy's interval from `low` to `high`.
    """
    place = np.minimum((confidences * bins).astype(int), bins - 1)
    n = np.bincount(place, minlength=bins)
    right = np.bincount(place[correct], minlength=bins)
    sums = np.bincount(place, confidences, minlength=bins)
    filled = np.flatnonzero(n)
    intervals = [_wilson(int(right[i]), int(n[i]), level) for i in filled]
    low, high = np.reshape(intervals, (-1, 2)).T
    return pd.DataFrame(
        {
            "start": filled / bins,
            "stop": (filled + 1) / bins,
            "n": n[filled],
            "confidence": sums[filled] / n[filled],
            "accuracy": right[filled] / n[filled],
            "low": low,
            "high": high,
        }
    )


def _sha256(image: np.ndarray) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def _calibration_error(bins: pd.DataFrame) -> float:
    """Expected calibration error (Guo et al. 2017): |confidence − accuracy|, mean over images."""
    return float(np.average(np.abs(bins["confidence"] - bins["accuracy"]), weights=bins["n"]))


def _per_digit(matrix: np.ndarray, per_class: Sequence[np.ndarray], level: float) -> dict[str, Any]:
    """Metrics of each digit; `per_class` holds precision, recall and F1, each `(10,)`."""
    actual, predicted, right = matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)
    return {
        str(digit): {
            "n": int(actual[digit]),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "precision_interval": _wilson(int(right[digit]), int(predicted[digit]), level),
            "recall_interval": _wilson(int(right[digit]), int(actual[digit]), level),
        }
        for digit, (precision, recall, f1) in enumerate(zip(*per_class, strict=True))
    }


def _macro_intervals(matrix: np.ndarray, level: float) -> dict[str, list[float]]:
    """Percentile bootstrap (Efron 1979) over images, resampled as counts of the matrix's cells."""
    rng = np.random.default_rng(0)
    total = int(matrix.sum())
    draws = rng.multinomial(total, matrix.ravel() / total, _DRAWS).reshape(_DRAWS, 10, 10)
    actual, predicted = draws.sum(axis=2), draws.sum(axis=1)
    right = np.diagonal(draws, axis1=1, axis2=2)
    tails = [(1 - level) / 2, (1 + level) / 2]
    shares = {
        "precision": right / np.maximum(predicted, 1),
        "recall": right / np.maximum(actual, 1),
        "f1": 2 * right / np.maximum(actual + predicted, 1),
    }
    return {
        f"{name}_interval": np.quantile(share.mean(axis=1), tails).tolist()
        for name, share in shares.items()
    }


def _wilson(successes: int, count: int, level: float) -> list[float]:
    """Wilson's score interval of a proportion (JASA 22, 1927); 0–1 if `count` is 0."""
    from scipy.stats import binomtest

    if not count:
        return [0.0, 1.0]
    interval = binomtest(successes, count).proportion_ci(level, method="wilson")
    return [float(interval.low), float(interval.high)]


def _normalised(probabilities: np.ndarray) -> np.ndarray:
    """Rows that sum to 1 in float64; in float32 they are slightly off."""
    wide = probabilities.astype(np.float64)
    return wide / wide.sum(axis=1, keepdims=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return value if isinstance(value, int) else round(float(value), _PLACES)
