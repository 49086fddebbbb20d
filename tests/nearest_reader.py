"""Stands in for a trained recogniser: tests of drift need one at once."""

from pathlib import Path

import numpy as np

from digits.core.params import Drift
from digits.data.dataset import Split
from digits.drift.detector import DriftDetector

PARAMS = Drift(reference_count=450, alpha=0.01, tolerance=0.05, permutations=999, seed=7)


class NearestReader:
    """It reads the digit with the most similar blurred mean."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._means = np.stack([self._see(images[labels == d]).mean(axis=0) for d in range(10)])

    def embed(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        embedding = self._see(images)
        distances = ((embedding[:, None] - self._means) ** 2).sum(axis=2)
        scores = np.exp(-3 * (distances - distances.min(axis=1, keepdims=True)))
        probabilities = scores / scores.sum(axis=1, keepdims=True)
        return embedding.astype(np.float32), probabilities.astype(np.float32)

    def _see(self, images: np.ndarray) -> np.ndarray:
        blocks = images.reshape(len(images), 7, 4, 7, 4).mean(axis=(2, 4), dtype=np.float64)
        return blocks.reshape(len(images), 49) / 255


def reader(images: np.ndarray, labels: np.ndarray) -> NearestReader:
    """It has seen every second image."""
    return NearestReader(images[::2], labels[::2])


def detector(images: np.ndarray, labels: np.ndarray, folder: Path) -> DriftDetector:
    """Fitted on every fourth image and the next; the fourth of each four is unseen."""
    train, val = (Split(images[i::4], labels[i::4]) for i in (0, 1))
    network = reader(images, labels)
    DriftDetector.fit(network, train, val, {}, PARAMS, 128, folder)
    return DriftDetector.read(folder, network, PARAMS, 128)
