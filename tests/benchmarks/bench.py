"""What benchmarks share: a result, and the networks they ask for."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from digits.core import params
from digits.core.project import Project
from digits.data.dataset import Dataset
from digits.recogniser import Recogniser
from digits.zoo.cache import Kept, Shelf
from digits.zoo.trainer import Draw, Trainer

PEER = "keras_example"
DRAWS = 3  # of the ensemble


@dataclass(frozen=True)
class Result:
    """A figure, what it is held against, and the single measurements behind it."""

    value: float
    unit: str
    reference: str
    target: str
    runs: Sequence[float]
    note: str = ""

    def as_dict(self) -> dict[str, object]:
        """With the sample standard deviation of the runs as `spread`."""
        spread = statistics.stdev(self.runs) if len(self.runs) > 1 else 0.0
        return {
            "value": round(self.value, 6),
            "unit": self.unit,
            "reference": self.reference,
            "target": self.target,
            "runs": [round(run, 6) for run in self.runs],
            "spread": round(spread, 6),
            "note": self.note,
        }


class Bench:
    """A project whose splits are made, and trained networks from its zoo."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.params = params.load(project.params)
        self.data = Dataset.read(project)
        self._shelf = Shelf(project, self.params.evaluate, self.data)

    def trained(self, name: str, seeds: int | Sequence[int]) -> list[Kept]:
        """A network a random start, trained now or taken from the zoo's cache.

        Args:
            seeds: how many, from `train.seed` on, or which.
        """
        recipe = self.params.models[name]
        if isinstance(seeds, int):
            seeds = range(self.params.train.seed, self.params.train.seed + seeds)
        wanted = [Draw(name, recipe, seed) for seed in seeds]
        trainer = Trainer(self.project, self.data, self._shelf, 24 * 60, print)
        results = trainer.results(wanted)
        failed = [why for why in results.values() if isinstance(why, str)]
        if failed:
            raise SystemExit(f"{name}: {failed[0]}")
        return [results[draw] for draw in wanted]  # type: ignore[misc]

    def starts(self) -> list[int]:
        """The seeds of `accurate` of which the ensemble's draws are made: each is trained once."""
        recipe, first = self.params.models["ensemble"], self.params.train.seed
        draws = (Draw("ensemble", recipe, first + place) for place in range(DRAWS))
        return [task.seed for draw in draws for task in draw.trainings()]

    def recogniser(self, name: str) -> Recogniser:
        """The first of `trained`."""
        return self.trained(name, 1)[0].recogniser()

    def keras(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """The same network's `predict` in Keras."""
        (kept,) = self.trained(name, 1)
        (model,) = self._shelf.members(kept)
        return lambda images: model.predict(images, verbose=0)


def accuracy(
    bench: Bench, name: str, seeds: int | Sequence[int], reference: str, target: str, note: str = ""
) -> Result:
    """Mean accuracy on the test set, which chose nothing, over random starts."""
    runs = [kept.card["test"]["accuracy"] for kept in bench.trained(name, seeds)]
    return Result(statistics.mean(runs), "share", reference, target, runs, note)


def minutes(bench: Bench, name: str, seeds: int | Sequence[int], target: str) -> Result:
    """Mean time of training."""
    runs = [kept.card["seconds"] / 60 for kept in bench.trained(name, seeds)]
    return Result(statistics.mean(runs), "min of training, 2 cores", "", target, runs)
