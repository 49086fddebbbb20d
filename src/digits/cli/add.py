"""`digits add`: take a batch of new handwriting in."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from digits.cli import _terminal
from digits.core.errors import Verdict
from digits.core.project import Project

if TYPE_CHECKING:
    from digits.intake.intake import Intake

_SHOWN = 5  # refused pictures that are named


@click.command("add")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", required=True, help="What the batch is called: a-z, 0-9 and '-'.")
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For pictures a CSV with the columns filename and label, perhaps writer; for arrays an "
    "IDX file.",
)
@click.option("--writer", default="", help="Who wrote it, where --labels doesn't say.")
@click.option("--accept-drift", is_flag=True, help="Take it in even if it is different.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    path: Path, name: str, labels: Path | None, writer: str, accept_drift: bool, as_json: bool
) -> None:
    """Take a batch of new handwriting in: check it, and if it is good, make it part of data/.

    PATH is a folder of pictures, one picture, an IDX file of images, an .npz file with 'images'
    and perhaps 'labels', or a CSV of 28 × 28 pixels a row with or without a label before them.
    Pictures in folders called 0 to 9 need no --labels.

    \b
    What can't be read   is copied to build/quarantine/NAME with reasons.csv; the rest go on.
    Invalid, or drift    nothing is kept, exit code 1; --accept-drift overrides drift only.
    Good and labelled    data/handwriting/NAME, and a new version of data/ (data.dvc).
    Good, but unlabelled build/handwriting/NAME, outside data/, until labels are given.

    A batch that is in data/ is never overwritten.
    """
    _terminal.silence_libraries()
    from digits.intake import intake

    project = Project.find()
    with _terminal.progress("reading", None) as on_done:
        done = intake.take_in(
            project,
            path,
            name,
            labels,
            writer=writer,
            accept_drift=accept_drift,
            on_picture=on_done,
        )
    if as_json:
        click.echo(json.dumps(done.as_dict(), indent=2))
    else:
        _show(done, project)
    if not done.accepted:
        raise Verdict(f"{name}: not taken in: {_reason(done)}")


def _show(done: "Intake", project: Project) -> None:
    from digits.cli.drift import headline

    click.echo(f"{done.name}: {done.n:,} pictures, {'labelled' if done.labelled else 'unlabelled'}")
    for name, reason in done.refused[:_SHOWN]:
        click.echo(f"refused: {name}: {reason}")
    if done.refused:
        folder = project.relative(project.quarantine / done.name)
        click.echo(f"refused: {len(done.refused):,} in all, see {folder}/reasons.csv")
    checks = done.validation["expectations"]
    held = sum(check["success"] for check in checks)
    click.echo(f"validation: {held} of {len(checks)} expectations hold")
    click.echo(
        f"drift: {headline(done.drift) if done.drift else f'not checked, {done.drift_skipped}'}"
    )
    if done.accepted:
        click.echo(_next(done))


def _next(done: "Intake") -> str:
    if not done.data_version:
        return f"kept in {done.kept}; add it again with --labels to make it part of data/"
    return (
        f"taken in: {done.kept}, data version {done.data_version[:12]}\n"
        "Next: git add data.dvc && git commit; dvc push; to learn from it, name it in "
        "preprocess.train_batches in params.yaml; then 'digits run'"
    )


def _reason(done: "Intake") -> str:
    from digits.cli.drift import headline
    from digits.validation import expectations

    broken = [check for check in done.validation["expectations"] if not check["success"]]
    if broken:
        return "; ".join(map(expectations.describe, broken))
    return f"{headline(done.drift)}; add --accept-drift to take it" if done.drift else "refused"
