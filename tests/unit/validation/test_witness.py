"""The witness for labels: it reads digits, and knows a wrong label from a difficult image."""

import numpy as np
import pytest

from digits.validation import witness
from digits.validation.witness import Testimony

Digits = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits(real_digits: Digits) -> Digits:
    return real_digits[0], real_digits[1].astype(int)


@pytest.fixture(scope="module")
def features(digits: Digits) -> np.ndarray:
    return witness.describe(digits[0])


def test_it_reads_digits_that_it_has_not_seen(digits: Digits, features: np.ndarray) -> None:
    labels = digits[1]
    known = witness.fit(features[:1200], labels[:1200])
    assert (known.read(features[1200:]) == labels[1200:]).mean() > 0.93


def test_labels_sorted_by_digit_are_read_as_well(digits: Digits, features: np.ndarray) -> None:
    order = np.argsort(digits[1], kind="stable")
    labels = digits[1][order]
    read = witness.cross_read(features[order], labels).argmax(axis=1)
    assert (read == labels).mean() > 0.93


def test_exchanged_labels_are_wrong_and_trusted_least(digits: Digits, features: np.ndarray) -> None:
    labels = digits[1].copy()
    rows = np.random.default_rng(3).choice(len(labels), 60, replace=False)
    labels[rows] = (labels[rows] + 1) % 10
    testimony = Testimony.about(witness.cross_read(features, labels), labels)
    assert testimony.wrong[rows].mean() > 0.9
    assert np.delete(testimony.wrong, rows).mean() < 0.03
    least = np.argsort(testimony.trust)[:60]
    assert np.isin(least, rows).mean() > 0.75


def test_a_digit_that_was_not_seen_is_never_read(digits: Digits, features: np.ndarray) -> None:
    seen = digits[1] != 4
    known = witness.fit(features[seen], digits[1][seen])
    assert 4 not in known.read(features)


def test_images_that_are_all_alike_are_described_and_read_without_an_error() -> None:
    for level in (0, 200):
        features = witness.describe(np.full((30, 28, 28), level, dtype=np.uint8))
        scores = witness.cross_read(features, np.arange(30) % 10)
        assert scores.shape == (30, 10)
        assert not np.isnan(scores).any()


def test_features_are_whole_numbers_under_the_root(digits: Digits) -> None:
    squares = witness.describe(digits[0][:200]).astype(np.float64) ** 2
    np.testing.assert_allclose(squares, squares.round(), rtol=1e-6)
