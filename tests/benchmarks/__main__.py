"""Run benchmarks and write reports/benchmarks.json and .md: `make bench [NAME=…]`."""

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from digits.core import files, processes
from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.formatting import markdown_table
from digits.models import settings
from digits.zoo.machine import machine

FOLDER = Path(__file__).parent
NAMES = sorted(
    path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "__main__", "bench")
)


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all; earlier results of the others are kept."""
    if unknown := [name for name in names if name not in NAMES]:
        sys.exit(f"bench: unknown benchmark {', '.join(unknown)}; known: {', '.join(NAMES)}")
    os.environ.update(processes.QUIET_TOOLS_ENV)
    settings.choose("fast")
    from benchmarks.bench import Bench

    project = Project.find()
    bench = Bench(project)
    for name in names or NAMES:
        print(f"— {name}", flush=True)
        results = importlib.import_module(f"benchmarks.{name}").measure(bench)
        computer = _machine()
        new = {key: {**result.as_dict(), "machine": computer} for key, result in results.items()}
        figures = _read(project) | new
        files.write_json(project.benchmarks, figures)
        files.write_text(project.benchmarks.with_suffix(".md"), _page(figures))
        for key, result in results.items():
            print(f"{key}: {result.value:.4g} {result.unit}; target {result.target}", flush=True)


def _read(project: Project) -> dict[str, Any]:
    return dict(files.read_json(project.benchmarks)) if project.benchmarks.exists() else {}


def _page(figures: Mapping[str, Mapping[str, Any]]) -> str:
    blocks = [
        "# Benchmarks",
        "Made by `make bench`. Values are means or medians over runs; the spread is their sample "
        "standard deviation. Accuracy is measured on MNIST's test set, which is never used to "
        "choose a model.",
    ]
    for computer in sorted({row["machine"] for row in figures.values()}):
        rows = [
            (
                name.replace("_", " "),
                f"{_number(row['value'])} {row['unit']}",
                f"± {_number(row['spread'])} of {len(row['runs'])}",
                row["target"],
                row["reference"],
                row["note"],
            )
            for name, row in sorted(figures.items())
            if row["machine"] == computer
        ]
        head = ("benchmark", "value", "spread", "target", "reference", "note")
        blocks += [f"## {computer}", markdown_table(head, rows)]
    return "\n\n".join(blocks) + "\n"


def _machine() -> str:
    computer = machine()
    return f"{computer['cpu']}, {computer['cores']} cores, {computer['system']}"


def _number(value: float) -> str:
    return f"{value:,.4f}" if abs(value) < 2 else f"{value:,.4g}"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DigitsError as exc:
        sys.exit(f"bench: {exc}")
    except KeyboardInterrupt:
        sys.exit(130)
