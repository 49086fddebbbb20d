"""Near-copies are found whatever was done to the copy; digits that are only alike are not."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from digits.validation import near_copies

COUNT = 60


def _noisy(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 5, images.shape)
    return np.clip(images + noise, 0, 255).round().astype(np.uint8)


def _recompressed(images: np.ndarray) -> np.ndarray:
    pictures = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=80)
        pictures.append(np.asarray(Image.open(file)))
    return np.stack(pictures)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "shifted by a pixel": lambda images: np.roll(images, 1, axis=2),
    "shifted diagonally by two pixels": lambda images: np.roll(images, (2, -2), axis=(1, 2)),
    "noisy": _noisy,
    "recompressed": _recompressed,
    "a little darker": lambda images: (images * 0.95).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found(change: str, real_digits: tuple[np.ndarray, np.ndarray]) -> None:
    images = real_digits[0][:600]
    pairs = near_copies.find(np.concatenate([images, CHANGES[change](images[:COUNT])]))
    copies = pairs.second >= len(images)
    assert len(set(pairs.second[copies])) >= 0.9 * COUNT
    assert (pairs.first[copies] == pairs.second[copies] - len(images)).mean() > 0.9
    assert (np.diff(pairs.difference) >= -1e-6).all()


def test_different_digits_are_not_near_copies(real_digits: tuple[np.ndarray, np.ndarray]) -> None:
    assert len(near_copies.find(real_digits[0][:600]).first) <= 10


@pytest.mark.parametrize("level", [0, 90])
def test_hundreds_of_equal_images_are_no_problem(level: int) -> None:
    pairs = near_copies.find(np.full((500, 28, 28), level, dtype=np.uint8))
    assert len(pairs.first) <= 6 * 500


def test_few_images_have_no_near_copies(real_digits: tuple[np.ndarray, np.ndarray]) -> None:
    assert len(near_copies.find(real_digits[0][:3]).first) == 0
    assert len(near_copies.find(real_digits[0][:0]).first) == 0
