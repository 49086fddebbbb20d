"""`digits zoo`: train all models, as far as a time limit allows, and compare them."""

import json
import shutil
from collections.abc import Mapping
from functools import partial
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from digits.cli import _terminal
from digits.core import files, locking, params
from digits.core.project import Project
from digits.models import settings

_FILE_WIDTH = 200  # characters per line if the output isn't a terminal
_LEAST_IMPORTANT = ("precision", "recall", "network", "F1", "ONNX", "parameters", "seeds")


@click.command("zoo")
@click.argument("names", metavar="[NAME…]", nargs=-1)
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    help="Training runs per model, each with another seed.  [default: 3, and 1 for MobileNet]",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Time limit for training; 0 compares the models that are trained already.",
)
@_terminal.json_option
def command(names: tuple[str, ...], seeds: int | None, minutes: float, as_json: bool) -> None:
    """Compare models of params.yaml (all, or NAME…): accuracy, training time, speed, size.

    Models that are trained already come from the cache in build/zoo, the others are trained now.
    When the time is up, the rest is reported as not trained, and the next 'digits zoo' resumes
    there. A cached model is used until its recipe, the data, the training code or a library
    changes; delete build/zoo to train everything again.

    Models are sorted by mean validation accuracy, the only figure to choose a model by. Results go
    to reports/zoo.md, zoo.json and zoo/, and replace those of the last comparison.

    \b
    Exit codes: 0  the table was written
                2  a model is unknown, or data is missing
    \b
    Examples:
      digits zoo
      digits zoo fast tiny --seeds 5
      digits zoo --minutes 0
    """
    project = Project.find()
    parameters = params.load(project.params)
    _terminal.silence_libraries()
    settings.choose("fast")
    from digits.zoo import benchmark

    with locking.exclusive(project.zoo / "lock", "'digits zoo'"):
        log = partial(click.echo, err=True)
        document = benchmark.compare(project, parameters, names, seeds, minutes, log)
        _write(project, document)
    if as_json:
        click.echo(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        _show(project, document)


def _write(project: Project, document: Mapping[str, Any]) -> None:
    from digits.zoo import report

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
        console.width = _FILE_WIDTH
    rows = report.table(document)
    for column in _LEAST_IMPORTANT:
        widths = [max(len(name), *map(len, rows[name])) + 2 for name in rows]
        if sum(widths) - 2 <= console.width:
            break
        rows = rows.drop(columns=column)
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in rows:
        text = column in report.TEXT_COLUMNS
        table.add_column(column, justify="left" if text else "right", no_wrap=True)
    for cells in rows.to_numpy():
        table.add_row(*cells)
    console.print(table)
    console.print("\nSorted by mean validation accuracy, the only figure to choose a model by.")
    for note in report.notes(document):
        console.print(note, soft_wrap=True)
    console.print(f"{project.relative(project.zoo_page)} written")
