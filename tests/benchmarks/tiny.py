"""Parameter count of the smallest network, and its mean accuracy over three seeds."""

from benchmarks.bench import Bench, Result, accuracy

SEEDS = 3


def measure(bench: Bench) -> dict[str, Result]:
    (first, *_) = bench.trained("tiny", SEEDS)
    count = first.card["parameters"]
    return {
        "tiny_parameters": Result(count, "parameters", "3,888, PCapsNets", "< 3,000", [count]),
        "tiny_accuracy": accuracy(bench, "tiny", SEEDS, "", "≥ 0.990"),
    }
