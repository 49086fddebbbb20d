"""`digits status`: the state of the project."""

import json
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from digits.cli._terminal import json_option
from digits.core.project import Project
from flows import status
from flows.status import Run, Status

_MAX_REASONS = 3  # named per stage; --json has all


@click.command("status")
@json_option
def command(as_json: bool) -> None:
    """Show the state of the project: champion, model, data, stale stages, runs, drift, server.

    It only reads, and also works in a fresh clone. What can't be read is 'unknown', with the
    reason on stderr.

    \b
    Exit code: 0
    """
    current = status.read(Project.find())
    if as_json:
        click.echo(json.dumps(current.as_dict(), indent=2))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _sections(current):
        table.add_row(name, text)
    Console(highlight=False, markup=False).print(table)
    for problem in current.problems:
        click.echo(f"digits: {problem}", err=True)


def _sections(current: Status) -> list[tuple[str, str]]:
    return [
        ("champion", _champion(current.champion)),
        ("model", _model(current.model) + (f"\n{current.weights}" if current.weights else "")),
        ("data", _data(current)),
        ("stale", _stale(current.stale)),
        ("runs", _runs(current.runs)),
        ("drift", _drift(current.drift)),
        ("server", current.server or "not running; start it with 'make server'"),
    ]


def _champion(champion: dict[str, Any] | None) -> str:
    if not champion:
        return "none yet; run 'digits models register', then 'digits models promote'"
    accuracy = _accuracy(champion["accuracy"])
    return f"{champion['version']}  {accuracy}  commit {champion['commit'][:7]}"


def _model(model: dict[str, Any] | None) -> str:
    if not model:
        return "none yet; run 'digits run'"
    missing = "" if model["present"] else "  (weights missing; run 'dvc pull' or 'digits run')"
    return f"{model['name']}  {_accuracy(model['accuracy'])}{missing}"


def _accuracy(accuracy: float | None) -> str:
    return "not evaluated" if accuracy is None else f"test accuracy {accuracy:.2%}"


def _data(current: Status) -> str:
    if not current.data:
        return "unknown"
    data = current.data
    size = f"{data.size / 1e6:,.1f} MB" if data.size else "size unknown"
    missing = "" if data.present else "  (missing; run 'digits fetch')"
    return f"{data.md5.removesuffix('.dir')[:12]}  {data.files} files, {size}{missing}"


def _stale(stale: dict[str, list[str]] | None) -> str:
    if stale is None:
        return "unknown"
    lines = [f"{stage}: {_reasons(changes)}" for stage, changes in stale.items()]
    return "\n".join(lines) or "nothing; every result is up to date"


def _reasons(changes: list[str]) -> str:
    more = f" and {len(changes) - _MAX_REASONS} more" if len(changes) > _MAX_REASONS else ""
    return f"{', '.join(changes[:_MAX_REASONS])}{more} changed"


def _runs(runs: list[Run] | None) -> str:
    if runs is None:
        return "unknown"
    lines = [f"{run.start}  {run.result.lower():10}  {_duration(run)}{run.name}" for run in runs]
    return "\n".join(lines) or "none yet"


def _duration(run: Run) -> str:
    try:
        elapsed = datetime.fromisoformat(run.end or "") - datetime.fromisoformat(run.start)
    except ValueError:
        return ""
    return f"{elapsed.total_seconds():,.0f} s  "


def _drift(drift: dict[str, dict[str, Any]] | None) -> str:
    if drift is None:
        return "not checked yet"
    lines = [
        f"{name}: {'no drift' if batch['verdict'] == 'none' else batch['verdict']} "
        f"(p = {batch['p_value']}, "
        f"{batch['n']} images, estimated accuracy {batch['estimated_accuracy']})"
        for name, batch in drift.items()
    ]
    return "\n".join(lines) or "no batches"
