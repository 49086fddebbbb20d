"""Where a project stands: model, data, what is stale, the last runs, drift. Reads, never changes.

What is absent or can't be read is None; a fresh clone has a status too. Nothing heavy is imported:
the runs come from Prefect's database itself.
"""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from digits.core import files
from digits.core.errors import DataError, DigitsError, RegistryError
from digits.core.project import Project
from digits.versioning import dvc, registry
from digits.versioning.dvc import DataVersion
from flows import services

_RUNS = 5
_PATIENCE = 1.0  # s to wait for a database that is being written to
_QUERY = """
    SELECT name, state_type, start_time, end_time FROM flow_run
    WHERE parent_task_run_id IS NULL AND start_time IS NOT NULL
    ORDER BY start_time DESC LIMIT ?
"""


@dataclass(frozen=True)
class Run:
    """A run of a flow: its state in Prefect's terms, in lower case; times are UTC, ISO 8601."""

    name: str
    state: str
    start: str
    end: str | None


@dataclass(frozen=True)
class Data(DataVersion):
    """The version of data/ that data.dvc pins, and whether data/ is on disk."""

    present: bool


@dataclass(frozen=True)
class Status:
    """All of it. `problems` says why a value that should be there is None."""

    champion: dict[str, Any] | None  # version, commit, accuracy (0–1, on the test set)
    model: dict[str, Any] | None  # the workspace's: name, accuracy, whether weights are there
    data: Data | None
    stale: dict[str, list[str]] | None  # stage → what changed
    runs: list[Run] | None  # the newest first
    drift: dict[str, dict[str, Any]] | None  # batch → verdict
    server: str | None  # the address of Prefect's UI while the server is up
    problems: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For reports: plain types."""
        return asdict(self)


def read(project: Project) -> Status:
    """Where the project stands now."""
    problems: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(dvc.stale, project)  # half a second, most of what this takes
        champion = _champion(project, problems)
        model = _model(project)
        data = _data(project, problems)
        runs = _runs(project.build / "prefect" / "prefect.db", problems)
        drift = _drift(project)
        server = _server(project)
        stale = None
        try:
            stale = asked.result()
        except DigitsError as exc:
            problems.append(f"stale stages: unknown ({exc})")
    return Status(champion, model, data, stale, runs, drift, server, problems)


def _champion(project: Project, problems: list[str]) -> dict[str, Any] | None:
    try:
        found = registry.find(project)
    except RegistryError:
        return None
    except DigitsError as exc:
        problems.append(f"champion: unknown ({exc})")
        return None
    return {"version": found.name, "commit": found.commit, "accuracy": found.accuracy}


def _model(project: Project) -> dict[str, Any] | None:
    card = _document(project.model_card)
    if card is None:
        return None
    test = (_document(project.metrics) or {}).get("test") or {}
    files = card.get("weights") or {}
    return {
        "name": card.get("model"),
        "accuracy": test.get("accuracy"),
        "present": bool(files) and all((project.root / name).is_file() for name in files),
    }


def _data(project: Project, problems: list[str]) -> Data | None:
    try:
        version = dvc.data_version(project)
    except DataError as exc:
        problems.append(f"data: {exc}")
        return None
    present = project.mnist.is_dir() and any(project.mnist.iterdir())
    return Data(**asdict(version), present=present)


def _runs(database: Path, problems: list[str]) -> list[Run] | None:
    if not database.is_file():
        return []
    try:
        address = f"{database.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE)) as connection:
            rows = connection.execute(_QUERY, (_RUNS,)).fetchall()
        return [
            Run(str(name), str(state).lower(), _time(start), _time(end) if end else None)
            for name, state, start, end in rows
        ]
    except sqlite3.Error as exc:  # another version of Prefect has other tables
        problems.append(f"last runs: unknown ({exc})")
        return None


def _time(text: str) -> str:
    return str(text).replace(" ", "T").partition(".")[0] + "Z"


def _drift(project: Project) -> dict[str, dict[str, Any]] | None:
    batches = (_document(project.drift_report) or {}).get("batches")
    if not isinstance(batches, dict):
        return None
    fields = ("drift", "p_value", "n", "estimated_accuracy")
    return {
        name: {field: verdict.get(field) for field in fields}
        for name, verdict in sorted(batches.items())
        if isinstance(verdict, dict)
    }


def _server(project: Project) -> str | None:
    try:
        found = services.running(project)
        return str(found["url"]) if found else None
    except (KeyError, TypeError):
        return None


def _document(path: Path) -> dict[str, Any] | None:
    try:
        document = files.read_json(path)
    except DataError:
        return None
    return document if isinstance(document, dict) else None
