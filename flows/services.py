"""The project's own Prefect: where it keeps its state, what runs of it, how it begins and ends."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits.core import files, processes
from digits.core.errors import DataError
from digits.core.project import Project

if TYPE_CHECKING:
    import psutil

_NAMES = ("server", "worker")  # in the order in which they start
HEARTBEAT = 30  # s between two signs of life of a flow run
_GRACE = 15.0  # s from SIGTERM to SIGKILL; Prefect's worker waits 10 s for its runs
_PAUSE = 0.1  # s between two looks


def state_file(project: Project) -> Path:
    """What `make server` started: pids, their command lines and the UI's address."""
    return project.state / "services.json"


def log_file(project: Project, name: str) -> Path:
    """What a service printed since it was started last."""
    return project.state / "logs" / f"{name}.log"


def running(project: Project) -> dict[str, Any] | None:
    """`{"server": pid, "worker": pid, "url": …}` while the server is up, else None."""
    services = _recorded(project)
    return services if "url" in services and is_running(project, "server") else None


def is_running(project: Project, name: str) -> bool:
    """Whether a service that was begun is still there, and not another one with its old pid.

    The command line tells, which has the port in it; times since boot shift with the clock.
    """
    import psutil

    services = _recorded(project)
    try:
        same: bool = psutil.Process(services[name]).cmdline() == services["commands"][name]
    except (KeyError, psutil.Error):
        return False
    return same and processes.alive(services[name])


def environment(project: Project) -> dict[str, str]:
    """Variables under which Prefect uses this project's state and, if it is up, its server.

    What the user has set for Prefect already is left alone.
    """
    values = {
        "PREFECT_HOME": str(project.build / "prefect"),
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT),
    }
    services = running(project)
    if services:
        values["PREFECT_API_URL"] = services["url"] + "/api"
    return {key: os.environ.get(key, value) for key, value in values.items()}


def server_environment(project: Project, url: str) -> dict[str, str]:
    """All variables for the server at `url`, its worker, and commands that talk to them.

    Unlike in `environment`, the address is not the user's to choose: these are its own processes.
    """
    binaries = str(Path(sys.executable).parent)  # so that `python` in dvc.yaml is this one
    inherited = {key: value for key, value in os.environ.items() if key != processes.WATCHED_PIDS}
    return {
        **inherited,
        **environment(project),
        **processes.QUIET_TOOLS_ENV,
        "PATH": os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url,  # no other page in the browser may call it
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "DIGITS_ROOT": str(project.root),
    }


def begin(
    project: Project, name: str, command: Sequence[str], environment: Mapping[str, str]
) -> int:
    """Start a service that outlives this process and its terminal; returns its pid, recorded."""
    log = log_file(project, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=project.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    services = _recorded(project)
    commands = {**services.get("commands", {}), name: list(command)}
    files.write_json(state_file(project), {**services, name: process.pid, "commands": commands})
    return process.pid


def announce(project: Project, url: str) -> None:
    """Record that what was begun is ready, at `url`; from now on `running` tells others."""
    files.write_json(state_file(project), {**_recorded(project), "url": url})


def end(project: Project) -> list[str]:
    """End every recorded service and all that it started, the latest first; returns their names."""
    services = _recorded(project)
    names = [name for name in reversed(_NAMES) if is_running(project, name)]
    for name in names:
        _end_family(services[name])
    state_file(project).unlink(missing_ok=True)
    return names


def _end_family(pid: int) -> None:
    """End a service; before it the flow runs that it started, so that they can report their end.

    Those lead process groups of their own: a signal to the service's group wouldn't reach them.
    """
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        _end(parent.children())
        _end([parent])


def _end(processes: "Sequence[psutil.Process]") -> None:
    """SIGTERM, time to tidy up, then SIGKILL to what is left of them and their children."""
    import psutil

    family = [*processes]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            family += process.children(recursive=True)
            process.terminate()
    if not _gone(family, _GRACE):
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _gone(family, _GRACE)


def _gone(family: "Sequence[psutil.Process]", seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(process.is_running() and processes.alive(process.pid) for process in family):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def _recorded(project: Project) -> dict[str, Any]:
    try:
        services = files.read_json(state_file(project))
    except DataError:
        return {}
    return services if isinstance(services, dict) else {}
