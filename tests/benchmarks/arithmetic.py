"""Portable against fast arithmetic: the default model trained with both in turn, several seeds.

Each training run is a process of its own, as TensorFlow is set up once per process.
"""

import json
import subprocess
import sys
from statistics import mean, median, stdev

from benchmarks.bench import Bench, Result

SEEDS = 5
_PROGRAM = """
import json, sys, time
from digits.core import params
from digits.core.project import Project
from digits.models import settings

settings.choose(sys.argv[1])
from digits.data.dataset import Dataset
from digits.evaluation import metrics
from digits.models import networks
from digits.models.reference import Reference
from digits.training import loop

project = Project.find()
values, data = params.load(project.params), Dataset.read(project)
start = time.perf_counter()
trained = loop.train(
    data.train, data.val, data.scale, values.recipe, int(sys.argv[2]),
    log=lambda line: print(line, file=sys.stderr),
)
seconds = time.perf_counter() - start
predict = Reference(networks.joined([trained.model])).predict
accuracies = {
    name: metrics.score(split.labels, predict(split.images), values.evaluate)["accuracy"]
    for name, split in (("val", data.val), ("test", data.test))
}
print(json.dumps({"seconds": seconds, **accuracies}))
"""


def measure(bench: Bench) -> dict[str, Result]:
    runs: dict[str, list[dict[str, float]]] = {"portable": [], "fast": []}
    for seed in range(1, SEEDS + 1):
        for arithmetic, found in runs.items():
            found.append(_train(bench, arithmetic, seed))
            print(f"{arithmetic}, seed {seed}: {found[-1]}", flush=True)
    portable, fast = runs["portable"], runs["fast"]
    ratios = [p["seconds"] / f["seconds"] for p, f in zip(portable, fast, strict=True)]
    times = {name: median(run["seconds"] for run in found) for name, found in runs.items()}
    note = f"medians: {times['portable']:.0f} s and {times['fast']:.0f} s"
    return {
        "portable_time": Result(
            median(ratios), "× fast", "TensorFlow's default", "≤ 2 with AVX-512", ratios, note
        ),
        "portable_accuracy": _accuracy(portable, fast, "test"),
        "portable_val_accuracy": _accuracy(portable, fast, "val"),
    }


def _accuracy(portable: list[dict[str, float]], fast: list[dict[str, float]], split: str) -> Result:
    mine, reference = ([run[split] for run in runs] for runs in (portable, fast))
    spread = f"{mean(reference):.4f} ± {stdev(reference):.4f}, fast, same seeds"
    return Result(mean(mine), "share", spread, "within the spread", mine)


def _train(bench: Bench, arithmetic: str, seed: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, arithmetic, str(seed)],
        cwd=bench.project.root,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result
