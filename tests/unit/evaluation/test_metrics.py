"""Metrics on predictions agree with values computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digits.core.params import Evaluate
from digits.evaluation import metrics

PARAMS = Evaluate(
    confidence_level=0.95,
    calibration_bins=10,
    gallery=10,
    doubted_labels=(1,),
    corruption_seed=0,
)


def _probabilities(predictions: np.ndarray, confidence: float = 0.91) -> np.ndarray:
    probabilities = np.full((len(predictions), 10), (1 - confidence) / 9)
    probabilities[np.arange(len(predictions)), predictions] = confidence
    return probabilities


def test_metrics_of_a_hundred_digits_with_three_errors() -> None:
    labels = np.repeat(np.arange(10), 10)
    predictions = labels.copy()
    predictions[[0, 1, 99]] = [6, 6, 4]
    score = metrics.score(labels, _probabilities(predictions), PARAMS)
    assert (score["n"], score["errors"], score["accuracy"]) == (100, 3, 0.97)
    assert score["per_digit"]["0"]["recall"] == 0.8
    assert score["per_digit"]["6"]["precision"] == pytest.approx(10 / 12, abs=1e-6)
    assert score["confusion"][0][6] == 2
    assert score["calibration_error"] == pytest.approx(0.06, abs=1e-6)
    # Wilson's interval of 97 out of 100
    assert score["accuracy_interval"] == pytest.approx([0.9155, 0.9897], abs=1e-4)
    low, high = score["f1_interval"]
    assert low < score["f1"] < high
    mistakes = metrics.mistakes(labels, _probabilities(predictions))
    assert mistakes["index"].tolist() == [0, 1, 99]
    assert mistakes["prediction"].tolist() == [6, 6, 4]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60))
def test_metrics_of_any_labels_are_within_bounds(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = (np.array(column) for column in zip(*pairs, strict=True))
    score = metrics.score(labels, _probabilities(predictions), PARAMS)
    for name in ("accuracy", "precision", "recall", "f1", "calibration_error"):
        assert 0 <= score[name] <= 1
    assert score["errors"] == int((labels != predictions).sum())


@pytest.mark.parametrize(("confidence", "right", "error"), [(0.75, 3, 0), (0.9, 0, 0.9), (1, 4, 0)])
def test_calibration_error_is_the_gap_between_confidence_and_accuracy(
    confidence: float, right: int, error: float
) -> None:
    predictions = np.arange(4)
    labels = np.where(np.arange(4) < right, predictions, 9)
    score = metrics.score(labels, _probabilities(predictions, confidence), PARAMS)
    assert score["calibration_error"] == pytest.approx(error, abs=1e-6)


def test_reliability_leaves_out_empty_bins() -> None:
    confidences = np.array([0.95, 1.0, 0.42])
    bins = metrics.reliability(confidences, np.array([True, False, True]), 10, 0.95)
    assert bins[["start", "stop"]].to_numpy().tolist() == [[0.4, 0.5], [0.9, 1.0]]
    assert bins["n"].tolist() == [1, 2]
    assert bins["confidence"].tolist() == pytest.approx([0.42, 0.975])
    assert bins["accuracy"].tolist() == [1.0, 0.5]
    # Wilson's interval of 1 out of 2
    assert bins.loc[1, ["low", "high"]].tolist() == pytest.approx([0.0945, 0.9055], abs=1e-4)


def test_reliability_of_no_images_has_no_bins() -> None:
    assert metrics.reliability(np.array([]), np.array([], bool), 10, 0.95).empty
