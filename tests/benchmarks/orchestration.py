"""What Prefect costs: a run with nothing to do, and a stage through a task instead of DVC alone."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.bench import Bench, Result
from digits.core.params import STAGES
from digits.core.project import Project
from digits.zoo.benchmark import times

RUNS = 5


def measure(bench: Bench) -> dict[str, Result]:
    import serving

    root = bench.project.root
    with tempfile.TemporaryDirectory() as folder, serving.prefect_api(Project(Path(folder))) as url:
        os.environ["PREFECT_API_URL"] = url  # read when Prefect is imported
        from prefect import flow

        from flows import summary, tasks

        if stale := summary.stale(bench.project):
            raise SystemExit(f"orchestration: {', '.join(stale)} is stale; run 'digits run'")
        empty_run = [sys.executable, "-m", "flows.pipeline", "--no-push"]
        (nothing_to_do,) = times([lambda: _run(empty_run, root)], RUNS)

        @flow
        def stages() -> None:
            for stage in STAGES:
                tasks.run_stage(stage, root)

        alone, by_task = times([lambda: _run_stages(root), stages], RUNS)
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


def _run_stages(root: Path) -> None:
    for stage in STAGES:
        _run([sys.executable, "-m", "dvc", "repro", "--single-item", stage], root)


def _run(command: list[str], root: Path) -> None:
    subprocess.run(command, cwd=root, capture_output=True, check=True)
