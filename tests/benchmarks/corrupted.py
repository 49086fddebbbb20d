"""Mean error over MNIST-C, against Keras' MNIST example, three random starts each."""

from statistics import mean

import numpy as np

from benchmarks.bench import PEER, Bench, Result
from digits.evaluation import corruptions
from digits.recogniser import Recogniser

SEEDS = 3


def measure(bench: Bench) -> dict[str, Result]:
    test = bench.data.test
    asked = {
        name: [kept.recogniser() for kept in bench.trained(name, SEEDS)]
        for name in ("accurate", PEER)
    }
    errors = {name: np.zeros((SEEDS, len(corruptions.NAMES))) for name in asked}
    for column, name in enumerate(corruptions.NAMES):
        seed = bench.params.evaluate.corruption_seed
        images = corruptions.corrupt(np.asarray(test.images), name, seed)
        for model, recognisers in asked.items():
            errors[model][:, column] = [_error(one, images, test.labels) for one in recognisers]
    ours, peers = errors["accurate"].mean(axis=1), errors[PEER].mean(axis=1)
    worst = corruptions.NAMES[int(errors["accurate"].mean(axis=0).argmax())]
    return {
        "corrupted": Result(
            float(ours.mean()),
            "error, mean of 15",
            f"{peers.mean():.4f}, {PEER} in the same run",
            f"≤ {peers.mean() / 2:.4f}",
            ours.tolist(),
            f"worst: {worst}",
        ),
        "corrupted_ratio": Result(
            mean(ours / peers), "of the reference's error", PEER, "≤ 0.5", (ours / peers).tolist()
        ),
    }


def _error(recogniser: Recogniser, images: np.ndarray, labels: np.ndarray) -> float:
    return float((recogniser.predict(images).argmax(axis=1) != labels).mean())
