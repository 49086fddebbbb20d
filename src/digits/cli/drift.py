"""`digits drift`: test a batch of handwriting for drift."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from digits.cli import _terminal
from digits.core.errors import Verdict
from digits.core.project import Project

if TYPE_CHECKING:
    from digits.drift.detector import DriftResult

_MAX_NAMED = 3  # drifted features in the headline


@click.command("drift")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The true digits, as for 'digits add': accuracy is measured, not only estimated.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write Evidently's report to this file.",
)
@_terminal.json_option
def command(path: Path, labels: Path | None, html: Path | None, as_json: bool) -> None:
    """Test whether handwriting still looks like the training data.

    PATH is a folder of pictures, one picture, or an IDX, .npz or CSV file ('digits add --help'
    describes them). The batch is compared with the reference window, using the model in models/;
    run 'digits run' first. The batch is not stored.

    \b
    Exit codes: 0 no drift, 1 drift, 2 the batch can't be read, only some pictures have
    labels, or there is no model
    \b
    Examples:
      digits drift scans/
      digits drift today.npz --html drift.html
    """
    _terminal.silence_libraries()
    from digits.drift.detector import DriftDetector
    from digits.intake import intake

    project = Project.find()
    detector = DriftDetector.load(project.root)
    with _terminal.progress("reading", None) as on_done:
        batch = intake.parse(path, labels, on_picture=on_done)
    if labels:
        batch.check_labels(labels)
    result = detector.check(batch.images, batch.labels, html)
    if as_json:
        refused = [{"name": name, "reason": reason} for name, reason in batch.refused]
        click.echo(json.dumps(result.as_dict() | {"refused": refused}, indent=2))
    else:
        _show(result)
        for name, reason in batch.refused:
            click.echo(f"skipped: {name}: {reason}", err=True)
    if result.drift:
        raise Verdict(f"{path}: {headline(result)}")


def headline(result: "DriftResult") -> str:
    """The verdict in one line."""
    drifted = sorted(
        (name for name, test in result.tests.items() if test["drift"]),
        key=lambda name: float(result.tests[name]["p_value"]),
    )
    if not drifted:
        return f"no drift in {result.n:,} images (p = {result.p_value:.2g})"
    more = f" and {len(drifted) - _MAX_NAMED} more" if len(drifted) > _MAX_NAMED else ""
    names = ", ".join(drifted[:_MAX_NAMED])
    return f"drift in {names}{more} (p = {result.p_value:.2g}, {result.n:,} images)"


def _show(result: "DriftResult") -> None:
    """Print the verdict and a table of all features, smallest p-value first."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("feature")
    table.add_column("p", justify="right")
    table.add_column("distance", justify="right")
    table.add_column("")
    for name, test in sorted(
        result.tests.items(), key=lambda item: (item[1]["p_value"], -item[1]["distance"])
    ):
        mark = "✗" if test["drift"] else "✓"
        table.add_row(name, f"{test['p_value']:.2g}", f"{test['distance']:.3f}", mark)
    measured = "" if result.accuracy is None else f", measured {result.accuracy:.1%}"
    console = Console(highlight=False, markup=False)
    console.print(headline(result))
    console.print(f"estimated accuracy {result.estimated_accuracy:.1%}{measured}\n")
    console.print(table)
    console.print(
        f"\n✗: p < {result.alpha:g} (corrected for {len(result.tests)} features) and a distance of "
        f"at least {result.min_distance:g}"
    )
