"""All models side by side: each trained from several random starts, within a budget of time.

Nothing is chosen by the test set: whoever picks a model picks it by validation accuracy, which the
comparison is sorted by; test figures say what to expect of the pick. Trainings are in draws, how
the comparison looks is in exhibits.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from digits.core.errors import ParameterError
from digits.core.params import Params, Recipe
from digits.core.project import Project
from digits.data.dataset import Dataset
from digits.models import networks
from digits.recogniser import Recogniser
from digits.training import fingerprint
from digits.zoo import cache, trainer
from digits.zoo.cache import Kept, Shelf
from digits.zoo.trainer import Draw, Trainer

Results = dict[Draw, Kept | str]  # a network, or why there is none
Say = Callable[[str], None]

_SPEED_IMAGES = 1024
_SPEED_RUNS = 5


def compare(
    project: Project,
    params: Params,
    names: Sequence[str] = (),
    seeds: int | None = None,
    minutes: float = 60,
    say: Say = print,
) -> dict[str, Any]:
    """Train what isn't kept yet, while the budget lasts, then compare what there is.

    Args:
        names: of models; default: all.
        seeds: how many random starts of each, from `train.seed` on; default: 3, and 1 of MobileNet.
        minutes: the budget; 0 compares what is kept.
        say: called with lines of progress.

    Returns:
        `machine`, `versions`, `images` (split → how many), and `models`, the best mean
        validation accuracy first. Each of these has its `seeds`, what is `not_trained` and why,
        figures on `val` and `test` and `seconds` of training (each with `mean`, sample standard
        deviation `std` and `values`), `parameters`, `onnx_bytes` and `images_per_second`.

    Raises:
        ParameterError: a model is unknown, or can't be built.
        DataError: there are no splits.
    """
    recipes = _chosen(params, names)
    data = Dataset.read(project)
    # a recipe that can't be built is told before anything is trained
    sizes = {name: networks.parameters(recipe, *data.scale) for name, recipe in recipes.items()}
    store = Shelf(project, params.evaluate, data, say)
    wanted = list(trainer.plan(recipes, params.train.seed, seeds))
    results = Trainer(project, data, store, minutes, say).results(wanted)
    speeds = measure_speeds(_recognisers(results), data.val.images)
    rows = [
        _row(name, recipe, results) | {"parameters": sizes[name]} | speeds.get(name, {})
        for name, recipe in recipes.items()
    ]
    return {
        "machine": machine(),
        "versions": fingerprint.versions() | {"onnxruntime": metadata.version("onnxruntime")},
        "images": {name: len(getattr(data, name).images) for name in ("train", "val", "test")},
        "models": sorted(rows, key=_rank),
    }


def measure_speeds(
    recognisers: Mapping[str, Recogniser], images: np.ndarray
) -> dict[str, dict[str, float]]:
    """`images_per_second` of each: the median of five runs, by turns.

    Args:
        images: uint8 `(n, 28, 28)`; the first 1,024 are read, in the recogniser's batches.
    """
    images = np.asarray(images[:_SPEED_IMAGES])
    actions = [partial(recogniser.predict, images) for recogniser in recognisers.values()]
    return {
        name: {"images_per_second": round(len(images) / statistics.median(seconds), 1)}
        for name, seconds in zip(recognisers, times(actions, _SPEED_RUNS), strict=True)
    }


def times(actions: Sequence[Callable[[], object]], runs: int) -> list[list[float]]:
    """Seconds of each action, `runs` times, after one that doesn't count.

    They take turns, so that a moment in which the machine is busy hits all alike.
    """
    found: list[list[float]] = [[] for _ in actions]
    for run in range(runs + 1):
        for action, seconds in zip(actions, found, strict=True):
            start = time.perf_counter()
            action()
            if run:
                seconds.append(time.perf_counter() - start)
    return found


def _chosen(params: Params, names: Sequence[str]) -> dict[str, Recipe]:
    if unknown := [name for name in names if name not in params.models]:
        raise ParameterError(
            f"params.yaml: no model {', '.join(map(repr, unknown))}; "
            f"known: {', '.join(params.models)}"
        )
    return {name: recipe for name, recipe in params.models.items() if not names or name in names}


def _recognisers(results: Results) -> dict[str, Recogniser]:
    """One of each model."""
    found: dict[str, Recogniser] = {}
    for draw, result in results.items():
        if isinstance(result, Kept) and draw.name not in found:
            found[draw.name] = result.recogniser()
    return found


def _row(name: str, recipe: Recipe, results: Results) -> dict[str, Any]:
    own = {draw.seed: result for draw, result in results.items() if draw.name == name}
    kept = {seed: result for seed, result in own.items() if isinstance(result, Kept)}
    row: dict[str, Any] = {
        "name": name,
        "network": recipe.network,
        "members": recipe.members,
        "seeds": list(kept),
        "not_trained": [
            {"seed": seed, "why": why} for seed, why in own.items() if isinstance(why, str)
        ],
    }
    cards = [result.card for result in kept.values()]
    if not cards:
        return row
    for split in ("val", "test"):
        row[split] = {key: _spread([card[split][key] for card in cards]) for key in cache.FIGURES}
    row["seconds"] = _spread([card["seconds"] for card in cards])
    row["onnx_bytes"] = next(iter(kept.values())).onnx_bytes
    return row


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation, which one value alone doesn't have."""
    std = round(statistics.stdev(values), 6) if len(values) > 1 else None
    return {"mean": round(statistics.mean(values), 6), "std": std, "values": list(values)}


def _rank(row: Mapping[str, Any]) -> tuple[float, str]:
    return (-row["val"]["accuracy"]["mean"] if "val" in row else 1, row["name"])


def machine() -> dict[str, Any]:
    """What figures of speed were measured on."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _cpu() -> str:
    """The processor's name as Linux tells it, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
