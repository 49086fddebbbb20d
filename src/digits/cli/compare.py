"""`digits compare`: may the working tree be merged, and what does it change?"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from digits.cli import _terminal
from digits.core import files, params
from digits.core.errors import DigitsError, Verdict
from digits.core.project import Project
from digits.formatting import one_line
from digits.gate import comparison, pictures
from digits.gate.comparison import Comparison
from digits.gate.pictures import Tile
from digits.reports.comparison import markdown as comment
from digits.reports.comparison.document import Section, sentence
from digits.reports.comparison.head import base, head, unknown
from digits.reports.comparison.sections import sections
from digits.versioning import git

_STYLES = {"better": "green", "worse": "red", "chance": "dim", "": ""}


@click.command("compare")
@click.argument("revision", metavar="[REV]", required=False)
@click.option(
    "--markdown",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Print Markdown; with FILE, write it there, with pictures beside it.",
)
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write a page that needs no other file.",
)
@click.option(
    "--links",
    metavar="URL",
    help="In Markdown, show the committed plots of both sides from URL/<commit>/<path>.",
)
@_terminal.json_option
def command(
    revision: str | None,
    markdown: str | None,
    html: Path | None,
    links: str | None,
    as_json: bool,
) -> None:
    """Compare the working tree with REV: is the model worse, and what else changed?

    REV is a commit, branch, tag or DVC experiment, by default the commit where this branch left
    main. It must come before --markdown.

    Worse or better means by more than chance: McNemar's exact test on the test set, and with
    Holm's correction on each digit and each batch of handwriting that neither model was trained
    on. The confidence level and the limits are section 'gate' of params.yaml. 'digits gate' also
    tries the model in a clean process, and decides on promotion.

    \b
    Exit codes: 0 no regression
                1 worse by more than chance, a limit of the policy newly broken, or
                  data validation succeeded before and fails now; results are stale or
                  can't be judged
                2 REV is unknown, or a report is missing or damaged
    \b
    Examples:
      digits compare HEAD~1
      digits compare main --markdown
      digits compare main --html comparison.html
    """
    project = Project.find()
    file = None if markdown in (None, "-") else Path(str(markdown))
    if file:
        _refuse_revision(project, str(markdown))
    result = comparison.compare(project, revision, params.load(project.params).gate)
    wanted = bool(markdown or html)
    tiles = pictures.changed(project, result.old, result.new, result.sets) if wanted else {}
    if file:
        _write_markdown(file, result, tiles, links)
    if html:
        from digits.reports.comparison import page  # imports Jinja

        files.write_text(html, page.build(result, tiles))
        click.echo(f"Page written to {html}", err=True)
    if as_json:
        click.echo(json.dumps(_document(result), indent=2, default=str))
    elif markdown and not file:
        click.echo(comment.render(result, tiles, links=links), nl=False)
    else:
        show(result, Console(highlight=False))
    _exit(result)


def _exit(result: Comparison) -> None:
    reasons = [one.text for one in result.worse]
    if result.verdict == "cannot judge":
        reasons = [unknown(result)]
    if reasons:
        more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        against = "".join(base(result))
        raise Verdict(f"against {against}: {sentence('; '.join(reasons[:3]))}{more}")


def _refuse_revision(project: Project, file: str) -> None:
    try:
        git.resolve(project, file)
    except DigitsError:
        return
    raise click.UsageError(
        f"'{file}' after --markdown is a revision, expected a file; run 'digits compare {file} "
        f"--markdown' to compare with it, or '--markdown ./{file}' to write a file of that name"
    )


def _write_markdown(
    file: Path, result: Comparison, tiles: Mapping[str, Sequence[Tile]], links: str | None
) -> None:
    """Write Markdown, and beside it the images that changed sides."""
    names = {}
    for side, found in tiles.items():
        if any(tile.image is not None for tile in found):
            names[side] = f"{file.stem}-{side.replace(' ', '-')}.png"
            with files.replacing(file.with_name(names[side])) as temporary:
                temporary.write_bytes(pictures.draw(pictures.chosen(found, comment.PICTURES)))
    shown = {} if links else names  # a forge can't show local files
    files.write_text(file, comment.render(result, tiles, shown, links))
    click.echo(f"Markdown written to {file}", err=True)


def _document(result: Comparison) -> dict[str, Any]:
    """The comparison as plain types."""
    return {
        "base": result.base,
        "commit": result.commit,
        "head": result.head,
        "verdict": result.verdict,
        "worse": [one.text for one in result.worse],
        "better": [one.text for one in result.better],
        "broken": result.broken,
        "unknown": result.unknown,
        "loosened": result.loosened,
        "sets": {name: asdict(one) for name, one in result.sets.items()},
        "changes": asdict(result.changes),
        "consistency": asdict(result.consistency),
        "rebuild": result.rebuild,
    }


# terminal


def show(result: Comparison, console: Console) -> None:
    """Print the verdict, then what changed; noise is one dim line for each section."""
    top = head(result)
    title = f"{top.headline} · compared with {''.join(top.base)}"
    console.print(Text(title, style="bold"))
    for alarm in top.alarms:
        console.print(Text(alarm, style="bold red"))
    for reason in top.reasons:
        console.print(Text(f"{reason}.", style="red" if result.worse else ""))
    console.print(Text("".join(top.inputs)))
    for note in top.notes:
        console.print(Text(note, style="dim"))
    for section in sections(result):
        console.print()
        _print(section, console)


def _print(section: Section, console: Console) -> None:
    console.print(Text(section.title, style="dim" if section.noise else "bold"))
    if section.noise:
        return
    table = Table(box=None, pad_edge=False, show_header=bool(section.head))
    for column in range(len(section.rows[0].cells)):
        right = column in section.right
        table.add_column(
            section.head[column] if section.head else "",
            header_style="dim",
            justify="right" if right else "left",
            no_wrap=right,
            overflow="fold",  # a name is never cut
        )
    for row in section.rows:
        cells = (one_line("".join(cell)) for cell in row.cells)
        table.add_row(*(Text(cell, style=_STYLES[row.tone]) for cell in cells))
    console.print(table)
    if section.omitted:
        console.print(f"… and {section.omitted:,} more")
    if section.note:
        console.print(Text(section.note, style="dim"))
