"""`digits status`: the state of the project."""

import json
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.table import Table

from digits.cli._terminal import json_option
from digits.core.project import Project
from digits.formatting import duration
from flows import status
from flows.status import NextRun, Run, Status

# --json has all
_MAX_REASONS = 3  # named per stage
_MAX_MESSAGE = 240  # characters of why a run failed

_WELL = ("completed", "running", "pending", "scheduled")  # states that need no reason


@click.command("status")
@json_option
def command(as_json: bool) -> None:
    """Show the state of the project: champion, model, data, stale stages, runs, drift, server.

    Runs are the last five, the last of each flow and the last that failed, with the reason. Times
    are local; in --json, UTC.

    It only reads, and also works in a fresh clone. What can't be read is 'unknown', with the
    reason on stderr.

    \b
    Exit code: 0
    """
    current = status.read(Project.find())
    if as_json:
        click.echo(json.dumps(current.as_dict(), indent=2))
        return
    table = _grid(2)
    table.columns[0].style = "dim"
    for name, text in _sections(current):
        table.add_row(name, text)
    Console(highlight=False, markup=False).print(table)
    for problem in current.problems:
        click.echo(f"digits: {problem}", err=True)


def _grid(columns: int) -> Table:
    """A table without lines, in which only the last column is wrapped."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(columns - 1):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _sections(current: Status) -> list[tuple[str, RenderableType]]:
    now = datetime.now(UTC)
    return [
        ("champion", _champion(current.champion)),
        ("model", _model(current.model) + (f"\n{current.weights}" if current.weights else "")),
        ("data", _data(current)),
        ("stale", _stale(current.stale)),
        ("running", _running(current, now)),
        ("runs", _runs(current.runs, now)),
        ("next", _next(current, now)),
        ("drift", _drift(current.drift)),
        ("server", _server(current)),
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


def _running(current: Status, now: datetime) -> str:
    if not current.running:
        return "nothing"
    holder = current.running
    return f"{holder.who} (pid {holder.pid}) for {_rough(now, holder.since)}"


def _runs(runs: list[Run] | None, now: datetime) -> RenderableType:
    if runs is None:
        return "unknown"
    if not runs:
        return "none yet"
    table = _grid(4)
    table.columns[2].justify = "right"
    for run in runs:
        reason = "" if run.state in _WELL else f"\n{_shortened(run.message)}".rstrip()
        table.add_row(
            _local(run.start, now), run.result.lower(), _duration(run), f"{run.name}{reason}"
        )
    return table


def _shortened(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else f"{message[: _MAX_MESSAGE - 1]}…"


def _next(current: Status, now: datetime) -> RenderableType:
    if current.next is None:
        return "unknown"
    if not current.next:
        return "nothing is scheduled" if current.server else "nothing while the server is down"
    table = _grid(3)
    for run in current.next:
        table.add_row(_local(run.time, now), run.deployment, _distance(run, now))
    return table


def _distance(run: NextRun, now: datetime) -> str:
    rough = _rough(now, run.time)
    return f"in {rough}" if datetime.fromisoformat(run.time) > now else f"late by {rough}"


def _server(current: Status) -> str:
    if not current.server:
        return "not running; start it with 'make server'"
    dead = [name for name in ("worker", "keeper") if not getattr(current, name)]
    if not dead:
        return f"{current.server}  worker and keeper are running"
    return f"{current.server}  {' and '.join(dead)} not running; restart with 'make server'"


def _local(time: str, now: datetime) -> str:
    """A time in UTC as local time, without what it shares with `now`."""
    local, today = datetime.fromisoformat(time).astimezone(), now.astimezone()
    if local.date() == today.date():
        return f"{local:%H:%M}"
    return f"{local:%d %b %H:%M}" if local.year == today.year else f"{local:%d %b %Y}"


def _rough(now: datetime, time: str) -> str:
    """How far a time is from `now`, to the minute, hour or day."""
    minutes = abs((datetime.fromisoformat(time) - now).total_seconds()) / 60
    if minutes < 1:
        return "less than a minute"
    if minutes < 120:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _duration(run: Run) -> str:
    if not run.end:
        return ""
    elapsed = datetime.fromisoformat(run.end) - datetime.fromisoformat(run.start)
    return duration(round(elapsed.total_seconds()))


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
