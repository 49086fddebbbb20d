"""`digits models show` and `digits models history`: the model card, and versions side by side."""

import json
from pathlib import Path
from re import fullmatch
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from digits.cli._terminal import json_option
from digits.core import files
from digits.core.project import Project
from digits.formatting import one_line, percent
from digits.registry import card, card_formats, card_sections, history
from digits.registry.card_elements import Section
from digits.registry.catalogue import WORKSPACE
from digits.registry.history import Row
from digits.registry.tags import CHAMPION

_SHORT = 7  # hex digits of a digest to show
_OUTPUT = click.Path(dir_okay=False, allow_dash=True)


@click.command("show")
@click.argument("version", default=CHAMPION)
@click.option(
    "--markdown",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    type=_OUTPUT,
    help="Print Markdown, or write it to FILE.",
)
@click.option("--html", metavar="FILE", type=_OUTPUT, help="Write a self-contained HTML page.")
@json_option
def show(version: str, markdown: str | None, html: str | None, as_json: bool) -> None:
    """Show the model card of VERSION: what it is for, how good it is, where it comes from.

    VERSION is a version, such as v0.1.0, champion (the default) or workspace, the model in the
    working tree. VERSION must come before --markdown.

    \b
    Exit codes: 0  shown
                2  VERSION is not registered, or there is no champion
    \b
    Examples:
      digits models show
      digits models show v0.1.0 --markdown card.md
      digits models show workspace --html card.html
    """
    if markdown and fullmatch(rf"{CHAMPION}|{WORKSPACE}|v?\d+\.\d+\.\d+", markdown):
        raise click.UsageError(
            f"'{markdown}' after --markdown is a version, expected a file; "
            f"run 'digits models show {markdown} --markdown'"
        )
    one = card.read(Project.find(), version)
    for file, render in ((markdown, card_formats.markdown), (html, card_formats.html)):
        if file and file != "-":
            files.write_text(Path(file), render(one))
            click.echo(f"{file} written", err=as_json)
        elif file and not as_json:
            click.echo(render(one), nl=False)
    if as_json:
        click.echo(json.dumps(one.as_dict(), indent=2, default=str))
    elif not markdown and not html:
        _show_card(one, Console(highlight=False))


@click.command("history")
@json_option
def history_(as_json: bool) -> None:
    """List the versions side by side, newest first: figures, data, parameters, promotions."""
    rows = history.read(Project.find())
    if as_json:
        click.echo(json.dumps([row.as_dict() for row in rows], indent=2, default=str))
    elif not rows:
        click.echo("No version yet; run 'digits models register'.")
    else:
        _show_history(rows, Console(highlight=False))


def _show_card(one: card.Card, console: Console) -> None:
    console.print(_text(f"Model card: {card_sections.title(one)}", "bold"))
    console.print(_text(card_sections.status(one), "dim"))
    if summary := card_sections.summary(one):
        console.print(_text(summary[0].upper() + summary[1:]))
    for section in card_sections.sections(one):
        console.print()
        console.print(_text(section.title, "bold"))
        _show_section(section, console)


def _show_section(section: Section, console: Console) -> None:
    if section.lead:
        console.print(_text(section.lead, "dim"))
    for note in section.notes:
        console.print(_text(f"- {note}"))
    if section.facts:
        facts = Table.grid(padding=(0, 2))
        for name, value in section.facts:
            facts.add_row(_text(name), _text(str(value)))
        console.print(facts)
    for table in section.tables:
        shown = Table(box=None, pad_edge=False, show_header=any(table.head))
        for column, name in enumerate(table.head):
            shown.add_column(
                name, justify="right" if column in table.right else "left", overflow="fold"
            )
        for number, row in enumerate(table.rows):
            style = "bold" if number in table.strong else ""
            shown.add_row(*(_text(str(cell)) for cell in row), style=style)
        console.print(shown)


def _show_history(rows: list[Row], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("", "version", "date", "test accuracy", "misread", "MNIST-C", "data"):
        right = name in ("misread", "MNIST-C")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in rows:
        cells = (
            "*" if row.champion else "",
            row.version,
            row.registration.date[:10] or "-",
            _accuracy(row),
            "-" if row.errors is None else f"{row.errors:,}",
            "-" if row.corrupted_error is None else percent(row.corrupted_error),
            row.data[:_SHORT] or "-",
        )
        table.add_row(*map(_text, cells))
    console.print(table)
    console.print(_text("* champion; MNIST-C: share misread under its corruptions", "dim"))
    for row in rows:
        console.print()
        console.print(_text(row.version, "bold"))
        for line in _details(row):
            console.print(Padding.indent(_text(line), 2))


def _details(row: Row) -> list[str]:
    made = row.registration
    lines = [f"weights {row.weights[:12] or 'not recorded'}, commit {row.commit[:_SHORT]}"]
    lines.append(f"parent {row.parent or 'none'}")
    why = f": {made.why}" if made.why else ""
    lines.append(f"registered {made.date[:10]} by {made.by or '-'}{why}")
    for one in made.promotions:
        forced = "by force " if one.forced else ""
        why = f": {one.why or '; '.join(one.reasons)}".removesuffix(": ")
        lines.append(f"{one.event} {forced}{one.date[:10]} by {one.by or '-'}{why}")
    for name, (old, new) in row.changed.items():
        lines.append(f"{name}: {_value(old)} → {_value(new)}")
    return lines


def _accuracy(row: Row) -> str:
    if row.accuracy is None:
        return "-"
    if row.interval is None:
        return percent(row.accuracy)
    low, high = row.interval
    return f"{percent(row.accuracy)} ({100 * low:.2f} – {100 * high:.2f})"


def _value(value: Any) -> str:
    return "-" if value is None else json.dumps(value, default=str, ensure_ascii=False)


def _text(line: str, style: str = "") -> Text:
    """A line in which nothing from a file is taken for markup."""
    return Text(one_line(line), style=style)
