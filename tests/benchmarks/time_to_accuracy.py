"""How much faster `fast` reaches the accuracy of Keras' MNIST example than that example itself.

All models are trained now, one after the other, with the data in memory. The time includes tracing
the network and validation.
"""

import time
from statistics import mean, median

import numpy as np

from benchmarks.bench import BASELINE, Bench, Result
from digits.data.dataset import Split
from digits.evaluation import metrics
from digits.models import networks
from digits.models.backend import keras
from digits.training import loop

SEEDS = 5


def measure(bench: Bench) -> dict[str, Result]:
    baseline_seconds, baseline_accuracy = _train(bench, BASELINE, 1)
    runs = [_train(bench, "fast", seed) for seed in range(1, SEEDS + 1)]
    ratios = [baseline_seconds / seconds for seconds, _ in runs]
    accuracies = [accuracy for _, accuracy in runs]
    return {
        "time_to_accuracy": Result(
            baseline_seconds / median(seconds for seconds, _ in runs),
            "× faster",
            f"{BASELINE}, {baseline_seconds:.0f} s",
            "≥ 20",
            ratios,
        ),
        "time_to_accuracy_accuracy": Result(
            mean(accuracies),
            "share",
            f"{baseline_accuracy:.4f}, {BASELINE} after its epochs",
            f"≥ {baseline_accuracy:.4f}",
            accuracies,
        ),
    }


def _train(bench: Bench, name: str, seed: int) -> tuple[float, float]:
    keras.backend.clear_session()
    data, val, test = (
        Split(np.array(split.images), np.array(split.labels))
        for split in (bench.data.train, bench.data.val, bench.data.test)
    )
    start = time.perf_counter()
    trained = loop.train(data, val, bench.data.scale, bench.params.models[name], seed)
    seconds = time.perf_counter() - start
    _, probabilities = networks.joined([trained.model]).predict(test.images, verbose=0)
    accuracy = metrics.score(test.labels, probabilities, bench.params.evaluate)["accuracy"]
    print(f"{name}, seed {seed}: {seconds:.1f} s, accuracy {accuracy:.4f}")
    return seconds, accuracy
