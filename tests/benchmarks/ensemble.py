"""Test accuracy of the ensemble, mean over three draws that share no member."""

from statistics import mean

from benchmarks.bench import Bench, Result

DRAWS = 3


def measure(bench: Bench) -> dict[str, Result]:
    kept = bench.trained("ensemble", DRAWS)
    runs = [one.card["test"]["accuracy"] for one in kept]
    minutes = [one.card["seconds"] / 60 for one in kept]
    return {
        "ensemble": Result(
            mean(runs),
            "share",
            "0.9987–0.9991, An et al. 2020, chosen on the test set",
            "≥ 0.9980 (0.9985)",
            runs,
            f"{bench.params.models['ensemble'].members} members",
        ),
        "ensemble_minutes": Result(mean(minutes), "min of training, 2 cores", "", "≤ 25", minutes),
    }
