"""Test accuracy of the ensemble, mean over three draws that share no member."""

from benchmarks.bench import DRAWS, Bench, Result, accuracy, minutes

REFERENCE = "0.9987–0.9991, An et al. 2020, chosen on the test set"


def measure(bench: Bench) -> dict[str, Result]:
    recipe = bench.params.models["ensemble"]
    note = f"{recipe.members} members, {recipe.views} views"
    return {
        "ensemble": accuracy(bench, "ensemble", DRAWS, REFERENCE, "≥ 0.9980 (0.9985)", note),
        "ensemble_minutes": minutes(bench, "ensemble", DRAWS, "≤ 25"),
    }
