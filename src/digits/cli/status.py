"""`digits status`: where the project stands."""

import json
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from digits.core.project import Project
from flows import status
from flows.status import Run, Status

_REASONS = 3  # changes of a stage that are named; --json has all


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(as_json: bool) -> None:
    """Champion, model and data, what is stale and why, the last runs, drift.

    Reads only, and works before anything has been built.
    """
    found = status.read(Project.find())
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, lines in _sections(found):
        table.add_row(name, "\n".join(lines))
    Console(highlight=False, markup=False).print(table)
    for problem in found.problems:
        click.echo(f"digits: {problem}", err=True)


def _sections(found: Status) -> list[tuple[str, list[str]]]:
    return [
        ("champion", [_champion(found.champion)]),
        ("model", [_model(found.model)]),
        ("data", [_data(found)]),
        ("stale", _stale(found.stale)),
        ("runs", _runs(found.runs)),
        ("drift", _drift(found.drift)),
        ("server", [found.server or "not running; start it with 'make server'"]),
    ]


def _champion(champion: dict[str, Any] | None) -> str:
    if not champion:
        return "none yet; run 'digits models register', then 'digits models promote'"
    return f"{champion['version']}  {_share(champion['accuracy'])}  commit {champion['commit'][:7]}"


def _model(model: dict[str, Any] | None) -> str:
    if not model:
        return "none yet; run 'digits run'"
    absent = "" if model["present"] else "  (weights absent; run 'dvc pull' or 'digits run')"
    return f"{model['name']}  {_share(model['accuracy'])}{absent}"


def _share(accuracy: float | None) -> str:
    return "not evaluated" if accuracy is None else f"{accuracy:.2%} of the test set"


def _data(found: Status) -> str:
    if not found.data:
        return "unknown"
    size = f"{found.data.size / 1e6:,.1f} MB" if found.data.size else "size unknown"
    absent = "" if found.data.present else "  (absent; run 'digits fetch')"
    return f"{found.data.md5.removesuffix('.dir')[:12]}  {found.data.files} files, {size}{absent}"


def _stale(stale: dict[str, list[str]] | None) -> list[str]:
    if stale is None:
        return ["unknown"]
    return [f"{stage}: {_reasons(why)}" for stage, why in stale.items()] or [
        "nothing: what is built belongs to what is in the tree"
    ]


def _reasons(why: list[str]) -> str:
    more = f" and {len(why) - _REASONS} more" if len(why) > _REASONS else ""
    return f"{', '.join(why[:_REASONS])}{more} changed"


def _runs(runs: list[Run] | None) -> list[str]:
    if runs is None:
        return ["unknown"]
    return [f"{run.start}  {run.state:9}  {_duration(run)}{run.name}" for run in runs] or [
        "none yet"
    ]


def _duration(run: Run) -> str:
    try:
        took = datetime.fromisoformat(run.end or "") - datetime.fromisoformat(run.start)
    except ValueError:
        return ""
    return f"{took.total_seconds():,.0f} s  "


def _drift(drift: dict[str, dict[str, Any]] | None) -> list[str]:
    if drift is None:
        return ["not checked yet"]
    return [
        f"{name}: {'drift' if batch['drift'] else 'no drift'} (p = {batch['p_value']}, "
        f"{batch['n']} images, estimated accuracy {batch['estimated_accuracy']})"
        for name, batch in drift.items()
    ] or ["no batches"]
