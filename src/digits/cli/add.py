"""`digits add`: add a batch of handwriting to the data."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from digits.cli import _terminal
from digits.cli.drift import headline
from digits.core.errors import Verdict
from digits.core.project import Project

if TYPE_CHECKING:
    from digits.intake.intake import IntakeResult

_MAX_NAMED = 5  # quarantined pictures


@click.command("add")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", required=True, help="Name of the batch: a-z, 0-9 and '-'.")
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For pictures: a CSV with columns filename, label and optionally writer. For arrays: an "
    "IDX file.",
)
@click.option("--writer", default="", help="The writer, where --labels doesn't name one.")
@click.option("--accept-drift", is_flag=True, help="Accept the batch despite drift.")
@click.option(
    "--accept-labels",
    is_flag=True,
    help="Accept the batch although model and witness read it otherwise, or can't.",
)
@_terminal.json_option
def command(
    path: Path,
    name: str,
    labels: Path | None,
    writer: str,
    accept_drift: bool,
    accept_labels: bool,
    as_json: bool,
) -> None:
    """Check a batch of handwriting, and add it to the data if it passes.

    PATH is a folder of pictures, one picture, an IDX file of images, an .npz file with 'images'
    and optionally 'labels', or a CSV with 28 × 28 pixels per row, optionally after a label.
    Pictures in folders named 0 to 9 need no --labels. Labels are for all pictures or for none.

    \b
    unreadable pictures  copied to build/quarantine/NAME, with reasons.csv;
    or no digits         the rest of the batch is used
    invalid              rejected, nothing is stored. If what is invalid is how
                         model and witness read it (labels they contradict,
                         mostly no digits), --accept-labels overrides
    drift                rejected, too; --accept-drift overrides
    accepted, labelled   stored in data/handwriting/NAME: a new version of
                         data/ (data.dvc)
    accepted, unlabelled stored in build/handwriting/NAME, outside data/
    \b
    Exit codes: 0 accepted, 1 rejected, 2 NAME is in use, nothing is readable, or only
    some pictures have labels
    \b
    Examples:
      digits add scans/ --name march --labels march.csv
      digits add today.npz --name today --accept-drift
    """
    _terminal.silence_libraries()
    from digits.intake import intake

    project = Project.find()
    with _terminal.progress("reading", None) as on_done:
        batch = intake.add(
            project,
            path,
            name,
            labels,
            writer=writer,
            accept_drift=accept_drift,
            accept_labels=accept_labels,
            on_picture=on_done,
        )
    if as_json:
        click.echo(json.dumps(batch.as_dict(), indent=2))
    else:
        _show(batch, project)
    if not batch.accepted:
        raise Verdict(f"{name}: rejected: {_reasons(batch)}")


def _show(batch: "IntakeResult", project: Project) -> None:
    labelled = "labelled" if batch.labelled else "unlabelled"
    click.echo(f"{batch.name}: {batch.n:,} pictures, {labelled}")
    for name, reason in batch.refused[:_MAX_NAMED]:
        click.echo(f"quarantined: {name}: {reason}")
    if batch.refused:
        folder = project.relative(project.quarantine / batch.name)
        click.echo(f"quarantined: {len(batch.refused):,} in total, see {folder}/reasons.csv")
    checks = batch.validation["expectations"]
    passed = sum(check["success"] for check in checks)
    click.echo(f"validation: {passed} of {len(checks)} expectations hold")
    drift = headline(batch.drift) if batch.drift else f"not checked, {batch.drift_skipped}"
    click.echo(f"drift: {drift}" + (f"; {batch.shares}" if batch.shares else ""))
    if batch.data_version:
        click.echo(
            f"added: {batch.kept}, data version {batch.data_version[:12]}\n"
            "Next: commit data.dvc and run 'dvc push'. To train on the batch, add it to "
            "preprocess.train_batches in params.yaml and run 'digits run'."
        )
        if not batch.validation["success"]:
            click.echo(
                f"Its labels were accepted unread: add {batch.name} to validate.trusted_batches in "
                "params.yaml, or the next run will stop at it."
            )
    elif batch.accepted:
        click.echo(f"stored: {batch.kept}; add it again with --labels to make it part of data/")


def _reasons(batch: "IntakeResult") -> str:
    from digits.validation.checks import describe

    reasons = [
        describe(check) for check in batch.validation["expectations"] if not check["success"]
    ]
    if batch.drift and batch.drift.verdict != "none":
        shares = f"; {batch.shares}" if batch.shares else ""
        reasons.append(f"{headline(batch.drift)}{shares}; add --accept-drift to accept it")
    return "; ".join(reasons)
