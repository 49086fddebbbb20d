"""Drift: no alarm on images like the reference, an alarm on different ones, Holm's correction."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from digits.core.errors import DataError
from digits.core.params import Drift
from digits.drift import detector
from digits.drift.detector import DriftDetector
from digits.images import features

PARAMS = Drift(reference_count=900, alpha=0.01, min_distance=0.1, min_count=20, seed=7)


class InkReader:
    """Stands in for a recogniser: its embedding and probabilities depend on the ink alone."""

    def embed(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        embedding = images.reshape(len(images), -1)[:, ::9].astype(np.float32) / 255
        scores = np.exp(10 * embedding[:, :80].reshape(len(images), 10, 8).mean(axis=2))
        return embedding, scores / scores.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def reference(real_digits: tuple[np.ndarray, np.ndarray]) -> pd.DataFrame:
    images, labels = real_digits
    reader: Any = InkReader()
    return detector.reference_window(reader, images[::2], labels[::2], PARAMS, 128)


@pytest.fixture
def drift_detector(reference: pd.DataFrame) -> DriftDetector:
    reader: Any = InkReader()
    return DriftDetector(reader, reference, PARAMS, 128)


def test_the_reference_window_is_a_sample_of_distinct_images(
    real_digits: tuple[np.ndarray, np.ndarray],
) -> None:
    images, labels = real_digits
    reader: Any = InkReader()
    small = PARAMS.model_copy(update={"reference_count": 50})
    window = detector.reference_window(reader, images, labels, small, 128)
    again = detector.reference_window(reader, images, labels, small, 128)
    assert len(window) == 50
    assert not window.duplicated().any()
    pd.testing.assert_frame_equal(window, again)


def test_a_reference_window_without_a_new_feature_has_to_be_rebuilt(
    reference: pd.DataFrame, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    reader: Any = InkReader()
    old = DriftDetector(reader, reference.drop(columns="slant"), PARAMS, 128)
    with pytest.raises(DataError, match="no slant; run 'digits run' to rebuild it"):
        old.check(real_digits[0][:30])


def test_images_like_the_reference_have_not_drifted(
    drift_detector: DriftDetector, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = (array[1::2] for array in real_digits)
    result = drift_detector.check(images, labels)
    assert not result.drift
    assert not any(test["drift"] for test in result.tests.values())
    assert result.n == len(images)
    assert 0 <= result.estimated_accuracy <= 1
    assert result.accuracy is not None


def test_thicker_strokes_are_drift_and_the_feature_is_named(
    drift_detector: DriftDetector, real_digits: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    images = real_digits[0][1::2]
    thick = np.maximum(images, np.roll(images, 1, axis=2))
    result = drift_detector.check(thick, html=tmp_path / "new" / "report.html")
    assert result.drift
    assert result.tests["thickness"]["drift"]
    assert result.p_value < PARAMS.alpha
    assert result.accuracy is None
    assert "thickness" in (tmp_path / "new" / "report.html").read_text()


def test_every_measured_feature_is_tested(
    drift_detector: DriftDetector, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    tests = drift_detector.check(real_digits[0][:40]).tests
    embedding = [f"embedding {i}" for i in range(1, 7)]
    measured = features.measure(real_digits[0][:1], 128).columns
    assert list(tests) == [*measured, "digit", "doubt", *embedding]


def test_too_few_images_for_a_verdict_are_an_error(drift_detector: DriftDetector) -> None:
    with pytest.raises(DataError, match=r"19 images; a verdict needs at least 20 .*min_count"):
        drift_detector.check(np.zeros((19, 28, 28), np.uint8))


def test_p_values_are_adjusted_by_holms_correction() -> None:
    """By hand: 0.005 × 4, 0.01 × 3, 0.03 × 2, then 0.04 × 1 raised to the one before."""
    p_values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    verdicts = detector.verdicts({name: (p, 1.0) for name, p in p_values.items()}, PARAMS)
    adjusted = {name: verdict["p_value"] for name, verdict in verdicts.items()}
    assert adjusted == {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}


def test_drift_needs_both_significance_and_distance() -> None:
    measured = {"far": (0.001, 0.5), "near": (0.001, 0.09), "by chance": (0.02, 0.5)}
    verdicts = detector.verdicts(measured, PARAMS)
    assert [name for name, verdict in verdicts.items() if verdict["drift"]] == ["far"]


def test_estimated_accuracy_is_that_of_the_reference_on_the_reference(
    drift_detector: DriftDetector, reference: pd.DataFrame, real_digits: tuple[np.ndarray, ...]
) -> None:
    result = drift_detector.check(real_digits[0][::2])
    assert result.estimated_accuracy == pytest.approx(reference["read"].mean(), abs=0.01)
