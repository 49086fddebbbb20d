"""The model comparison: every model is trained with several seeds, scored, timed and ranked.

Models are ranked by validation accuracy, the only figure to choose one by. Test metrics say what to
expect of the chosen model.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from digits.core.errors import ParameterError
from digits.core.params import Params, Recipe
from digits.core.project import Project
from digits.data.dataset import NAMES, Dataset
from digits.models import networks, weights
from digits.models.backend import ARITHMETIC
from digits.recogniser import Recogniser
from digits.training import fingerprint
from digits.zoo import trainer
from digits.zoo.cache import METRICS, CachedModel, ModelCache
from digits.zoo.machine import machine
from digits.zoo.trainer import Results, Trainer

_SPEED_IMAGES = 1024
_SPEED_RUNS = 5


def compare(
    project: Project,
    params: Params,
    names: Sequence[str] = (),
    seeds: int | None = None,
    minutes: float = 60,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train the models that are not cached, as far as the time allows, and compare all that are.

    Args:
        names: model names; default: all.
        seeds: how many per model, from `train.seed` upwards; default: 3, and 1 for MobileNet.
        minutes: time limit for training; 0 compares cached models only.
        log: called with progress, line by line.

    Returns:
        `machine`, `versions`, `arithmetic`, `images` (split → count) and `models`, by falling mean
        validation accuracy. Each model has its `seeds`, the seeds `not_trained` and why, metrics
        on `val` and `test` and training time in `seconds` (each with `mean`, sample standard
        deviation `std` and `values`), `parameters`, `onnx_bytes` and `images_per_second`.

    Raises:
        ParameterError: a model name is unknown, or its network can't be built.
        DataError: there are no splits.
    """
    if unknown := [name for name in names if name not in params.models]:
        raise ParameterError(
            f"params.yaml: 'models' has no {', '.join(map(repr, unknown))}; "
            f"known: {', '.join(params.models)}"
        )
    recipes = {name: params.models[name] for name in params.models if not names or name in names}
    data = Dataset.read(project)
    # before any training, so that a recipe whose network can't be built is reported at once
    sizes = {name: networks.parameters(recipe, *data.scale) for name, recipe in recipes.items()}
    cache = ModelCache(project, params.evaluate, data, log)
    runs = trainer.plan(recipes, params.train.seed, seeds)
    results = Trainer(cache, minutes).results(runs)
    trained = {run.name: model for run, model in results.items() if isinstance(model, CachedModel)}
    recognisers = {name: model.recogniser() for name, model in trained.items()}
    speeds = measure_speeds(recognisers, data.val.images)
    models = [
        _row(name, recipe, results) | {"parameters": sizes[name]} | speeds.get(name, {})
        for name, recipe in recipes.items()
    ]
    models.sort(key=lambda m: (-m["val"]["accuracy"]["mean"] if "val" in m else 0, m["name"]))
    return {
        "machine": machine(),
        "versions": fingerprint.versions() | {"onnxruntime": metadata.version("onnxruntime")},
        "arithmetic": ARITHMETIC,
        "images": {name: len(getattr(data, name).images) for name in NAMES},
        "models": models,
    }


def measure_speeds(
    recognisers: Mapping[str, Recogniser], images: np.ndarray
) -> dict[str, dict[str, float]]:
    """The `images_per_second` of each recogniser: the median of five runs.

    Args:
        images: uint8 `(n, 28, 28)`; the first 1,024 are used.
    """
    images = np.asarray(images[:_SPEED_IMAGES])
    actions = [partial(recogniser.predict, images) for recogniser in recognisers.values()]
    return {
        name: {"images_per_second": round(len(images) / median(seconds), 1)}
        for name, seconds in zip(recognisers, times(actions, _SPEED_RUNS), strict=True)
    }


def times(actions: Sequence[Callable[[], object]], runs: int) -> list[list[float]]:
    """The duration of each action in seconds, `runs` times, after one run as a warm-up.

    The actions take turns, so that a moment in which the machine is busy affects all of them.
    """
    durations: list[list[float]] = [[] for _ in actions]
    for _ in range(runs + 1):
        for action, seconds in zip(actions, durations, strict=True):
            start = time.perf_counter()
            action()
            seconds.append(time.perf_counter() - start)
    return [seconds[1:] for seconds in durations]


def _row(name: str, recipe: Recipe, results: Results) -> dict[str, Any]:
    by_seed = {run.seed: result for run, result in results.items() if run.name == name}
    trained = {seed: model for seed, model in by_seed.items() if isinstance(model, CachedModel)}
    row: dict[str, Any] = {
        "name": name,
        "network": recipe.network,
        "members": recipe.members,
        "seeds": list(trained),
        "not_trained": [
            {"seed": seed, "why": why} for seed, why in by_seed.items() if seed not in trained
        ],
    }
    if not trained:
        return row
    cards = [model.card for model in trained.values()]
    for split in ("val", "test"):
        row[split] = {
            metric: _spread([card[split][metric] for card in cards]) for metric in METRICS
        }
    row["seconds"] = _spread([card["seconds"] for card in cards])
    row["onnx_bytes"] = (next(iter(trained.values())).folder / weights.ONNX).stat().st_size
    return row


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation; the latter is None for a single value."""
    std = round(stdev(values), 6) if len(values) > 1 else None
    return {"mean": round(mean(values), 6), "std": std, "values": values}
