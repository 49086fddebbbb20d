"""Which images an epoch reads."""

import numpy as np

from digits.training import minibatches

IMAGES = 1000


def counts(difficulty: np.ndarray, skipped: float, epochs: int = 1) -> np.ndarray:
    """How often each image is read."""
    rng = np.random.default_rng(1)
    rows = [minibatches.sample(difficulty, skipped, rng) for _ in range(epochs)]
    assert all(len(epoch) == IMAGES for epoch in rows)
    return np.bincount(np.concatenate(rows), minlength=IMAGES)


def test_hard_images_are_read_more_often_and_easy_ones_never_forgotten() -> None:
    difficulty = np.random.default_rng(2).permutation(IMAGES).astype(float)
    read = counts(difficulty, 0.6, epochs=20)
    hard = difficulty >= IMAGES * minibatches.EASY
    assert abs(read[hard].mean() / 20 - 2.5) < 0.1  # 0.4 of the images a time: 2.5 times an epoch
    assert abs(read[~hard].mean() / 20 - 2.5 / 3) < 0.03  # a third of that
    assert read.min() > 0


def test_an_epoch_without_skipping_reads_each_image_once() -> None:
    assert counts(np.arange(IMAGES), 0).tolist() == [1] * IMAGES
