"""How a model reads images that are corrupted as in MNIST-C."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from digits.evaluation import corruptions

_PARALLEL = 2  # corruptions at a time; each needs memory for another copy of the images


def corrupted_errors(
    predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray, labels: np.ndarray, seed: int
) -> dict[str, float]:
    """The error rate under each corruption as `<name>_error`, and their mean as `mean_error`.

    Args:
        predict: images → probabilities `(n, 10)`.
        images: uint8 `(n, 28, 28)`.
        labels: int `(n,)`, 0–9.
        seed: of the corruptions.
    """

    def error(name: str) -> float:
        corrupted = corruptions.corrupt(images, name, seed)
        return float((predict(corrupted).argmax(axis=1) != labels).mean())

    with ThreadPoolExecutor(_PARALLEL) as pool:
        rates = list(pool.map(error, corruptions.NAMES))
    errors = {f"{name}_error": rate for name, rate in zip(corruptions.NAMES, rates, strict=True)}
    errors["mean_error"] = float(np.mean(rates))
    return {name: round(rate, 6) for name, rate in errors.items()}
