"""Mean error on MNIST-C, compared with Keras' MNIST example, three seeds each."""

from statistics import mean

import numpy as np

from benchmarks.bench import BASELINE, Bench, Result
from digits.evaluation import corruptions
from digits.recogniser import Recogniser

SEEDS = 3


def measure(bench: Bench) -> dict[str, Result]:
    test = bench.data.test
    trained = {
        name: [model.recogniser() for model in bench.trained(name, SEEDS)]
        for name in ("accurate", BASELINE)
    }
    errors = {name: np.zeros((SEEDS, len(corruptions.NAMES))) for name in trained}
    for column, name in enumerate(corruptions.NAMES):
        seed = bench.params.evaluate.corruption_seed
        images = corruptions.corrupt(np.asarray(test.images), name, seed)
        for model, recognisers in trained.items():
            errors[model][:, column] = [_error(r, images, test.labels) for r in recognisers]
    ours, baseline = errors["accurate"].mean(axis=1), errors[BASELINE].mean(axis=1)
    worst = corruptions.NAMES[int(errors["accurate"].mean(axis=0).argmax())]
    return {
        "corrupted": Result(
            float(ours.mean()),
            "error, mean of 15",
            f"{baseline.mean():.4f}, {BASELINE} in the same run",
            f"≤ {baseline.mean() / 2:.4f}",
            ours.tolist(),
            f"worst: {worst}",
        ),
        "corrupted_ratio": Result(
            mean(ours / baseline),
            "of the baseline's error",
            BASELINE,
            "≤ 0.5",
            (ours / baseline).tolist(),
        ),
    }


def _error(recogniser: Recogniser, images: np.ndarray, labels: np.ndarray) -> float:
    return float((recogniser.predict(images).argmax(axis=1) != labels).mean())
