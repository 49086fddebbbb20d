"""Parameters of the smallest network, with its accuracy over five random starts."""

from statistics import mean

from benchmarks.bench import Bench, Result

SEEDS = 5


def measure(bench: Bench) -> dict[str, Result]:
    kept = bench.trained("tiny", SEEDS)
    runs = [one.card["test"]["accuracy"] for one in kept]
    return {
        "tiny_parameters": Result(
            kept[0].card["parameters"],
            "parameters",
            "3,888, PCapsNets",
            "< 3,000",
            [one.card["parameters"] for one in kept],
        ),
        "tiny_accuracy": Result(mean(runs), "share", "", "≥ 0.990", runs),
    }
