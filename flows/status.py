"""The state of a project: champion, model, data, stale stages, runs, drift, server.

Reads only. What is missing or unreadable is None, so a fresh clone has a status too. Nothing heavy
is imported: runs are read from Prefect's database directly, also while no server is up.
"""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil

from digits.core import files, processes
from digits.core.errors import DataError, DigitsError, RegistryError
from digits.core.project import Project
from digits.formatting import one_line
from digits.registry import catalogue
from digits.versioning import consistency, dvc
from digits.versioning.dvc import DataVersion
from flows import services

_MAX_RUNS = 5
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_TIMEOUT = 1.0  # s to wait for a database that is being written to
# The newest runs; with hundreds of monitor runs a week, the newest of each flow and the newest that
# failed are among them only by chance. Prefect has an index for each of the three.
_RUNS = """
    WITH top AS (
        SELECT id, flow_id, state_type, start_time FROM flow_run
        WHERE parent_task_run_id IS NULL AND start_time IS NOT NULL
    )
    SELECT run.name, run.state_type, run.state_name, run.start_time, run.end_time, state.message
    FROM flow_run AS run LEFT JOIN flow_run_state AS state ON state.id = run.state_id
    WHERE run.id IN (SELECT id FROM top ORDER BY start_time DESC LIMIT ?)
    OR run.id IN (
        SELECT (SELECT id FROM top WHERE flow_id = flow.id ORDER BY start_time DESC LIMIT 1)
        FROM flow
    )
    OR run.id = (
        SELECT id FROM top WHERE state_type IN ('FAILED', 'CRASHED')
        ORDER BY start_time DESC LIMIT 1
    )
    ORDER BY run.start_time DESC
"""
_NEXT = """
    SELECT deployment.name, MIN(run.next_scheduled_start_time) AS time
    FROM flow_run AS run JOIN deployment ON deployment.id = run.deployment_id
    WHERE run.state_type = 'SCHEDULED' AND run.next_scheduled_start_time IS NOT NULL
    GROUP BY deployment.name ORDER BY time
"""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Run:
    """A flow run: Prefect's state in lower case, times in UTC as ISO 8601.

    `result` is the name of the state: what the monitor found, e.g. 'Harmful', else as `state`.
    `message` is the state's message as one line: what was found, or why the run failed.
    """

    name: str
    state: str
    result: str
    start: str
    end: str | None
    message: str


@dataclass(frozen=True)
class NextRun:
    """The next run of a deployment; its time, in UTC as ISO 8601, is past if it is late."""

    deployment: str
    time: str


@dataclass(frozen=True)
class Holder:
    """Who runs the pipeline now: name, pid, and since when, in UTC as ISO 8601."""

    who: str
    pid: int
    since: str


@dataclass(frozen=True)
class Data(DataVersion):
    """The version of data/ that data.dvc pins, and whether data/ is on disk."""

    present: bool


@dataclass(frozen=True)
class Status:
    """The state of a project; `problems` has the reason for each value that is unknown."""

    champion: dict[str, Any] | None  # version, commit, accuracy (0–1, on the test set)
    model: dict[str, Any] | None  # of the working tree: name, accuracy, whether weights are present
    data: Data | None
    stale: dict[str, list[str]] | None  # stage → what changed
    weights: str  # why models/ isn't what the model card describes; empty if it is, or is missing
    running: Holder | None  # who holds the lock of 'digits run'
    runs: list[Run] | None  # newest first: the last five, of each flow, and the last that failed
    next: list[NextRun] | None  # soonest first; empty unless the server is up
    drift: dict[str, dict[str, Any]] | None  # batch → verdict
    server: str | None  # the address of Prefect's UI while the server is up
    worker: bool  # whether its process runs; without a worker, no run starts
    keeper: bool  # whether its process runs; it starts the other two again when they die
    problems: list[str]

    def as_dict(self) -> dict[str, Any]:
        """As plain types, for JSON."""
        return asdict(self)


