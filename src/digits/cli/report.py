"""`digits report`: the HTML report and the README's results table."""

import json
import webbrowser

import click

from digits.cli._terminal import json_option
from digits.core import files
from digits.core.errors import DataError, Verdict
from digits.core.project import Project
from digits.reports import readme


@click.command("report")
@click.option("--readme", "update", is_flag=True, help="Also update the README's results table.")
@click.option("--check", is_flag=True, help="Only check the README's results table.")
@click.option("--open", "show", is_flag=True, help="Open the report in a browser.")
@json_option
def command(update: bool, check: bool, show: bool, as_json: bool) -> None:
    """Write reports/index.html, a self-contained page with the gate's verdict and all results.

    What the model does in a clean process is taken from the last 'digits gate'. With --check,
    nothing is written.

    \b
    Exit codes: 0  written, or with --check: the table is up to date
                1  with --check: the table is out of date
                2  a report that is needed is missing or damaged
    \b
    Examples:
      digits report --open
      digits report --readme
    """
    if check and (update or show):
        raise click.UsageError("--check writes nothing; leave out --readme and --open")
    project = Project.find()
    outcome: dict[str, str | bool]
    if check:
        outcome = {"readme_current": _is_current(project)}
    else:
        outcome = {"page": _write_page(project)}
        if update:
            outcome["readme_changed"] = _update(project)
    click.echo(json.dumps(outcome, indent=2, sort_keys=True) if as_json else _summary(outcome))
    if show:
        webbrowser.open(project.index_page.as_uri())
    if outcome.get("readme_current") is False:
        raise Verdict(
            "README.md: the results table differs from reports/metrics.json and "
            "reports/model.json; run 'digits report --readme'"
        )


def _write_page(project: Project) -> str:
    from digits.reports import page  # imports Jinja and Matplotlib, which --check doesn't need

    files.write_text(project.index_page, page.build(project))
    return project.relative(project.index_page)


def _is_current(project: Project) -> bool:
    text, expected = _readme(project)
    return text == expected


def _update(project: Project) -> bool:
    text, expected = _readme(project)
    if text != expected:
        files.write_text(project.root / "README.md", expected)
    return text != expected


def _readme(project: Project) -> tuple[str, str]:
    """The README as it is, and as it should be."""
    path = project.root / "README.md"
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as exc:
        raise DataError(f"{path}: not a readable text file ({exc})") from exc
    metrics = files.read_json(project.metrics)
    card = files.read_json(project.model_card)
    return text, readme.replace(text, readme.results_table(metrics, card))


def _summary(outcome: dict[str, str | bool]) -> str:
    if "readme_current" in outcome:
        return "README.md is current" if outcome["readme_current"] else "README.md is out of date"
    if "readme_changed" not in outcome:
        return f"{outcome['page']} written"
    state = "rewritten" if outcome["readme_changed"] else "was current"
    return f"{outcome['page']} written; README.md {state}"
