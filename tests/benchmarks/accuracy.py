"""Test accuracy of a single network, mean over the seeds of all ensembles' members."""

from benchmarks.bench import Bench, Result, accuracy, minutes

REFERENCE = "0.9970 before tuning; 0.998, the best published, often chosen on the test set"


def measure(bench: Bench) -> dict[str, Result]:
    seeds = bench.member_seeds()
    return {
        "accuracy": accuracy(bench, "accurate", seeds, REFERENCE, "≥ 0.9975 (0.9980)"),
        "accuracy_minutes": minutes(bench, "accurate", seeds, "≤ 4"),
    }
