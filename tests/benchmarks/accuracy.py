"""Test accuracy of one network, mean over the random starts of which the ensembles are made."""

from benchmarks.bench import Bench, Result, accuracy, minutes

REFERENCE = "0.9970, an untuned start; 0.998, best published, often picked on the test set"


def measure(bench: Bench) -> dict[str, Result]:
    seeds = bench.starts()
    return {
        "accuracy": accuracy(bench, "accurate", seeds, REFERENCE, "≥ 0.9975 (0.9980)"),
        "accuracy_minutes": minutes(bench, "accurate", seeds, "≤ 4"),
    }
