"""`digits drift`: a verdict on a batch, without taking it in."""

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


@click.command("drift")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What the pictures show, as for 'digits add': the accuracy is measured, too.",
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write Evidently's page here."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(path: Path, labels: Path | None, html: Path | None, as_json: bool) -> None:
    """Is this handwriting still what the model was trained on? Exit code 1 if not.

    PATH is what 'digits add' takes: a folder of pictures, a picture, IDX, .npz or CSV. Nothing is
    kept. The workspace's model and its reference window are compared with.
    """
    _terminal.silence_libraries()
    from digits.drift.detector import DriftDetector
    from digits.intake import intake

    project = Project.find()
    detector = DriftDetector.load(project.root)
    with _terminal.progress("reading", None) as on_done:
        batch = intake.inspect(path, labels, on_picture=on_done)
    result = detector.check(batch.images, batch.labels, html)
    if as_json:
        refused = [{"name": name, "reason": reason} for name, reason in batch.refused]
        click.echo(json.dumps(result.as_dict() | {"refused": refused}, indent=2))
    else:
        show(result)
        for name, reason in batch.refused:
            click.echo(f"left out: {name}: {reason}", err=True)
    if result.drift:
        raise Verdict(f"{path}: {headline(result)}")


def headline(result: "DriftResult") -> str:
    """The verdict in one line."""
    found = sorted(
        (name for name, test in result.tests.items() if test["drift"]),
        key=lambda name: float(result.tests[name]["p_value"]),
    )
    if not found:
        return f"no drift in {result.n:,} images (p = {result.p_value:.2g})"
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"drift in {', '.join(found[:3])}{more} (p = {result.p_value:.2g}, {result.n:,} images)"


def show(result: "DriftResult") -> None:
    """Print the verdict and each feature, the least likely first."""
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
    console = Console(highlight=False, markup=False)
    console.print(headline(result))
    console.print(f"estimated accuracy {result.estimated_accuracy:.1%}{_measured(result)}\n")
    console.print(table)
    console.print(
        f"\n✗: p < {result.alpha:g} (corrected for {len(result.tests)} features) and a distance of "
        f"at least {result.min_distance:g}"
    )


def _measured(result: "DriftResult") -> str:
    return "" if result.accuracy is None else f", measured {result.accuracy:.1%}"
