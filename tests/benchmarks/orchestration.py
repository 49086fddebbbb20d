"""What Prefect costs: a run with nothing to do, and a stage through a task instead of DVC alone."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

from benchmarks.bench import Bench, Result
from digits.core.errors import DigitsError
from digits.core.params import STAGES
from digits.core.project import Project
from digits.zoo.benchmark import times

RUNS = 5


def measure(bench: Bench) -> dict[str, Result]:
    import serving

    root = bench.project.root
    with (
        tempfile.TemporaryDirectory() as folder,
        serving.prefect_api(Project(Path(folder))) as url,
        # a process of its own: it ends, with Prefect's threads in it, before the server does
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        nothing_to_do, alone, by_task = pool.submit(_times, root, url).result()
    by_stage = [(b - a) / len(STAGES) for a, b in zip(alone, by_task, strict=True)]
    return {
        "orchestration_nothing_to_do": Result(
            median(nothing_to_do),
            "s, whole process, server up",
            "–",
            "≤ 5",
            nothing_to_do,
        ),
        "orchestration_stage": Result(
            median(by_stage),
            "s, a stage's task beyond 'dvc repro -s'",
            f"dvc repro -s, {median(alone) / len(STAGES):.2f} s",
            "≤ 1",
            by_stage,
            "flow with the six stages, unchanged, less DVC alone, a sixth of it",
        ),
    }


def _times(root: Path, url: str) -> tuple[list[float], list[float], list[float]]:
    """Seconds that a run with nothing to do takes, the stages alone, and the stages as tasks."""
    os.environ["PREFECT_API_URL"] = url  # read when Prefect is imported
    from prefect import flow

    from flows import tasks
    from flows.work import Work

    if stale := Work(Project(root)).stale:
        raise DigitsError(f"orchestration: {', '.join(stale)} is stale; run 'digits run'")
    empty_run = [sys.executable, "-m", "flows.pipeline", "--no-push"]
    (nothing_to_do,) = times([lambda: _run(empty_run, root)], RUNS)

    @flow
    def stages() -> None:
        for stage in STAGES:
            tasks.run_stage(stage, root)

    alone, by_task = times([lambda: _run_stages(root), stages], RUNS)
    return nothing_to_do, alone, by_task


def _run_stages(root: Path) -> None:
    for stage in STAGES:
        _run([sys.executable, "-m", "dvc", "repro", "--single-item", stage], root)


def _run(command: list[str], root: Path) -> None:
    subprocess.run(command, cwd=root, capture_output=True, check=True)
