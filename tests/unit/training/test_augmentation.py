"""Distortion of training images: what changes, and what doesn't."""

from typing import Any

import numpy as np
import pytest
from conftest import NO_AUGMENTATION

from digits.training import augmentation


def distorted(images: np.ndarray, seed: int = 1, **changes: Any) -> np.ndarray:
    params = NO_AUGMENTATION.model_copy(update=changes)
    return augmentation.distort(images, params, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def images(real_digits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return real_digits[0][:400]


@pytest.mark.parametrize(
    "change",
    [
        {"rotation": 10},
        {"scale": 0.1},
        {"shear": 0.1},
        {"shift": 1.5},
        {"elastic": 1.5},
        {"filtered": 1},
        {"noise": 1},
    ],
)
def test_each_distortion_changes_images_as_its_seed_says(
    images: np.ndarray, change: dict[str, float]
) -> None:
    before = images.copy()
    result = distorted(images, **change)
    assert result.dtype == np.uint8
    assert result.shape == images.shape
    assert (result != images).any(axis=(1, 2)).mean() > 0.4
    np.testing.assert_array_equal(result, distorted(images, **change))
    assert (result != distorted(images, seed=2, **change)).any()
    np.testing.assert_array_equal(images, before)


def test_nothing_is_changed_without_distortion(images: np.ndarray) -> None:
    np.testing.assert_array_equal(distorted(images), images)


def test_a_share_of_the_images_is_filtered_and_stays_in_its_place(images: np.ndarray) -> None:
    result = distorted(images, filtered=0.3)
    changed = (result != images).any(axis=(1, 2))
    assert 0.2 < changed.mean() < 0.4
    assert (result[changed].max(axis=(1, 2)) - result[changed].min(axis=(1, 2)) >= 254).all()
    for before, after in zip(images[changed], result[changed], strict=True):
        near_ink = np.pad(before > 0, 1)
        size = len(before)
        shifts = [(top, left) for top in range(3) for left in range(3)]
        near = np.any([near_ink[t : t + size, x : x + size] for t, x in shifts], axis=0)
        assert len(np.unique(after[~near])) <= 1  # an even ground stays even


def test_an_empty_picture_can_be_filtered() -> None:
    blank = np.zeros((3, 28, 28), np.uint8)
    np.testing.assert_array_equal(distorted(blank, filtered=1), blank)
