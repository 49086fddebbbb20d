"""`digits drift`: test a batch of handwriting for drift."""

import json
from collections.abc import Sequence
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
_CALM_SHOWN = 3  # features in the table after those that drifted
_MANY = 0.1  # of the images: from here on the headline says that they show no digit


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
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw verdict, features and images on one page, a PNG.",
)
@click.option("--all", "all_features", is_flag=True, help="List all features that were tested.")
@_terminal.json_option
def command(
    path: Path,
    labels: Path | None,
    html: Path | None,
    picture: Path | None,
    all_features: bool,
    as_json: bool,
) -> None:
    """Test whether handwriting still looks like the training data.

    PATH is a folder of pictures, one picture, or an IDX, .npz or CSV file ('digits add --help'
    describes them). The batch is compared with the reference window, using the model in models/;
    run 'digits run' first. Of more than 10,000 pictures, as many are drawn at random. The batch
    isn't stored; the verdict is kept for 'digits label' and 'digits dashboard'.

    The verdict is one of three. none: as different as chance makes images like the reference.
    drift: different, but read as well as them, within 'drift.tolerance' in params.yaml. harmful:
    read worse than that, or mostly no digits. Accuracy is estimated without labels. 'digits
    dashboard' shows all checks over time.

    \b
    Exit codes: 0 none, 1 drift or harmful, 2 the batch can't be read, only some pictures
    have labels, or there is no model
    \b
    Examples:
      digits drift scans/ --picture scans.png
      digits drift today.npz --labels today.csv --all
    """
    _terminal.silence_libraries()
    from digits.drift.change import MAX_ROWS
    from digits.drift.detector import DriftDetector
    from digits.intake import inbox, intake

    project = Project.find()
    detector = DriftDetector.load(project.root)
    with _terminal.progress("reading", None) as on_done:
        batch = intake.parse(path, labels, on_picture=on_done, at_most=MAX_ROWS)
    if labels:
        batch.check_labels(labels)
    called = inbox.safe_name(path.resolve().name)
    seen = detector.look(batch.images, batch.total - len(batch.refused))
    result = detector.judge(seen, batch.labels, html, picture, called)
    if as_json:
        refused = [{"name": name, "reason": reason} for name, reason in batch.refused]
        click.echo(json.dumps(result.as_dict() | {"refused": refused}, indent=2))
    else:
        reference = int(detector.reference["source"].eq(result.like).sum())
        _show(result, batch.names, reference, all_features, picture)
        for name, reason in batch.refused:
            click.echo(f"skipped: {name}: {reason}", err=True)
    detector.add_to_dashboard(project, called, seen, result)
    inbox.keep(project, "", inbox.describe(called, batch, seen, result))
    if result.verdict != "none":
        raise Verdict(f"{path}: {headline(result)}" if as_json else "")


def headline(result: "DriftResult") -> str:
    """The verdict in one line."""
    images = f"{result.n:,} image{'s' if result.n != 1 else ''}"
    chance = f"p = {result.p_value:.2g}, {images}"
    drifted = [name for name in _by_p_value(result) if result.tests[name]["drift"]]
    more = f" and {len(drifted) - _MAX_NAMED} more" if len(drifted) > _MAX_NAMED else ""
    where = f" in {', '.join(drifted[:_MAX_NAMED])}{more}" if drifted else ""
    if result.harmful and result.no_digit_share >= _MANY:
        return f"harmful: {result.no_digit_share:.0%} show no digit ({chance})"
    if result.harmful:
        drift = f", drift{where}" if where else ""
        if result.accuracy is None:
            lost = f"about {100 * (result.reference_accuracy - result.estimated_accuracy):.1f}"
        else:
            lost = f"{100 * (result.reference_accuracy - result.accuracy):.1f}"
        return f"harmful: {lost} points less accurate{drift} ({chance})"
    if result.drift:
        return f"drift{where} ({chance})"
    return f"no drift in {images} (p = {result.p_value:.2g})"


def _by_p_value(result: "DriftResult") -> list[str]:
    """The features, smallest p-value first, of equal ones the largest distance."""
    tests = result.tests
    return sorted(tests, key=lambda name: (tests[name]["p_value"], -tests[name]["distance"]))


def _show(
    result: "DriftResult",
    names: Sequence[str],
    reference: int,
    all_features: bool,
    picture: Path | None,
) -> None:
    """Print what the verdict means, a table of features, and what to do next."""
    console = Console(highlight=False, markup=False)
    measured = ""
    if result.accuracy is not None:
        low, high = result.measured_low, result.measured_high
        measured = f"; measured: {result.accuracy:.1%} ({low:.1%} to {high:.1%})"
    interval = f"{result.accuracy_low:.1%} to {result.accuracy_high:.1%}"
    share = f"{result.no_digit_low:.0%} to {result.no_digit_high:.0%}"
    lines = [
        headline(result),
        *(
            [f"looked at: {result.tested:,} of them, drawn at random"]
            if result.tested < result.n
            else []
        ),
        f"compared with: {reference:,} {result.like} images; accuracy on validation images: "
        f"{result.reference_accuracy:.1%}",
        f"estimated accuracy: {result.estimated_accuracy:.1%} ({interval}){measured}",
        f"no digit at all: {result.no_digit_share:.0%} of the images ({share})",
    ]
    if result.in_sample_share:
        lines.append(f"in its training data: {result.in_sample_share:.0%} of the images")
    if result.verdict != "none":
        strangest = ", ".join(names[row] for row in result.strangest[:_MAX_NAMED])
        lines.append(f"strangest images: {strangest}")
    console.print("\n".join(lines), soft_wrap=True)
    console.print()
    console.print(_table(result, all_features))
    console.print(f"\nNext: {_advice(result, picture)}")


def _table(result: "DriftResult", all_features: bool) -> Table:
    """The features that drifted and the next few; or all."""
    from digits.drift import words

    drifted = sum(test["drift"] for test in result.tests.values())
    shown = len(result.tests) if all_features else drifted + _CALM_SHOWN
    table = Table(box=None, header_style="dim", pad_edge=False, caption_justify="left")
    table.add_column("feature", no_wrap=True)
    table.add_column("what it is")
    table.add_column("p", justify="right")
    table.add_column("distance", justify="right")
    table.add_column("")
    for name in _by_p_value(result)[:shown]:
        test = result.tests[name]
        mark = "✗" if test["drift"] else "✓"
        meaning, _ = words.feature(name)
        table.add_row(name, meaning, f"{test['p_value']:.2g}", f"{test['distance']:.3f}", mark)
    left_out = len(result.tests) - shown
    rest = f"{left_out} more show no drift ('--all' lists them). " if left_out > 0 else ""
    table.caption = (
        f"{rest}✗: p < {result.alpha:g}, corrected for {len(result.tests)} features. Distances are "
        "in standard deviations of the reference; for digits, differences of shares."
    )
    return table


def _advice(result: "DriftResult", picture: Path | None) -> str:
    if result.verdict == "none":
        return "nothing to do."
    where = picture or "'--picture FILE.png' draws them"
    look = f"look at the images ({where})"
    known = result.accuracy is not None
    label = "" if known else "label them and "
    if result.verdict == "drift":
        return (
            f"{look}. The model reads them about as well as its validation images; to train on "
            f"them, too, {label}use 'digits add --accept-drift'."
        )
    measure = "" if known else " Label some: '--labels' measures the accuracy."
    return (
        f"don't trust what the model reads here; {look}.{measure} If they are digits, {label}use "
        "'digits add --accept-drift', and train on them."
    )
