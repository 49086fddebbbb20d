"""A reader that needs no training run: for tests of what reads its embedding."""

import numpy as np


class InkReader:
    """Stands in for a recogniser: reads the digit whose mean image is nearest."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.means = np.stack([self.embedding(images[labels == d]).mean(axis=0) for d in range(10)])

    def embedding(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196) / 255

    def embed(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        embedding = self.embedding(images)
        squares = ((embedding[:, None] - self.means) ** 2).sum(axis=2)
        odds = np.exp(squares.min(axis=1, keepdims=True) - squares)
        return embedding, odds / odds.sum(axis=1, keepdims=True)
