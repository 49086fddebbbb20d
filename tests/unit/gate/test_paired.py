"""Paired statistics against values from the literature and by enumeration."""

import pytest

from digits.gate import paired


def test_mcnemar_is_the_exact_binomial_test() -> None:
    assert paired.mcnemar(0, 0) == 1.0
    assert paired.mcnemar(0, 10) == pytest.approx(2 / 2**10)
    assert paired.mcnemar(3, 9) == paired.mcnemar(9, 3) == pytest.approx(0.1460, abs=1e-4)


def test_a_difference_names_the_images_and_its_interval_covers_the_change() -> None:
    one = paired.difference({1, 2, 3}, {3, 4}, 100, 0.95)
    assert (one.newly_wrong, one.newly_right) == ([4], [1, 2])
    assert one.change == pytest.approx(0.01)
    assert one.interval[0] < 0.01 < one.interval[1]


def test_the_interval_has_the_width_of_the_normal_approximation_when_n_is_large() -> None:
    one = paired.difference(set(range(300)), set(range(200, 600)), 10_000, 0.95)
    # the variance of a difference of paired proportions is about (wrong + right) / n²
    wrong, right = len(one.newly_wrong), len(one.newly_right)
    expected = 2 * 1.96 * ((wrong + right) ** 0.5) / 10_000
    assert one.interval[1] - one.interval[0] == pytest.approx(expected, rel=0.1)


def test_holm_multiplies_the_smallest_most() -> None:
    adjusted = paired.holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert paired.holm({}) == {}
