"""Test accuracy of the ensemble, mean over three seeds without common members."""

from benchmarks.bench import ENSEMBLE_SEEDS, Bench, Result, accuracy, minutes

REFERENCE = "0.9987–0.9991, An et al. 2020, chosen on the test set"


def measure(bench: Bench) -> dict[str, Result]:
    recipe = bench.params.models["ensemble"]
    note = f"{recipe.members} members, {recipe.views} views"
    return {
        "ensemble": accuracy(
            bench, "ensemble", ENSEMBLE_SEEDS, REFERENCE, "≥ 0.9980 (0.9985)", note
        ),
        "ensemble_minutes": minutes(bench, "ensemble", ENSEMBLE_SEEDS, "≤ 25"),
    }
