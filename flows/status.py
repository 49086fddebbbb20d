"""The state of a project: champion, model, data, stale stages, last runs, drift, server.

Reads only. What is missing or unreadable is None, so a fresh clone has a status too. Nothing heavy
is imported: runs are read from Prefect's database directly.
"""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from digits.core import files
from digits.core.errors import DataError, DigitsError, RegistryError
from digits.core.project import Project
from digits.registry import catalogue
from digits.versioning import consistency, dvc
from digits.versioning.dvc import DataVersion
from flows import services

_MAX_RUNS = 5
_TIMEOUT = 1.0  # s to wait for a database that is being written to
_QUERY = """
    SELECT name, state_type, state_name, start_time, end_time FROM flow_run
    WHERE parent_task_run_id IS NULL AND start_time IS NOT NULL
    ORDER BY start_time DESC LIMIT ?
"""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Run:
    """A flow run: Prefect's state in lower case, times in UTC as ISO 8601.

    `result` is the name of the state: what the monitor found, e.g. 'Harmful', else as `state`.
    """

    name: str
    state: str
    result: str
    start: str
    end: str | None


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
    runs: list[Run] | None  # newest first
    drift: dict[str, dict[str, Any]] | None  # batch → verdict
    server: str | None  # the address of Prefect's UI while the server is up
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

    with ThreadPoolExecutor(1) as pool:
        # half a second, most of the time needed here
        consistent = pool.submit(consistency.check, project)
        return Status(
            champion=known("champion", lambda: _champion(project)),
            model=_model(project),
            data=known("data", lambda: _data(project)),
            runs=known("last runs", lambda: _runs(project.build / "prefect" / "prefect.db")),
            drift=_drift(project),
            server=services.url(project),
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


def _runs(database: Path) -> list[Run]:
    if not database.is_file():
        return []
    address = f"{database.resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_TIMEOUT)) as connection:
            rows = connection.execute(_QUERY, (_MAX_RUNS,)).fetchall()
    except sqlite3.Error as exc:  # other versions of Prefect may have other tables
        raise DataError(str(exc)) from exc
    return [
        Run(str(name), str(state).lower(), str(result), _iso(start), _iso(end) if end else None)
        for name, state, result, start, end in rows
    ]


def _iso(time: str) -> str:
    return str(time).replace(" ", "T").partition(".")[0] + "Z"


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
