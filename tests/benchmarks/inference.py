"""Images a second in batches, and the latency of one image, against Keras' predict."""

from statistics import median

import numpy as np

from benchmarks.bench import PEER, Bench, Result
from digits.zoo.benchmark import times

RUNS = 7
COUNT = 2000


def measure(bench: Bench) -> dict[str, Result]:
    images = np.array(bench.data.val.images[:COUNT])
    peer = bench.keras(PEER)
    fast, accurate = bench.recogniser("fast"), bench.recogniser("accurate")
    slow, *ours = times(
        [lambda: peer(images), lambda: fast.predict(images), lambda: accurate.predict(images)],
        RUNS,
    )
    one = images[:1]
    single_peer, single = times([lambda: peer(one), lambda: accurate.predict(one)], 20)
    results = {
        f"throughput_{name}": Result(
            median(slow) / median(seconds),
            "× faster",
            f"Keras predict of {PEER}, {len(images) / median(slow):,.0f} images/s",
            target,
            [a / b for a, b in zip(slow, seconds, strict=True)],
            f"{len(images) / median(seconds):,.0f} images/s",
        )
        for name, seconds, target in zip(("fast", "accurate"), ours, ("≥ 5", "≥ 1"), strict=True)
    }
    results["latency"] = Result(
        1000 * median(single),
        "ms, one image, loaded",
        f"Keras predict of {PEER}, {1000 * median(single_peer):.0f} ms",
        "≤ 1",
        [1000 * seconds for seconds in single],
    )
    return results
