"""Runs whose process has died are finished, as crashed; no other run is touched.

Prefect learns from a run's process how the run goes, and from nobody that the process was killed.
Here life is judged by processes alone, never by heartbeats or clocks, which stop in a suspended
machine and jump on others: a run is alive while a process of this user has its id in the
environment, as Prefect's worker gives it, or is the one that `registered` recorded.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from prefect import runtime

from digits.core import files
from digits.core.errors import DataError
from digits.core.project import Project
from flows import api, services

_VARIABLE = "PREFECT__FLOW_RUN_ID"
_FLOWS = ("digits-pipeline", "digits-monitor", "digits-maintain")
_UNFINISHED = ("PENDING", "RUNNING", "CANCELLING")
_PAGE = 200
MESSAGE = "Its process is gone: it was killed, or the machine went down."


@contextmanager
def registered(project: Project) -> Iterator[None]:
    """Record that this process runs the current flow run; for runs that no worker starts."""
    path = project.state / "runs" / f"{runtime.flow_run.id}.json"
    files.write_json(path, {"pid": os.getpid(), "command": psutil.Process().cmdline()})
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def kill(run: str) -> None:
    """Kill the processes that a worker started for a run; it must have a final state already."""
    for process, its_run in _of_workers():
        if its_run == run:
            with suppress(psutil.Error):
                process.kill()


class Reaper:
    """Finishes dead runs. A run counts as dead if it is found without a process for `grace` s.

    A worker makes a run pending before it starts its process, and a process may end a moment before
    its run's last state arrives, so one look isn't enough. The time is monotonic.
    """

    def __init__(self, project: Project, grace: float) -> None:
        self._project, self._grace = project, grace
        self._missing: dict[str, float] = {}  # run → when it was first found without a process

    def finish_dead(self, url: str) -> list[str]:
        """Finish the dead runs of the server at `url`, and return their names.

        Raises:
            httpx.HTTPError: the server doesn't answer.
        """
        body = {
            "flows": {"name": {"any_": _FLOWS}},
            "flow_runs": {"state": {"type": {"any_": _UNFINISHED}}},
            "limit": _PAGE,
            "sort": "START_TIME_ASC",
        }
        runs = api.post(url, "flow_runs/filter", body)
        living, now = self._living(), time.monotonic()
        missing = {run["id"]: run for run in runs if run["id"] not in living}
        self._missing = {name: self._missing.get(name, now) for name in missing}
        dead = [missing[i] for i, since in self._missing.items() if now - since >= self._grace]
        for run in dead:
            cancelled = run["state_type"] == "CANCELLING"
            name = "CANCELLED" if cancelled else "CRASHED"
            state = {"type": name, "name": name.title(), "message": MESSAGE}
            api.post(url, f"flow_runs/{run['id']}/set_state", {"state": state})
        return [run["name"] for run in dead]

    def _living(self) -> set[str]:
        """The ids of runs that have a process."""
        living = {run for _, run in _of_workers()}
        for path in (self._project.state / "runs").glob("*.json"):
            if _is_alive(path):
                living.add(path.stem)
            else:
                path.unlink(missing_ok=True)
        return living


def _of_workers() -> Iterator[tuple[psutil.Process, str]]:
    """Processes that a worker started for a run, and what they started, with the run's id."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if run := process.environ().get(_VARIABLE):
                yield process, run


def _is_alive(path: Path) -> bool:
    try:
        recorded = files.read_json(path)
        return services.runs(recorded["pid"], recorded["command"])
    except (DataError, KeyError, TypeError, ValueError):
        return False
