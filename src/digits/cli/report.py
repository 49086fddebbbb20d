"""`digits report`: what a reader looks at, made from the files in reports/."""

import json
import webbrowser

import click

from digits.core import files
from digits.core.errors import DataError, Verdict
from digits.core.project import Project
from digits.reports import readme


@click.command("report")
@click.option("--readme", "update", is_flag=True, help="Rewrite the README's results table too.")
@click.option("--check", is_flag=True, help="Only say whether the README's table is current.")
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(update: bool, check: bool, show: bool, as_json: bool) -> None:
    """Write reports/index.html, one page that needs nothing else.

    With --readme, the results table of README.md is rewritten between its two markers; with
    --check nothing is written, and the exit code is 1 if that table isn't what the reports say.
    """
    if check and (update or show):
        raise click.UsageError("--check writes nothing; leave out --readme and --open")
    project = Project.find()
    done: dict[str, str | bool] = {}
    if check:
        done["readme_current"] = _check(project)
    else:
        done["page"] = _write_page(project)
        if update:
            done["readme_changed"] = _update(project)
    click.echo(json.dumps(done, indent=2, sort_keys=True) if as_json else _sentence(done))
    if show:
        webbrowser.open(project.index_page.as_uri())
    if done.get("readme_current") is False:
        raise Verdict(
            "README.md: the results table isn't what reports/metrics.json and reports/model.json "
            "say; run 'digits report --readme'"
        )


def _write_page(project: Project) -> str:
    from digits.reports import page  # Jinja and Matplotlib: not needed to check the README

    files.write_text(project.index_page, page.build(project))
    return project.relative(project.index_page)


def _check(project: Project) -> bool:
    text, fresh = _readme(project)
    return text == fresh


def _update(project: Project) -> bool:
    text, fresh = _readme(project)
    if text != fresh:
        files.write_text(project.root / "README.md", fresh)
    return text != fresh


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


def _sentence(done: dict[str, str | bool]) -> str:
    if "readme_current" in done:
        return "README.md is current" if done["readme_current"] else "README.md is out of date"
    if "readme_changed" not in done:
        return f"{done['page']} written"
    readme_now = "rewritten" if done["readme_changed"] else "was current"
    return f"{done['page']} written; README.md {readme_now}"
