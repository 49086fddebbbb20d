"""Which images an epoch reads: those that are learned already less often than the others."""

import numpy as np

EASY = 0.9  # share of the images that counts as learned


def rows(difficulty: np.ndarray, skipped: float, rng: np.random.Generator) -> np.ndarray:
    """Rows of one epoch, as many as there are images.

    Selective backpropagation (Jiang et al. 2019) by the losses of former epochs, which cost
    nothing. The images are gone through as often as it takes; which of the easy ones are left out
    is drawn anew each time, so that none is forgotten.

    Args:
        difficulty: float `(n,)`, of each image; the lowest count as easy.
        skipped: share of all images that is left out each time, 0 to EASY.
    """
    chance = skipped / EASY * (difficulty <= np.quantile(difficulty, EASY))
    passes: list[np.ndarray] = []
    while sum(map(len, passes)) < len(difficulty):
        order = rng.permutation(len(difficulty))
        passes.append(order[rng.random(len(order)) >= chance[order]])
    return np.concatenate(passes)[: len(difficulty)]
