"""`digits label`: attach labels to a batch that was checked before."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from digits.cli import _terminal
from digits.core.errors import Verdict
from digits.core.project import Project
from digits.intake import late_labels
from digits.intake.late_labels import Comparison


@click.command("label")
@click.argument("batch", required=False)
@click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@_terminal.json_option
def command(batch: str | None, file: Path | None, as_json: bool) -> None:
    """Attach labels to a batch that was checked for drift, and compare the estimate with them.

    BATCH is the name of a batch that the monitor or 'digits drift' has checked, FILE a CSV with
    columns filename and label, or for an array an IDX file with all labels. Some labels are enough:
    the accuracy is measured on the pictures that have one. Without arguments, all comparisons so
    far are shown: how far the estimates can be trusted.

    If the labels show a loss beyond chance and 'drift.tolerance' in params.yaml, the event
    digits.harmful is emitted: while 'make server' is up, it starts a training run.

    \b
    Exit codes: 0 read about as well as the reference, 1 the labels show a loss,
                2 no such batch, or labels that don't match its pictures
    \b
    Examples:
      digits label march march.csv
      digits label
    """
    from flows import server

    project = Project.find()
    if batch and not file:
        raise click.UsageError("digits label needs a BATCH and a FILE, or neither")
    found = late_labels.attach(project, batch, file) if batch and file else None
    compared = late_labels.comparisons(project)
    if as_json:
        trust = late_labels.trust(compared) if compared else None
        every = [vars(one) for one in compared]
        click.echo(json.dumps({"batches": every, "trust": trust}, indent=2))
    elif not compared:
        click.echo("no batch has labels yet; 'digits label BATCH FILE' attaches some")
    else:
        _show(compared)
    if found and found.harmful:
        summary = (
            f"{found.batch}: harmful: {found.accuracy:.1%} of {found.n:,} labelled pictures are "
            f"read right ({found.low:.1%} to {found.high:.1%}); tolerated is "
            f"{found.lowest_tolerated:.1%}"
        )
        payload = {**vars(found), "summary": summary}
        started = server.report_harm(project, found.batch, payload)
        click.echo(
            "Next: the event digits.harmful starts a training run on the server."
            if started
            else "Next: look at the pictures; add them with 'digits add' and run 'digits run'."
        )
        raise Verdict(summary)


def _show(compared: list[Comparison]) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("batch")
    for title in ("labels", "measured", "estimated", "error"):
        table.add_column(title, justify="right")
    table.add_column("")
    for one in compared:
        inside = "in the interval" if one.covered else "outside of the interval"
        seen = f"; {one.in_sample_share:.0%} in sample" if one.in_sample_share else ""
        table.add_row(
            one.batch,
            f"{one.n:,}",
            f"{one.accuracy:.1%} ({one.low:.1%}–{one.high:.1%})",
            f"{one.estimated_accuracy:.1%} ({one.estimated_low:.1%}–{one.estimated_high:.1%})",
            f"{100 * one.error:+.1f} points",
            inside + seen,
        )
    console = Console(highlight=False, markup=False)
    console.print(table)
    trust = late_labels.trust(compared)
    console.print(
        f"\nEstimates are off by {100 * trust['mean_absolute_error']:.1f} points in the mean; "
        f"{trust['covered']} of {trust['batches']} intervals contain the truth."
    )
