"""What benchmarks share: the result of a measurement, and access to trained models."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from digits.core import params
from digits.core.project import Project
from digits.data.dataset import Dataset
from digits.recogniser import Recogniser
from digits.zoo.cache import CachedModel, ModelCache
from digits.zoo.trainer import SeededRun, Trainer

BASELINE = "keras_example"
ENSEMBLE_SEEDS = 3


@dataclass(frozen=True)
class Result:
    """A figure, what it is compared with, and the measurements behind it."""

    value: float
    unit: str
    reference: str
    target: str
    runs: Sequence[float]
    note: str = ""

    def as_dict(self) -> dict[str, object]:
        """As in reports/benchmarks.json; `spread` is the runs' sample standard deviation."""
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
    """A project with splits; models come from the cache of `digits zoo` or are trained now."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.params = params.load(project.params)
        self.data = Dataset.read(project)
        self._cache = ModelCache(project, self.params.evaluate, self.data)

    def trained(self, name: str, seeds: int | Sequence[int]) -> list[CachedModel]:
        """A model, trained with several seeds.

        Args:
            seeds: how many, from `train.seed` upwards, or which.
        """
        recipe = self.params.models[name]
        if isinstance(seeds, int):
            seeds = range(self.params.train.seed, self.params.train.seed + seeds)
        runs = [SeededRun(name, recipe, seed) for seed in seeds]
        models = []
        for result in Trainer(self._cache, minutes=24 * 60).results(runs).values():
            if isinstance(result, str):
                raise SystemExit(f"{name}: {result}")
            models.append(result)
        return models

    def member_seeds(self) -> list[int]:
        """The seeds of all ensembles' members; `accurate` with these seeds is the same networks."""
        recipe, first = self.params.models["ensemble"], self.params.train.seed
        runs = [SeededRun("ensemble", recipe, first + i) for i in range(ENSEMBLE_SEEDS)]
        return [member.seed for run in runs for member in run.members()]

    def recogniser(self, name: str) -> Recogniser:
        """A model with the first seed, in ONNX Runtime."""
        return self.trained(name, 1)[0].recogniser()

    def keras(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """The `predict` of the same model in Keras."""
        (cached,) = self.trained(name, 1)
        (model,) = self._cache.networks(cached)
        return lambda images: model.predict(images, verbose=0)


def accuracy(
    bench: Bench, name: str, seeds: int | Sequence[int], reference: str, target: str, note: str = ""
) -> Result:
    """Mean test accuracy over seeds."""
    runs = [model.card["test"]["accuracy"] for model in bench.trained(name, seeds)]
    return Result(statistics.mean(runs), "share", reference, target, runs, note)


def minutes(bench: Bench, name: str, seeds: int | Sequence[int], target: str) -> Result:
    """Mean training time over seeds."""
    runs = [model.card["seconds"] / 60 for model in bench.trained(name, seeds)]
    return Result(statistics.mean(runs), "min of training, 2 cores", "", target, runs)
