"""A run in a few lines: figures, time per step, and where the reports are."""

from collections.abc import Sequence
from typing import Any, Protocol

from digits.core import files, params
from digits.core.errors import DataError
from digits.core.project import Project
from digits.data import mnist
from digits.versioning import dvc

_FIGURES = ("accuracy", "precision", "recall", "f1")


class Step(Protocol):
    """What a run says of each of its steps; seconds of wall-clock time."""

    @property
    def step(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def seconds(self) -> float: ...


def up_to_date(project: Project) -> bool:
    """Whether the raw data is sound and every stage's outcome belongs to what is in the tree."""
    values = params.load(project.params)
    if not project.index_page.is_file() or mnist.verify(project.mnist, values.fetch.sha256):
        return False
    return not dvc.status(project)


def headline(project: Project) -> str:
    """The result in one line."""
    test = files.read_json(project.metrics)["test"]
    low, high = test["accuracy_interval"]
    return (
        f"accuracy {test['accuracy']:.4f} ({low:.4f}–{high:.4f}) on {test['n']:,} test images, "
        f"{test['errors']} misread"
    )


def show(project: Project, steps: Sequence[Step]) -> None:
    """Print the result, and the time of each step if there are any, to the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if steps:
        table = Table("step", "status", box=None, header_style="dim", pad_edge=False)
        table.add_column("seconds", justify="right")
        for step in steps:
            table.add_row(step.step, step.status, f"{step.seconds:.1f}")
        console.print(table)
        console.print()
    figures = Table("test set", box=None, header_style="dim", pad_edge=False)
    figures.add_column("value", justify="right")
    test = files.read_json(project.metrics)["test"]
    for name in _FIGURES:
        figures.add_row(_label(name), f"{test[name]:.4f}")
    console.print(figures)
    console.print()
    for line in _places(project):
        console.print(line, soft_wrap=True)


def markdown(project: Project, steps: Sequence[Step]) -> str:
    """The same as Markdown, for Prefect's artifacts."""
    test = files.read_json(project.metrics)["test"]
    rows = [f"| {_label(name)} | {test[name]:.4f} |" for name in _FIGURES]
    times = [f"| {s.step} | {s.status} | {s.seconds:.1f} |" for s in steps]
    places = [f"- {line}" for line in _places(project)]
    blocks = [
        f"**{headline(project)}**",
        "\n".join(["| test set | value |", "|---|---:|", *rows]),
        "\n".join(["| step | status | seconds |", "|---|---|---:|", *times]),
        "\n".join(
            ["| batch | images | drift | p | estimated accuracy |", "|---|---:|---|---:|---:|"]
            + [_drift_row(name, batch) for name, batch in _batches(project).items()]
        ),
        "\n".join(places),
    ]
    return "\n\n".join(blocks) + "\n"


def _label(name: str) -> str:
    return name if name == "accuracy" else f"macro {'F1' if name == 'f1' else name}"


def _drift_row(name: str, batch: dict[str, Any]) -> str:
    return (
        f"| {name} | {batch['n']:,} | {'yes' if batch['drift'] else 'no'} "
        f"| {batch['p_value']:.2g} | {batch['estimated_accuracy']:.3f} |"
    )


def _batches(project: Project) -> dict[str, dict[str, Any]]:
    try:
        batches: dict[str, dict[str, Any]] = files.read_json(project.drift_report)["batches"]
    except DataError:
        return {}
    return batches


def _places(project: Project) -> list[str]:
    drifted = [name for name, batch in _batches(project).items() if batch["drift"]]
    lines = [
        f"report   {project.relative(project.index_page)}",
        f"metrics  {project.relative(project.metrics)}",
        f"model    {project.relative(project.models)}, described by "
        f"{project.relative(project.model_card)}",
    ]
    if drifted:
        lines.append(
            f"drift    {', '.join(drifted)} (see {project.relative(project.drift_report)})"
        )
    return lines