def read(project: Project) -> Status:
    """The state of the project now."""
    problems: list[str] = []

    def known(what: str, question: Callable[[], _T]) -> _T | None:
        try:
            return question()
        except DigitsError as exc:
            problems.append(f"{what}: unknown ({exc})")
            return None

    database, url = project.build / "prefect" / "prefect.db", services.url(project)
    with ThreadPoolExecutor(1) as pool:
        # half a second, most of the time needed here
        consistent = pool.submit(consistency.check, project)
        return Status(
            champion=known("champion", lambda: _champion(project)),
            model=_model(project),
            data=known("data", lambda: _data(project)),
            running=_running(project),
            runs=known("last runs", lambda: read_runs(database)),
            next=known("next runs", lambda: _next(database)) if url else [],
            drift=_drift(project),
            server=url,
            worker=services.pid(project, "worker") is not None,
            keeper=services.pid(project, "keeper") is not None,
            stale=known("stale stages", lambda: consistent.result().stale),
            weights=known("weights", lambda: consistent.result().weights) or "",
            problems=problems,
        )


def _champion(project: Project) -> dict[str, Any] | None:
    try:
        version = catalogue.find(project)
    except RegistryError:
        return None
    return {"version": version.name, "commit": version.commit, "accuracy": version.accuracy}


def _model(project: Project) -> dict[str, Any] | None:
    card = _document(project.model_card)
    if not card:
        return None
    weights = card.get("weights") or {}
    return {
        "name": card.get("model"),
        "accuracy": (_document(project.metrics).get("test") or {}).get("accuracy"),
        "present": bool(weights) and all((project.root / name).is_file() for name in weights),
    }


def _data(project: Project) -> Data:
    version = dvc.data_version(project)
    present = project.mnist.is_dir() and any(project.mnist.iterdir())
    return Data(**asdict(version), present=present)


def _running(project: Project) -> Holder | None:
    """Who holds the lock; one that was killed left its name, but no process as old as that.

    Trying the lock would tell, too, but could keep out a run that starts at that moment.
    """
    lock = _document(project.state / "run.lock")
    try:
        pid, since = int(lock["pid"]), float(lock["since"])
        if processes.alive(pid) and psutil.Process(pid).create_time() <= since:
            return Holder(str(lock["who"]), pid, f"{datetime.fromtimestamp(since, UTC):{_FORMAT}}")
    except (KeyError, TypeError, ValueError, psutil.Error):
        pass
    return None


def read_runs(database: Path) -> list[Run]:
    return [
        Run(
            str(name),
            str(state).lower(),
            str(result),
            _iso(start),
            _iso(end) if end else None,
            one_line(message or ""),
        )
        for name, state, result, start, end, message in _rows(database, _RUNS, _MAX_RUNS)
    ]


def _next(database: Path) -> list[NextRun]:
    return [NextRun(str(name), _iso(time)) for name, time in _rows(database, _NEXT)]


def _rows(database: Path, query: str, *values: int) -> list[tuple[Any, ...]]:
    """What Prefect's database answers; nothing if there is none yet.

    Raises:
        DataError: it is locked or damaged, or of a version of Prefect with other tables.
    """
    if not database.is_file():
        return []
    address = f"{database.resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_TIMEOUT)) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.Error as exc:
        raise DataError(str(exc)) from exc


def _iso(time: str) -> str:
    """A time of Prefect's database, which is in UTC, as ISO 8601.

    Raises:
        DataError: it is none.
    """
    try:
        return f"{datetime.fromisoformat(time):{_FORMAT}}"
    except (TypeError, ValueError) as exc:
        raise DataError(f"{time!r} is not a time") from exc


def _drift(project: Project) -> dict[str, dict[str, Any]] | None:
    batches = _document(project.drift_report).get("batches")
    if batches is None:
        return None
    fields = ("verdict", "drift", "p_value", "n", "estimated_accuracy", "no_digit_share")
    return {name: {field: batches[name].get(field) for field in fields} for name in sorted(batches)}


def _document(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if it is missing or damaged."""
    try:
        document = files.read_json(path)
    except DataError:
        return {}
    return document if isinstance(document, dict) else {}
