"""Throughput in batches and latency of one image, compared with Keras' predict."""

from statistics import median

import numpy as np

from benchmarks.bench import BASELINE, Bench, Result
from digits.zoo.benchmark import times

RUNS = 7
COUNT = 2000


def measure(bench: Bench) -> dict[str, Result]:
    images = np.array(bench.data.val.images[:COUNT])
    baseline = bench.keras(BASELINE)
    fast, accurate = bench.recogniser("fast"), bench.recogniser("accurate")
    slow, *ours = times(
        [lambda: baseline(images), lambda: fast.predict(images), lambda: accurate.predict(images)],
        RUNS,
    )
    one = images[:1]
    single_baseline, single = times([lambda: baseline(one), lambda: accurate.predict(one)], 20)
    results = {
        f"throughput_{name}": Result(
            median(slow) / median(seconds),
            "× faster",
            f"Keras predict of {BASELINE}, {len(images) / median(slow):,.0f} images/s",
            target,
            [a / b for a, b in zip(slow, seconds, strict=True)],
            f"{len(images) / median(seconds):,.0f} images/s",
        )
        for name, seconds, target in zip(("fast", "accurate"), ours, ("≥ 5", "≥ 1"), strict=True)
    }
    results["latency"] = Result(
        1000 * median(single),
        "ms, one image, loaded",
        f"Keras predict of {BASELINE}, {1000 * median(single_baseline):.0f} ms",
        "≤ 1",
        [1000 * seconds for seconds in single],
    )
    return results
