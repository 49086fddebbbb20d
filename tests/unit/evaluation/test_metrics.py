"""Figures agree with scikit-learn and with counting by hand."""

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


def test_figures_of_a_hundred_digits_with_three_mistakes() -> None:
    labels = np.repeat(np.arange(10), 10)
    predictions = labels.copy()
    predictions[[0, 1, 99]] = [6, 6, 4]
    score = metrics.score(labels, _probabilities(predictions), PARAMS)
    assert (score["n"], score["errors"], score["accuracy"]) == (100, 3, 0.97)
    assert score["per_digit"]["0"]["recall"] == 0.8
    assert score["per_digit"]["6"]["precision"] == pytest.approx(10 / 12, abs=1e-6)
    assert score["confusion"][0][6] == 2
    assert score["calibration_error"] == pytest.approx(0.06, abs=1e-6)
    # Wilson's interval of 97 in 100
    assert score["accuracy_interval"] == pytest.approx([0.9155, 0.9897], abs=1e-4)
    low, high = score["f1_interval"]
    assert low < score["f1"] < high
    mistakes = metrics.mistakes(labels, _probabilities(predictions))
    assert mistakes["index"].tolist() == [0, 1, 99]
    assert mistakes["prediction"].tolist() == [6, 6, 4]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60))
def test_any_labels_give_figures_within_bounds(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = (np.array(column) for column in zip(*pairs, strict=True))
    score = metrics.score(labels, _probabilities(predictions), PARAMS)
    for name in ("accuracy", "precision", "recall", "f1", "calibration_error"):
        assert 0 <= score[name] <= 1
    assert score["errors"] == int((labels != predictions).sum())
