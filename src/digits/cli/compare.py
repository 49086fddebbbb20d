"""`digits compare`: a `Comparison` as tables on a terminal, as Markdown, or as JSON.

Names and values come from files that the author of a pull request may have written. On a terminal
they are stripped of control characters; in Markdown they are in code spans or escaped.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from digits.cli import _terminal
from digits.core import files
from digits.core.errors import DigitsError, Verdict
from digits.core.project import Project
from digits.formatting import markdown_code, markdown_table, markdown_text, one_line
from digits.gate import comparison, verification
from digits.gate.comparison import Comparison, MetricChange
from digits.versioning import git

MARKER = "<!-- digits-compare -->"  # by which the workflow finds the comment that it updates
_MAX_ROWS = 40  # of a list
_MAX_SIZE = 5_000  # characters of a list; a comment on GitHub may have 65,536
_MAX_NAME = 200  # characters
_MAX_VALUE = 80
_SIGNIFICANT = 0.05
_OUTCOMES = {
    "same": "=",
    "better": "✅ better",
    "worse": "🔸 worse",
    "regression": "❌ regression",
    "changed": "changed",
}


@click.command("compare")
@click.argument("revision", metavar="[REV]", required=False)
@click.option(
    "--markdown",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Print Markdown instead of tables; with FILE, print tables and write Markdown to FILE.",
)
@click.option(
    "--links",
    metavar="URL",
    help="Show the plots of both sides in Markdown, from URL/<commit>/<path>.",
)
@click.option("--strict", is_flag=True, help="Exit with code 1 also if results are stale.")
@_terminal.json_option
def command(
    revision: str | None, markdown: str | None, links: str | None, strict: bool, as_json: bool
) -> None:
    """Compare the working tree with REV: is the model worse, and what else changed?

    REV is a commit, branch, tag or DVC experiment, by default the commit where this branch left
    main. It must come before --markdown.

    \b
    Exit codes: 0 no regression
                1 a metric got worse by more than compare.tolerance in params.yaml allows,
                  or data validation succeeded before and fails now
                2 REV is unknown, or a report is missing or damaged
    \b
    Examples:
      digits compare HEAD~1
      digits compare main --markdown
      digits compare main --markdown comparison.md
    """
    project = Project.find()
    file = None if markdown == "-" else markdown
    if file:
        _refuse_revision(project, file)
    result = comparison.compare(project, revision, {})
    rebuild = _rebuild(project, result.commit)
    if file:
        files.write_text(Path(file), render(result, links, rebuild))
        click.echo(f"Markdown written to {file}", err=True)
    if as_json:
        click.echo(json.dumps(asdict(result) | {"rebuild": rebuild}, indent=2))
    elif markdown and not file:
        click.echo(render(result, links, rebuild), nl=False)
    else:
        show(result, Console(highlight=False), rebuild)
    reasons = list(result.regressions)
    if strict and result.stale:
        reasons.append(f"stale: {', '.join(result.stale)}; run 'dvc repro' and commit its reports")
    if reasons:
        raise Verdict(f"against {_base(result)}: {one_line('; '.join(reasons))}")


def _refuse_revision(project: Project, file: str) -> None:
    try:
        git.resolve(project, file)
    except DigitsError:
        return
    raise click.UsageError(
        f"'{file}' after --markdown is a revision, expected a file; run 'digits compare {file} "
        f"--markdown' to compare with it, or '--markdown ./{file}' to write a file of that name"
    )


# both renderings


class _Untrusted(str):
    """A name or value from a file, in one line of limited length."""


class _Section(NamedTuple):
    """A table; `right` are the right-aligned columns."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[int] = ()


def _sections(result: Comparison, links: str | None = None) -> Iterator[_Section]:
    before_now = ("before", "now")
    shown = [one for one in result.metrics if one.outcome != "same" or one.tolerance is not None]
    rest = len(result.metrics) - len(shown)
    yield _Section(
        f"Metrics ({rest} more are unchanged)" if rest else "Metrics",
        ("metric", *before_now, "change", "tolerance", ""),
        [(*_figures(one), _number(one.tolerance), _OUTCOMES[one.outcome]) for one in shown],
        right=(1, 2, 3, 4),
    )
    digits = [_figures(one) for one in result.digits]
    yield _Section("Per digit", ("digit", *before_now, "change"), digits, right=(1, 2, 3))
    yield _Section("Test images that changed sides", ("", "index"), _images(result))
    for title, changes in (
        ("Parameters", result.parameters),
        ("Data", result.data),
        ("Drift", result.drift),
        ("Validation", [result.validation] if result.validation else []),
    ):
        rows = [(_name(change.name), _value(change.old), _value(change.new)) for change in changes]
        yield _Section(f"{title} ({len(rows)})", ("", *before_now), rows)
    code = [(_name(path),) for path in result.code]
    yield _Section(f"Code ({len(code)})", ("file",), code)
    sides = {"before": result.commit, "now": result.head} if links else {}
    plots = [
        (
            _name(path),
            *(
                f"![{side}]({links}/{commit}/{quote(path)}?raw=true)"
                for side, commit in sides.items()
            ),
        )
        for path in result.plots
    ]
    yield _Section(f"Plots ({len(plots)})", ("file", *sides), plots)
    stale = [(_name(stage), _name(", ".join(changes))) for stage, changes in result.stale.items()]
    yield _Section(f"Stale stages ({len(stale)})", ("stage", "what changed"), stale)


