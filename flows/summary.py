"""A run in a few lines: test results, what ran, how long it took, and where the reports are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from digits.core import files, params
from digits.core.errors import DataError
from digits.core.project import Project
from digits.data import mnist
from digits.formatting import duration, markdown_table, markdown_text
from digits.versioning import dvc

_METRICS = {
    "accuracy": "accuracy",
    "precision": "macro precision",
    "recall": "macro recall",
    "f1": "macro F1",
}


@dataclass(frozen=True)
class Step:
    """A step of a run; `unchanged` means that its results were up to date or in DVC's run cache."""

    name: str
    result: Literal["ran", "unchanged"]
    seconds: float


def up_to_date(project: Project) -> bool:
    """Whether raw data, every stage's results and the HTML report match the files in the tree."""
    sha256 = params.load(project.params).fetch.sha256
    if not project.index_page.is_file() or mnist.verify(project.mnist, sha256):
        return False
    return not dvc.status(project)


def headline(project: Project) -> str:
    """The result in one line."""
    test = _test(project)
    low, high = test["accuracy_interval"]
    return (
        f"accuracy {test['accuracy']:.4f} ({low:.4f}–{high:.4f}) on {test['n']:,} test images, "
        f"{test['errors']} misread"
    )


def show(project: Project, steps: Sequence[Step]) -> None:
    """Print the steps, if any, the test results and the places of the reports."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if steps:
        table = Table("step", "result", box=None, header_style="dim", pad_edge=False)
        table.add_column("time", justify="right")
        for row in _times(steps):
            table.add_row(*row)
        console.print(table)
        console.print(f"\n{_totals(steps)}\n")
    figures = Table("test set", box=None, header_style="dim", pad_edge=False)
    figures.add_column("value", justify="right")
    for name, value in _figures(project):
        figures.add_row(name, value)
    console.print(figures)
    console.print()
    for name, place in _places(project):
        console.print(f"{name:8} {place}", soft_wrap=True)


def markdown(project: Project, steps: Sequence[Step]) -> str:
    """The same as Markdown, for Prefect's artifacts, with the drift of each batch."""
    blocks = [
        f"**{headline(project)}**",
        _totals(steps),
        markdown_table(("test set", "value"), _figures(project), right={1}),
        markdown_table(("step", "result", "time"), _times(steps), right={2}),
        markdown_table(
            ("batch", "images", "drift", "p", "estimated accuracy"),
            [_drift_row(name, batch) for name, batch in _batches(project).items()],
            right={1, 3, 4},
        ),
        "\n".join(f"- {name}: {place}" for name, place in _places(project)),
    ]
    return "\n\n".join(blocks) + "\n"


def _times(steps: Sequence[Step]) -> list[tuple[str, str, str]]:
    return [(step.name, step.result, duration(step.seconds)) for step in steps]


def _totals(steps: Sequence[Step]) -> str:
    ran = sum(step.result == "ran" for step in steps)
    time = duration(sum(step.seconds for step in steps))
    return f"{ran} of {len(steps)} steps ran, {len(steps) - ran} unchanged, {time} in total"


def _figures(project: Project) -> list[tuple[str, str]]:
    test = _test(project)
    return [(label, f"{test[name]:.4f}") for name, label in _METRICS.items()]


def _test(project: Project) -> dict[str, Any]:
    test: dict[str, Any] = files.read_json(project.metrics)["test"]
    return test


def _drift_row(name: str, batch: dict[str, Any]) -> tuple[str, ...]:
    return (
        markdown_text(name),
        f"{batch['n']:,}",
        "yes" if batch["drift"] else "no",
        f"{batch['p_value']:.2g}",
        f"{batch['estimated_accuracy']:.3f}",
    )


def _batches(project: Project) -> dict[str, dict[str, Any]]:
    try:
        batches: dict[str, dict[str, Any]] = files.read_json(project.drift_report)["batches"]
    except DataError:
        return {}
    return batches


def _places(project: Project) -> list[tuple[str, str]]:
    name = project.relative
    places = [
        ("report", name(project.index_page)),
        ("metrics", name(project.metrics)),
        ("model", f"{name(project.models)}, described by {name(project.model_card)}"),
    ]
    drifted = [batch for batch, verdict in _batches(project).items() if verdict["drift"]]
    if drifted:
        places.append(("drift", f"{', '.join(drifted)} (see {name(project.drift_report)})"))
    return places
