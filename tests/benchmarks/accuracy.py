"""Test accuracy of one network, mean over five random starts."""

from benchmarks.bench import Bench, Result, accuracy, minutes

SEEDS = 5
REFERENCE = "0.9970, an untuned start; 0.998, best published, often picked on the test set"


def measure(bench: Bench) -> dict[str, Result]:
    return {
        "accuracy": accuracy(bench, "accurate", SEEDS, REFERENCE, "≥ 0.9975 (0.9980)"),
        "accuracy_minutes": minutes(bench, "accurate", SEEDS, "≤ 4"),
    }
