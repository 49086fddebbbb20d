"""`digits compare`: a `Comparison` as tables on a terminal, Markdown for a pull request, or JSON.

Names and values come from files that others may have written: on a terminal they are stripped of
control characters, in Markdown they stand in code spans where nothing has a meaning.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from digits.core import files, params
from digits.core.errors import Verdict
from digits.core.project import Project
from digits.versioning import comparison
from digits.versioning.comparison import Change, Comparison, Row

MARKER = "<!-- digits-compare -->"  # by which a workflow finds the one comment it keeps up to date
_ROWS = 40  # of any one list; a comment may have 65,536 characters
_WIDTH = 80  # characters of any one value
_CHANCE = 0.05
_PLAIN = re.compile(r"[^A-Za-z0-9 .,:;=%()'-]")
_SIGNS = {"same": "=", "better": "✅ better", "worse": "🔸 worse", "regression": "❌ regression"}


@click.command("compare")
@click.argument("revision", metavar="[REV]", required=False)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Also write the comparison as Markdown to this file (- for standard output alone).",
)
@click.option(
    "--links",
    metavar="URL",
    help="Where a revision's files can be seen; Markdown then shows the plots of both sides.",
)
@click.option("--strict", is_flag=True, help="Exit 1 also if figures are stale ('dvc repro').")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    revision: str | None, markdown: Path | None, links: str | None, strict: bool, as_json: bool
) -> None:
    """This working tree against REV: metrics, significance, parameters, data, drift, code.

    REV is a commit, branch, tag or DVC experiment; without it, the commit where this branch left
    main. Exit code 1 if a metric fell by more than its tolerance (compare.tolerance in
    params.yaml), or if the data's validation succeeded before and fails now.
    """
    project = Project.find()
    tolerance = params.load(project.params).compare.tolerance
    result = comparison.compare(project, revision, tolerance)
    to_stdout = str(markdown) == "-"
    if markdown and not to_stdout:
        files.write_text(markdown, render(result, links))
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2))
    elif to_stdout:
        click.echo(render(result, links))
    else:
        show(result, Console())
    _judge(result, strict=strict)


def _judge(result: Comparison, *, strict: bool) -> None:
    reasons = list(result.regressions)
    if strict and result.stale:
        reasons.append(f"stale: {', '.join(result.stale)}; run 'dvc repro' and commit its reports")
    if reasons:
        raise Verdict(f"against {_base(result)}: {_clean('; '.join(reasons), width=400)}")


def _base(result: Comparison) -> str:
    short = result.commit[:7]
    return short if result.commit.startswith(result.base) else f"{_clean(result.base)} ({short})"


def _headline(result: Comparison) -> str:
    if result.regressions:
        return "❌ Regression"
    if not result.comparable:
        return "✅ Nothing to compare with yet"
    return "⚠️ No regression, but stale figures" if result.stale else "✅ No regression"


# Markdown


def render(result: Comparison, links: str | None = None) -> str:
    """The comparison as a comment for a pull request: the verdict first, details folded.

    Args:
        links: address under which `<commit>/<path>` shows a file, for the plots of both sides.
    """
    against = "" if not result.comparable else f" against {_code(_base(result))}"
    parts = [f"{MARKER}\n## {_headline(result)}{against}"]
    parts += ["\n".join(f"- **{_plain(reason)}**" for reason in result.regressions)]
    parts += [_stale(result), _metrics(result), _chance(result), *_details(result, links)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _stale(result: Comparison) -> str:
    if not result.stale:
        return ""
    stages = ", ".join(
        f"{_code(stage)} ({', '.join(map(_code, changes[:3]))}{', …' if len(changes) > 3 else ''})"
        for stage, changes in result.stale.items()
    )
    return f"> ⚠️ The figures belong to an older state of {stages}. Run `dvc repro` and commit."


def _metrics(result: Comparison) -> str:
    if not result.comparable:
        return f"{_code(_base(result))} has no `reports/metrics.json`."
    shown, rest = _shown(result.metrics)
    rows = [
        (
            _code(row.name),
            *_figures(row),
            _amount(row.tolerance),
            _SIGNS.get(row.outcome, "changed"),
        )
        for row in shown
    ]
    table = _table(("metric", "before", "now", "change", "tolerance", ""), rows, right=(1, 2, 3, 4))
    return table + (f"\n\n{rest} more are unchanged." if rest else "")


def _chance(result: Comparison) -> str:
    if not result.comparable:
        return ""
    return f"**Significance:** {_plain(_significance(result))}."


def _details(result: Comparison, links: str | None) -> Iterable[str]:
    per_digit = [(_code(row.name), *_figures(row)) for row in result.digits]
    yield _folded(
        f"Per digit ({len(per_digit)})",
        ("digit", "before", "now", "change"),
        per_digit,
        right=(1, 2, 3),
    )
    yield _folded("Test images that changed sides", ("", "index"), _images(result))
    for title, changes in _changes(result):
        rows = [(_code(one.name), _code(one.old), _code(one.new)) for one in changes]
        yield _folded(f"{title} ({len(rows)})", ("", "before", "now"), rows)
    yield _folded(f"Code ({len(result.code)})", ("file",), [(_code(path),) for path in result.code])
    plots = [_plot(path, result, links) for path in result.plots]
    yield _folded(f"Plots ({len(plots)})", ("plot", "before", "now") if links else ("plot",), plots)


def _plot(path: str, result: Comparison, links: str | None) -> tuple[str, ...]:
    if not links:
        return (_code(path),)
    sides = (("before", result.commit), ("now", result.head))
    return (
        _code(path),
        *(f"![{side}]({links}/{commit}/{quote(path)}?raw=true)" for side, commit in sides),
    )


def _folded(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], right: Iterable[int] = ()
) -> str:
    if not rows:
        return ""
    more = f"\n\n… and {len(rows) - _ROWS} more" if len(rows) > _ROWS else ""
    table = _table(head, rows[:_ROWS], right) + more
    return f"<details>\n<summary>{title}</summary>\n\n{table}\n\n</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    rule = ["--:" if column in set(right) else ":--" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _code(value: Any) -> str:
    """Any value as a code span that is safe in a table cell; absent is a dash."""
    text = _clean(value).replace("|", r"\|")
    if not text:
        return "-"
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    padding = " " if "`" in text else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def _plain(text: str) -> str:
    """Text in which no character has a meaning in Markdown or HTML."""
    plain = _PLAIN.sub(lambda found: f"&#{ord(found[0])};", _clean(text, width=400))
    return plain.replace("&#64;", "&#64;&#8203;")  # an invisible space: nobody gets notified


# a terminal


def show(result: Comparison, console: Console) -> None:
    """Print the comparison as tables."""
    against = f" against {_base(result)}"
    console.print(Text(_headline(result) + against, style="bold"))
    for reason in result.regressions:
        console.print(Text(f"  {_clean(reason, width=400)}", style="red"))
    for stage, changes in result.stale.items():
        console.print(Text(f"  stale: {_clean(stage)} ({_clean(', '.join(changes))})"))
    _show_metrics(result, console)
    if result.comparable:
        console.print(Text(_significance(result)))
        for side, ids in _images(result):
            console.print(Text(f"  {side}: {ids}"))
    for title, changes_ in _changes(result):
        rows = [(one.name, _clean(one.old) or "-", _clean(one.new) or "-") for one in changes_]
        _print(console, title, ("", "before", "now"), rows)
    _print(console, "Code", ("file",), [(path,) for path in result.code])
    _print(console, "Plots", ("file",), [(path,) for path in result.plots])


def _show_metrics(result: Comparison, console: Console) -> None:
    shown, rest = _shown(result.metrics)
    rows = [
        (row.name, *_figures(row), _amount(row.tolerance), _SIGNS.get(row.outcome, "changed"))
        for row in shown
    ]
    title = f"Metrics ({rest} more are unchanged)" if rest else "Metrics"
    _print(console, title, ("metric", "before", "now", "change", "tolerance", ""), rows)
    digits = [(row.name, *_figures(row)) for row in result.digits]
    _print(console, "Per digit", ("digit", "before", "now", "change"), digits)


def _print(
    console: Console, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    if not rows:
        return
    table = Table(*head, title=title, title_justify="left")
    for cells in rows[:_ROWS]:
        table.add_row(*(Text(_clean(cell)) for cell in cells))
    console.print(table)
    if len(rows) > _ROWS:
        console.print(f"… and {len(rows) - _ROWS} more")


# both


def _shown(rows: list[Row]) -> tuple[list[Row], int]:
    """The rows worth a line, and the number of the others."""
    shown = [row for row in rows if row.outcome != "same" or row.tolerance is not None][:_ROWS]
    return shown, len(rows) - len(shown)


def _changes(result: Comparison) -> Iterable[tuple[str, list[Change]]]:
    yield "Parameters", result.parameters
    yield "Data", result.data
    yield "Drift", result.drift
    yield "Validation", [result.validation] if result.validation else []


def _images(result: Comparison) -> list[tuple[str, str]]:
    found = result.significance
    if found is None:
        return []
    sides = {"newly wrong": found.newly_wrong, "newly right": found.newly_right}
    return [
        (f"{len(ids)} {side}", ", ".join(map(str, ids[:_ROWS])) + ("…" if ids[_ROWS:] else ""))
        for side, ids in sides.items()
        if ids
    ]


def _significance(result: Comparison) -> str:
    found = result.significance
    if found is None:
        return f"not tested: {result.not_tested}"
    if not found.newly_wrong and not found.newly_right:
        return "both sides get exactly the same test images wrong"
    verdict = "more than chance" if found.p_value < _CHANCE else "may well be chance"
    return (
        f"newly wrong test images: {len(found.newly_wrong)}, newly right: "
        f"{len(found.newly_right)}; {verdict} (p = {found.p_value:.2g}, McNemar's exact test)"
    )


def _figures(row: Row) -> tuple[str, str, str]:
    return _amount(row.old), _amount(row.new), _amount(row.change, sign="+")


def _amount(value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign}d}" if isinstance(value, int) else f"{value:{sign}.4f}"


def _clean(value: Any, width: int = _WIDTH) -> str:
    """One line without control characters, cut to `width`; absent is empty."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    line = "".join(one if one.isprintable() else " " for one in text)
    line = " ".join(line.split())
    return line if len(line) <= width else line[: width - 1] + "…"
