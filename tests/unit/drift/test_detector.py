"""Drift: no alarm on images like the reference, an alarm on different ones, harm on no digits."""

import dataclasses
from pathlib import Path
from typing import Any

import nearest_reader
import numpy as np
import pandas as pd
import pytest
from faults import pictures
from nearest_reader import PARAMS

from digits.core.errors import DataError
from digits.data.dataset import Split
from digits.drift import change, detector, words
from digits.drift.detector import DriftDetector
from digits.images import features

Digits = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def reader(real_digits: Digits) -> Any:
    return nearest_reader.reader(*real_digits)


@pytest.fixture(scope="module")
def drift_detector(real_digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> DriftDetector:
    return nearest_reader.detector(*real_digits, tmp_path_factory.mktemp("reference"))


def test_the_reference_window_is_a_sample_of_distinct_images(
    reader: Any, real_digits: Digits
) -> None:
    images, labels = real_digits
    small = PARAMS.model_copy(update={"reference_count": 50})
    window = detector.reference_window(reader, images, labels, small, 128)
    again = detector.reference_window(reader, images, labels, small, 128)
    assert len(window) == 50
    assert not window.duplicated().any()
    pd.testing.assert_frame_equal(window, again)


def test_a_reference_window_without_a_new_feature_has_to_be_rebuilt(
    drift_detector: DriftDetector, real_digits: Digits
) -> None:
    old = dataclasses.replace(
        drift_detector, reference=drift_detector.reference.drop(columns="slant")
    )
    with pytest.raises(DataError, match="no slant; run 'digits run'"):
        old.check(real_digits[0][:30])


@pytest.mark.parametrize("n", [1, 3, 400])
def test_images_like_the_reference_have_not_drifted(
    drift_detector: DriftDetector, real_digits: Digits, n: int
) -> None:
    images, labels = (array[3::4][:n] for array in real_digits)
    result = drift_detector.check(images, labels)
    assert result.verdict == "none"
    assert not any(test["drift"] for test in result.tests.values())
    assert result.n == result.tested == n
    assert result.accuracy_low <= result.estimated_accuracy <= result.accuracy_high
    assert result.accuracy == pytest.approx(
        (drift_detector.network.embed(images)[1].argmax(axis=1) == labels).mean()
    )
    assert result.measured_low <= result.accuracy <= result.measured_high
    assert result.in_sample_share == 0


def test_labels_that_show_a_loss_are_harm_and_labels_that_show_none_are_not(
    drift_detector: DriftDetector, real_digits: Digits
) -> None:
    images = real_digits[0][3::4]
    read = drift_detector.network.embed(images)[1].argmax(axis=1)
    wrong = np.where(np.arange(len(read)) % 5 < 2, (read + 1) % 10, read)
    assert drift_detector.check(images, read).verdict == "none"
    result = drift_detector.check(images, wrong)
    assert (result.verdict, result.drift) == ("harmful", False)
    assert result.accuracy == pytest.approx(0.6, abs=0.01)
    assert drift_detector.check(images[:1], wrong[:1]).verdict == "none"  # one error proves nothing


def test_what_was_trained_on_is_no_drift_and_is_said_to_be_in_sample(
    reader: Any, real_digits: Digits, tmp_path: Path
) -> None:
    images, labels = real_digits
    thick = np.maximum(images, np.roll(images, 1, axis=2))
    train = Split(np.concatenate([images[::4], thick[2::8]]), np.append(labels[::4], labels[2::8]))
    val, march = Split(images[1::4], labels[1::4]), np.arange(len(images[::4]), len(train.images))
    checks = DriftDetector.fit(reader, train, val, {"march": march}, PARAMS, 128, tmp_path)
    again = DriftDetector.read(tmp_path, reader, PARAMS, 128)
    result = again.check(train.images[march], train.labels[march])
    assert (result.drift, result.like, result.in_sample_share) == (False, "march", 1.0)
    assert again.examples.shape == (2, 10, 2, 28, 28)
    known = {image.tobytes() for image in train.images[march]}
    assert all(image.tobytes() in known for image in again.examples[1].reshape(-1, 28, 28))
    fresh = again.check(thick[3::4], labels[3::4], png=tmp_path / "fresh.png", name="fresh")
    assert (tmp_path / "fresh.png").stat().st_size > 10_000
    assert (fresh.drift, fresh.like, fresh.in_sample_share) == (False, "march", 0.0)
    assert again.check(images[3::4]).like == "validation"
    assert again.check(np.roll(thick[3::4], 1, axis=2)).drift
    assert checks.reference_accuracy == again.reference_accuracy


def test_thicker_strokes_are_drift_and_the_feature_is_named_in_evidentlys_report(
    drift_detector: DriftDetector, real_digits: Digits, tmp_path: Path
) -> None:
    images = real_digits[0][3::4]
    thick = np.maximum(images, np.roll(images, 1, axis=2))
    result = drift_detector.check(thick, html=tmp_path / "new" / "report.html")
    assert result.drift
    assert result.verdict in ("drift", "harmful")
    assert result.tests["thickness"]["drift"]
    assert result.p_value < PARAMS.alpha
    assert result.accuracy is None
    page = (tmp_path / "new" / "report.html").read_text()
    assert "thickness" in page
    assert "permutation test, adjusted for all features" in page


def test_clothes_are_harmful_and_counted(drift_detector: DriftDetector) -> None:
    rng = np.random.default_rng(3)
    result = drift_detector.check(pictures.clothes(rng.integers(10, size=60), rng))
    assert result.verdict == "harmful"
    assert result.no_digit_share > 0.8
    assert result.no_digit_low <= result.no_digit_share <= result.no_digit_high


def test_a_missing_digit_is_seen(drift_detector: DriftDetector, real_digits: Digits) -> None:
    images, labels = real_digits
    result = drift_detector.check(images[labels != 3])
    assert result.views["digits"] < PARAMS.alpha
    assert result.drift


def test_every_measured_feature_is_tested(
    drift_detector: DriftDetector, real_digits: Digits
) -> None:
    result = drift_detector.check(real_digits[0][:40])
    assert set(features.measure(real_digits[0][:1], 128)) <= set(result.tests)
    assert set(result.views) == set(change.VIEWS)


@pytest.mark.parametrize("images", [np.zeros((4, 28, 28)), np.zeros((4, 784), np.uint8)])
def test_images_of_another_form_are_an_error(
    drift_detector: DriftDetector, images: np.ndarray
) -> None:
    with pytest.raises(DataError, match=r"expected uint8 \(n, 28, 28\)"):
        drift_detector.check(images)


def test_every_feature_and_view_has_a_name_in_plain_words(drift_detector: DriftDetector) -> None:
    assert set(words.VIEWS) == set(change.VIEWS)
    meanings = [words.feature(name) for name in drift_detector.scores.views]
    assert all(unit for _, unit in meanings)
    assert len({meaning for meaning, _ in meanings}) == len(meanings)
    assert words.feature("of another version") == ("of another version", "")


def test_typical_images_are_read_as_their_digit(drift_detector: DriftDetector) -> None:
    for digit, images in enumerate(drift_detector.examples[0]):
        assert images.any(axis=(1, 2)).all()
        assert set(drift_detector.network.embed(images)[1].argmax(axis=1)) == {digit}


@pytest.mark.parametrize("n", [1, 100])
def test_the_picture_of_equal_batches_has_equal_bytes(
    drift_detector: DriftDetector, real_digits: Digits, tmp_path: Path, n: int
) -> None:
    paths = [tmp_path / name / "page.png" for name in ("one", "two")]
    for path in paths:
        drift_detector.check(real_digits[0][3::4][:n], png=path, name="batch")
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_no_image_is_an_error(drift_detector: DriftDetector) -> None:
    with pytest.raises(DataError, match="no images; a verdict needs at least one"):
        drift_detector.check(np.zeros((0, 28, 28), np.uint8))


def test_of_many_images_a_random_part_is_tested(
    drift_detector: DriftDetector, real_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "MAX_ROWS", 100)
    images, labels = (array[3::4] for array in real_digits)
    result = drift_detector.check(images, labels)
    assert (result.n, result.tested) == (len(images), 100)
    assert all(row < len(images) for row in result.strangest)
