"""Change: p-values that are right at every size, and views that name what happened."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ink_reader import InkReader

from digits.core.errors import DataError
from digits.drift import detector
from digits.drift.change import ChangeResult, ChangeTest, Finding, Scores

Check = Callable[[np.ndarray], ChangeResult]


@pytest.fixture(scope="module")
def network(real_digits: tuple[np.ndarray, np.ndarray]) -> Any:
    return InkReader(real_digits[0][:600], real_digits[1][:600])


@pytest.fixture(scope="module")
def scores(network: Any, real_digits: tuple[np.ndarray, np.ndarray]) -> Scores:
    return Scores.fit(detector.describe(network, real_digits[0][:600], 128))


@pytest.fixture(scope="module")
def unseen(network: Any, real_digits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Images that nothing was fitted on, in random order: 600 for reference, the rest to test."""
    return np.random.default_rng(0).permutation(real_digits[0][600:])


@pytest.fixture(scope="module")
def check(network: Any, scores: Scores, unseen: np.ndarray) -> Check:
    reference = scores.rows(detector.describe(network, unseen[:600], 128))
    test = ChangeTest(scores, reference, seed=7)
    return lambda images: test.check(scores.rows(detector.describe(network, images, 128)))


@pytest.mark.parametrize(("n", "size"), [(1, 150), (12, 150), (230, 100)])
def test_without_a_change_p_values_are_uniform(
    network: Any, scores: Scores, unseen: np.ndarray, n: int, size: int
) -> None:
    rows = scores.rows(detector.describe(network, unseen, 128))
    rng = np.random.default_rng(n)
    p_values = []
    for _ in range(200):
        order = rng.permutation(len(rows))
        test = ChangeTest(scores, rows.take(order[n : n + 800]), seed=7, permutations=199)
        p_values.append(test.p_value(rows.take(order[:n])))
    for alpha in (0.05, 0.2, 0.5, 0.8):
        spread = (alpha * (1 - alpha) / 200) ** 0.5
        assert np.mean(np.array(p_values) <= alpha) <= alpha + 3 * spread
    assert np.mean(p_values) < 0.6  # not merely cautious


def test_no_change_is_seen_in_images_like_the_reference(check: Check, unseen: np.ndarray) -> None:
    result = check(unseen[600:])
    assert result.p_value > 0.05
    assert min(found.p_value for found in result.features.values()) > 0.05
    assert max(found.distance for found in result.features.values()) < 0.25


def test_a_faint_noise_is_named_by_the_picture(check: Check, unseen: np.ndarray) -> None:
    images = unseen[600:650]
    noise = np.random.default_rng(1).integers(0, 3, images.shape, np.uint8)
    result = check(np.maximum(images, noise))
    assert result.p_value < 0.01
    assert result.views["picture"].p_value < 0.01
    assert result.views["digits"].p_value > 0.05
    assert next(iter(result.features)) in ("faint", "length", "bright", "softness", "noise")


def test_shifted_images_are_named_by_their_centre(check: Check, unseen: np.ndarray) -> None:
    result = check(np.roll(unseen[600:650], 6, axis=2))
    assert result.p_value < 0.01
    assert result.features["right"].p_value < 0.01
    assert result.features["right"].distance > 3
    assert result.features["down"].p_value > 0.05


def test_a_missing_digit_is_named(check: Check, network: Any, unseen: np.ndarray) -> None:
    images = unseen[600:]
    read = network.embed(images)[1].argmax(axis=1)
    result = check(images[read != 3])
    assert result.p_value < 0.01
    assert result.views["digits"].p_value < 0.01
    assert result.views["digits"].distance == pytest.approx((read == 3).mean(), abs=0.1)
    assert next(iter(result.features)) == "digit 3"
    assert result.features["digit 3"].view == "digits"


def test_few_strange_images_are_found_and_named(check: Check, unseen: np.ndarray) -> None:
    images = unseen[600:620].copy()
    images[[4, 11]] = 255 - images[[4, 11]]
    result = check(images)
    assert result.p_value < 0.05
    assert result.views["strangest"].p_value < 0.05
    assert set(list(result.strangest)[:2]) == {4, 11}
    assert result.strangest[4] == result.strangest[11] == 0


def test_one_image_gets_a_verdict(check: Check, unseen: np.ndarray) -> None:
    assert check(unseen[600:601]).p_value > 0.05
    assert check(255 - unseen[600:601]).p_value < 0.02


def test_no_images_are_an_error(check: Check, unseen: np.ndarray) -> None:
    with pytest.raises(DataError, match="no images"):
        check(unseen[:0])


def test_the_same_batch_gives_the_same_result(check: Check, unseen: np.ndarray) -> None:
    assert check(unseen[600:800]) == check(unseen[600:800])


def test_a_batch_larger_than_the_reference_is_tested(check: Check, unseen: np.ndarray) -> None:
    many = np.concatenate([unseen[:600]] * 3)
    assert check(many).n == 1800
    assert check(many // 2).p_value < 0.01


def test_a_small_reference_is_compared_with_a_large_batch(
    network: Any, scores: Scores, unseen: np.ndarray
) -> None:
    rows = scores.rows(detector.describe(network, unseen, 128))
    test = ChangeTest(scores, rows.take(np.arange(40)), seed=7)
    other = scores.rows(detector.describe(network, unseen[40:] // 2, 128))
    assert test.p_value(rows.take(np.arange(40, len(rows)))) > 0.01  # by chance .033
    assert test.p_value(other) < 0.01


def test_what_is_not_a_number_is_named(network: Any, scores: Scores, unseen: np.ndarray) -> None:
    table = detector.describe(network, unseen[:5], 128)
    table.loc[2, "slant"] = np.nan
    table.loc[3, "e7"] = np.inf
    with pytest.raises(DataError, match="not a number in slant, e7"):
        scores.rows(table)


def test_a_missing_column_is_named(network: Any, scores: Scores, unseen: np.ndarray) -> None:
    table = detector.describe(network, unseen[:5], 128).drop(columns=["faint", "e3"])
    with pytest.raises(DataError, match="no faint, e3"):
        scores.rows(table)


def test_constant_features_do_no_harm(network: Any, scores: Scores, unseen: np.ndarray) -> None:
    table = detector.describe(network, unseen, 128).assign(slant=0.25, doubt=-3.0)
    constant = Scores.fit(table[:500])
    test = ChangeTest(constant, constant.rows(table[500:1000]), seed=7)
    same = test.check(constant.rows(table[1000:1100]))
    assert same.p_value > 0.05
    assert same.features["slant"] == Finding("picture", p_value=1.0, distance=0.0)
    other = test.check(constant.rows(table[1000:1100].assign(slant=0.5)))
    assert other.p_value < 0.01
    assert next(iter(other.features)) == "slant"
    assert other.features["slant"].distance == 0.25
