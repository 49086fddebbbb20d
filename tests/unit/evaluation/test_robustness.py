"""Error rates under corruptions."""

import numpy as np
import pytest

from digits.evaluation import corruptions, robustness


def test_each_corruption_has_its_error_rate_and_there_is_their_mean() -> None:
    images = np.zeros((4, 28, 28), np.uint8)
    images[:, 8:20, 12:16] = 255
    labels = np.array([1, 1, 1, 7])

    def always_one(images: np.ndarray) -> np.ndarray:
        return np.eye(10)[np.ones(len(images), int)]

    errors = robustness.corrupted_errors(always_one, images, labels, seed=0)
    assert set(errors) == {"mean_error", *(f"{name}_error" for name in corruptions.NAMES)}
    assert set(errors.values()) == {0.25}


def test_a_corruption_that_confuses_the_model_costs_accuracy() -> None:
    images = np.zeros((50, 28, 28), np.uint8)

    def seven_if_black(images: np.ndarray) -> np.ndarray:
        return np.eye(10)[np.where(images.any(axis=(1, 2)), 1, 7)]

    errors = robustness.corrupted_errors(seven_if_black, images, np.full(50, 7), seed=0)
    assert errors["impulse_noise_error"] == 1
    assert errors["translate_error"] == 0
    assert errors["mean_error"] == pytest.approx(np.mean(list(errors.values())[:-1]), abs=1e-6)
