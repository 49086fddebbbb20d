"""`digits zoo`: all models side by side, as far as a budget of time allows."""

import json
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.console import Console
from rich.table import Table

from digits.cli import _terminal
from digits.core import files, locking, params
from digits.core.project import Project

if TYPE_CHECKING:
    import pandas as pd

_WIDE = 200  # characters of a line in a file
_LEAST_IMPORTANT = ("precision", "recall", "network", "F1", "ONNX", "parameters", "seeds")


@click.command("zoo")
@click.argument("names", metavar="[NAME…]", nargs=-1)
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    help="Random starts of each model.  [default: 3, and 1 of MobileNet]",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="For training; 0 compares what is trained.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(names: tuple[str, ...], seeds: int | None, minutes: float, as_json: bool) -> None:
    """Compare the models of params.yaml: accuracy, training time, speed, size.

    Each is trained from several random starts, or taken from build/zoo if it was before; what the
    budget doesn't allow is named, and running this again goes on with it. The table is sorted by
    mean VALIDATION accuracy, by which a model may be chosen. Nothing is chosen by the test set.
    What is in build/zoo stays valid until recipe, data, code or versions change; delete the folder
    to train all anew.

    Writes reports/zoo.md, zoo.json and zoo/, which hold the models that NAME tells, or all.
    """
    project = Project.find()
    _terminal.silence_libraries()
    parameters = params.load(project.params)
    from digits.zoo import benchmark

    with locking.exclusive(project.zoo / "lock", "'digits zoo'"):
        document = benchmark.compare(project, parameters, names, seeds, minutes, _say)
        _write(project, document)
    if as_json:
        click.echo(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        _show(project, document)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _write(project: Project, document: Mapping[str, Any]) -> None:
    from digits.zoo import report  # Matplotlib: not needed for a wrong name

    plots = report.plots(document)
    with files.replacing_folder(project.zoo_plots) as folder:
        for name, png in plots.items():
            (folder / f"{name}.png").write_bytes(png)
    if not plots:
        shutil.rmtree(project.zoo_plots)
    files.write_json(project.zoo_report, document)
    files.write_text(project.zoo_page, report.page(document, plots))


def _show(project: Project, document: Mapping[str, Any]) -> None:
    from digits.zoo import report

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDE
    rows = _fitting(report.table(document), console.width)
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in rows:
        justify: Literal["left", "right"] = "left" if column in report.WORDS else "right"
        table.add_column(str(column), justify=justify, no_wrap=True)
    for cells in rows.to_numpy():
        table.add_row(*cells)
    console.print(table)
    console.print("\nsorted by mean validation accuracy; nothing is chosen by the test set")
    for note in report.notes(document):
        console.print(note, soft_wrap=True)
    console.print(f"{project.relative(project.zoo_page)} written")


def _fitting(rows: "pd.DataFrame", width: int) -> "pd.DataFrame":
    """As many columns as a terminal has room for; the page has all."""
    for column in _LEAST_IMPORTANT:
        widths = [max(len(str(name)), *map(len, rows[name])) + 2 for name in rows]
        if sum(widths) - 2 <= width:
            break
        rows = rows.drop(columns=column)
    return rows
