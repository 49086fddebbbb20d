"""Harm: digits read well do no harm; what is no digit does, and its share is told."""

import json

import numpy as np
import pytest

from digits.drift import foreign
from digits.drift.harm import Estimate, Harm

TOLERANCE = 0.05


class Templates:
    """Stands in for a recogniser: compares images with the mean of each digit."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        means = np.stack([images[labels == d].mean(axis=0) for d in range(10)])
        self._means = means.reshape(10, -1) / 255

    def embed(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = images.reshape(len(images), -1) / 255
        distances = ((values[:, None] - self._means) ** 2).sum(axis=2)
        odds = np.exp(distances.min(axis=1, keepdims=True) - distances)
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        return distances.astype(np.float32), probabilities.astype(np.float32)


@pytest.fixture(scope="module")
def network(real_digits: tuple[np.ndarray, np.ndarray]) -> Templates:
    return Templates(*real_digits)


@pytest.fixture(scope="module")
def harm(real_digits: tuple[np.ndarray, np.ndarray], network: Templates) -> Harm:
    images, labels = real_digits
    return Harm.fit(network, images[:800], labels[:800], seed=7)


@pytest.fixture(scope="module")
def others(real_digits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Pictures that are no digits, of which the estimator has seen none."""
    return foreign.pictures(300, *real_digits, seed=99)


def estimate(harm: Harm, network: Templates, images: np.ndarray) -> Estimate:
    return harm.estimate(images, *network.embed(images), TOLERANCE)


def test_digits_do_no_harm_and_their_accuracy_is_within_its_interval(
    harm: Harm, network: Templates, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = (array[800:] for array in real_digits)
    result = estimate(harm, network, images)
    accuracy = (network.embed(images)[1].argmax(axis=1) == labels).mean()
    assert result.accuracy_low <= accuracy <= result.accuracy_high
    assert result.no_digit_share < 0.1
    assert not result.harmful


def test_what_is_no_digit_is_harmful(harm: Harm, network: Templates, others: np.ndarray) -> None:
    result = estimate(harm, network, others)
    assert result.harmful
    assert result.no_digit_share > 0.8
    assert result.estimated_accuracy < 0.2


def test_the_share_of_a_mixture_is_within_its_interval(
    harm: Harm,
    network: Templates,
    others: np.ndarray,
    real_digits: tuple[np.ndarray, np.ndarray],
) -> None:
    mixed = np.concatenate([others[:100], real_digits[0][800:900]])
    result = estimate(harm, network, mixed)
    assert result.no_digit_low < 0.5 < result.no_digit_high
    assert result.no_digit[:100].mean() > result.no_digit[100:].mean() + 0.3


def test_single_digits_are_hardly_ever_harmful(
    harm: Harm, network: Templates, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    results = [estimate(harm, network, image[None]) for image in real_digits[0][800:1000]]
    assert sum(result.harmful for result in results) <= 4
    assert all(len(result.no_digit) == 1 for result in results)


def test_an_estimator_that_was_saved_gives_the_same_estimate(
    harm: Harm, network: Templates, others: np.ndarray
) -> None:
    saved = Harm.from_dict(json.loads(json.dumps(harm.as_dict())))
    one, other = (estimate(h, network, others[:20]) for h in (harm, saved))
    np.testing.assert_array_equal(one.no_digit, other.no_digit)
    assert one.estimated_accuracy == other.estimated_accuracy


def test_foreign_pictures_are_distinct_and_the_same_for_the_same_seed(
    others: np.ndarray, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    again = foreign.pictures(300, *real_digits, seed=99)
    np.testing.assert_array_equal(others, again)
    assert len(np.unique(others, axis=0)) > 290
    assert (others.max(axis=(1, 2)) > 0).all()
