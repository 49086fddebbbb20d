"""What several commands show while they work: progress on stderr, and no noise of libraries."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from digits.core import lifetime

_FEW = 50  # steps below which a bar would only flicker


def silence_libraries() -> None:
    """Call before TensorFlow is imported: its notes on CPU features and CUDA help nobody here."""
    os.environ.update(lifetime.QUIET)
    for name in ("absl", "tensorflow", "great_expectations"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("keras", "tensorflow", "evidently", "scipy"):
        warnings.filterwarnings("ignore", module=rf"{name}\b")


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, if that is a terminal and there is much to do; call it with what is done."""
    console = Console(stderr=True)
    if not console.is_terminal or (total is not None and total < _FEW):
        yield lambda _: None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)
