"""`digits gate`: may this model replace the champion?"""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from digits.cli._terminal import json_option
from digits.core import files
from digits.core.errors import Verdict
from digits.core.project import Project
from digits.formatting import one_line
from digits.gate.judgement import Judgement, Status
from digits.registry import decision
from digits.reports import gate

_STYLES: dict[Status, str] = {
    "pass": "dim",
    "better": "green",
    "worse": "red",
    "fail": "red",
    "unknown": "yellow",
    "warning": "bold red",
}


@click.command("gate")
@click.argument("version", required=False)
@click.option(
    "--markdown",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the verdict as Markdown to FILE.",
)
@json_option
def command(version: str | None, markdown: Path | None, as_json: bool) -> None:
    """Judge VERSION, by default the model of the working tree, against the champion.

    The policy is section 'gate' of params.yaml. The first version must meet its limits: accuracy,
    recall of each digit, accuracy on each batch of handwriting, calibration, robustness, and what
    the model does in a clean process. Later versions must also be better than the champion
    somewhere, and nowhere worse, by more than chance. The verdict is written to build/gate, with
    pictures of the images that changed sides.

    \b
    promote       may become the champion: digits models promote VERSION
    keep          as good as the champion, which stays
    reject        misses a limit, or is worse than the champion by more than chance
    cannot judge  stale or incomplete results, or other test images

    \b
    Exit codes: 0 promote or keep
                1 reject or cannot judge
                2 VERSION is not registered, or its files can't be had
    \b
    Examples:
      digits gate
      digits gate v0.2.0 --json
    """
    project = Project.find()
    result = decision.decide(project, version)
    folder = gate.write(project, result)
    if markdown:
        files.write_text(markdown, gate.markdown(result, images=False))
    if as_json:
        click.echo(json.dumps(gate.document(result), indent=2, sort_keys=True))
    else:
        _show(result.judgement)
        click.echo(f"Details and pictures: {project.relative(folder)}/gate.md")
    if not result.judgement.positive:
        reasons = "; ".join(result.judgement.reasons)
        raise Verdict(f"{result.judgement.verdict}: {one_line(reasons)}")


def _show(result: Judgement) -> None:
    console = Console(highlight=False)
    console.print(Text(one_line(gate.headline(result)), style="bold"))
    for reason in result.reasons:
        console.print(Text(f"  {one_line(reason)}"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for one in gate.others(result):
        style = _STYLES[one.status]
        mark = Text(gate.SYMBOLS[one.status], style=style)
        table.add_row(mark, Text(one.check), Text(one_line(one.text), style=style))
    console.print()
    console.print(table)
