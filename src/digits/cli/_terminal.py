"""What several commands share: the --json option, a progress bar, quiet libraries."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from digits.core import processes

_MIN_STEPS = 50  # with fewer, a bar would only flicker

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def silence_libraries() -> None:
    """Hide the libraries' notes and warnings; call it before TensorFlow is imported."""
    os.environ.update(processes.QUIET_TOOLS_ENV)
    for name in ("absl", "tensorflow", "great_expectations"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("keras", "tensorflow", "evidently", "scipy"):
        warnings.filterwarnings("ignore", module=rf"{name}\b")


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if stderr is a terminal; yields a function that takes the count so far.

    Args:
        total: None if unknown.
    """
    console = Console(stderr=True)
    few = total is not None and total < _MIN_STEPS
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=few or not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
