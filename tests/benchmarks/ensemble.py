"""Test accuracy of the ensemble, mean over three draws that share no member."""

from benchmarks.bench import Bench, Result, accuracy, minutes

DRAWS = 3
REFERENCE = "0.9987–0.9991, An et al. 2020, chosen on the test set"


def measure(bench: Bench) -> dict[str, Result]:
    note = f"{bench.params.models['ensemble'].members} members"
    return {
        "ensemble": accuracy(bench, "ensemble", DRAWS, REFERENCE, "≥ 0.9980 (0.9985)", note),
        "ensemble_minutes": minutes(bench, "ensemble", DRAWS, "≤ 25"),
    }