def _limited(rows: Sequence[Sequence[str]]) -> tuple[list[Sequence[str]], str]:
    """As many rows as a list may have, and a note on the others."""
    shown: list[Sequence[str]] = []
    size = 0
    for row in rows[:_MAX_ROWS]:
        size += sum(map(len, row))
        if size > _MAX_SIZE:
            break
        shown.append(row)
    rest = len(rows) - len(shown)
    return shown, f"… and {rest} more" if rest else ""


def _headline(result: Comparison) -> str:
    if result.regressions:
        return "❌ Regression"
    if not result.comparable:
        return "✅ Nothing to compare with yet"
    return "⚠️ No regression, but stale results" if result.stale else "✅ No regression"


def _base(result: Comparison) -> str:
    commit = result.commit[:7]
    return commit if result.commit.startswith(result.base) else f"{_name(result.base)} ({commit})"


def _significance(result: Comparison) -> str:
    test = result.significance
    if test is None:
        return f"not tested: {result.not_tested}"
    if not test.newly_wrong and not test.newly_right:
        return "both sides get exactly the same test images wrong"
    verdict = "is significant" if test.p_value < _SIGNIFICANT else "may be chance"
    return (
        f"{len(test.newly_wrong)} test images are newly wrong, {len(test.newly_right)} newly "
        f"right; the difference {verdict} (p = {test.p_value:.2g}, McNemar's exact test)"
    )


def _rebuild(project: Project, commit: str) -> str:
    """Whether the same inputs gave the same or equivalent results; empty if inputs changed."""
    try:
        verified = verification.verify(project, commit)
    except DigitsError:  # nothing is built here
        return ""
    return "" if verified.changed_inputs else verified.summary()


def _images(result: Comparison) -> list[tuple[str, str]]:
    test = result.significance
    sides = {"newly wrong": test.newly_wrong, "newly right": test.newly_right} if test else {}
    return [
        (
            f"{len(images)} {side}",
            ", ".join(map(str, images[:_MAX_ROWS])) + (", …" if images[_MAX_ROWS:] else ""),
        )
        for side, images in sides.items()
        if images
    ]


def _figures(metric: MetricChange) -> tuple[str, str, str, str]:
    change = _number(metric.change, sign="+")
    return _name(metric.name), _number(metric.old), _number(metric.new), change


def _number(value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign}d}" if isinstance(value, int) else f"{value:{sign}.4f}"


def _name(text: str) -> _Untrusted:
    return _shortened(text, _MAX_NAME)


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return _shortened(value if isinstance(value, str) else json.dumps(value), _MAX_VALUE)


def _shortened(text: str, width: int) -> _Untrusted:
    """One line; in a long one, a digest replaces the middle so that no two look the same."""
    if len(text) > width:
        digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
        text = f"{text[: width // 2]}…{digest}…{text[-width // 2 + 10 :]}"
    return _Untrusted(one_line(text))


# Markdown


def render(result: Comparison, links: str | None = None, rebuild: str = "") -> str:
    """The comparison as a comment on a pull request: verdict and metrics, then folded details.

    Args:
        links: the URL under which `<commit>/<path>` shows a file; adds both sides' plots.
        rebuild: how results of the same inputs relate.
    """
    base = markdown_code(_base(result))
    against = f" against {base}" if result.comparable else ""
    parts = [f"{MARKER}\n## {_headline(result)}{against}"]
    reasons, more = _limited([(markdown_text(reason),) for reason in result.regressions])
    parts += ["\n".join(f"- **{reason}**" for (reason,) in reasons), more]
    if result.stale:
        parts.append("> ⚠️ Some stages are stale (see below). Run `dvc repro` and commit.")
    metrics, *details = _sections(result, links)
    if result.comparable:
        significance = f"**Significance:** {markdown_text(_significance(result))}."
        parts += [f"### {metrics.title}", _table(metrics), significance, markdown_text(rebuild)]
    else:
        parts.append(f"{base} has no `reports/metrics.json`.")
    parts += [
        f"<details>\n<summary>{section.title}</summary>\n\n{_table(section)}\n\n</details>"
        for section in details
        if section.rows
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(section: _Section) -> str:
    cells = [
        [markdown_code(cell) if isinstance(cell, _Untrusted) else cell for cell in row]
        for row in section.rows
    ]
    rows, more = _limited(cells)
    return markdown_table(section.head, rows, section.right) + (f"\n\n{more}" if more else "")


# terminal


def show(result: Comparison, console: Console, rebuild: str = "") -> None:
    """Print the comparison as tables."""
    console.print(Text(f"{_headline(result)} against {_base(result)}", style="bold"))
    for reason in result.regressions:
        console.print(Text(f"  {one_line(reason)}", style="red"))
    if result.comparable:
        console.print(Text(_significance(result)))
    if rebuild:
        console.print(Text(one_line(rebuild)))
    for section in _sections(result):
        if not section.rows:
            continue
        table = Table(
            title=section.title, title_justify="left", title_style="bold", box=None, pad_edge=False
        )
        for column, title in enumerate(section.head):
            right = column in section.right
            table.add_column(
                title,
                header_style="dim",
                justify="right" if right else "left",
                no_wrap=right,
                overflow="fold",  # a name is never cut
            )
        rows, more = _limited(section.rows)
        for row in rows:
            table.add_row(*map(Text, row))
        console.print()
        console.print(table)
        if more:
            console.print(more)
