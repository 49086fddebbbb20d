"""The project's own Prefect server and worker: environment, start, pids and stop.

A pid is only trusted while the process still has the command line that was recorded for it.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from digits.core import files, processes
from digits.core.errors import DataError
from digits.core.project import Project

_NAMES = ("server", "worker", "keeper")  # in the order in which they start
_GRACE = 15.0  # s from SIGTERM to SIGKILL; Prefect's worker gives its runs 10 s
_POLL = 0.1  # s
_LOG_LIMIT = 10 << 20  # bytes; a worker's log grows by a few lines with each run


def state_file(project: Project) -> Path:
    """Pids and command lines of what `make server` started and, once it is ready, the UI's URL."""
    return project.state / "services.json"


def log_file(project: Project, name: str) -> Path:
    """The output of a service since its last start."""
    return project.state / "logs" / f"{name}.log"


def pid(project: Project, name: str) -> int | None:
    """The pid of a service that was started and still runs, else None."""
    services = _recorded(project)
    try:
        number: int = services[name]
        return number if runs(number, services["commands"][name]) else None
    except (KeyError, TypeError, ValueError):
        return None


def runs(number: int, command: Sequence[str]) -> bool:
    """Whether the process with this pid runs and still has this command line."""
    try:
        # a service's has the port in it; start times since boot shift with the clock
        return psutil.Process(number).cmdline() == command and processes.alive(number)
    except psutil.Error:
        return False


def url(project: Project) -> str | None:
    """The address of Prefect's UI while the server is up, else None."""
    return recorded_url(project) if pid(project, "server") else None


def recorded_url(project: Project) -> str | None:
    """The address of the server that was started and not stopped, up or not."""
    return _recorded(project).get("url")


def revive(project: Project, url: str) -> list[str]:
    """Start what should run at `url` and has died, with the same command; return the names."""
    commands = _recorded(project).get("commands", {})
    dead = [name for name in ("server", "worker") if name in commands and not pid(project, name)]
    for name in dead:
        start(project, name, commands[name], server_environment(project, url), append=True)
    return dead


def environment(project: Project) -> dict[str, str]:
    """Prefect's settings for this project: its own database and, if it is up, its server.

    Settings that the user's environment has already are kept.
    """
    values = {
        "PREFECT_HOME": str(project.build / "prefect"),
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    }
    if address := url(project):
        values["PREFECT_API_URL"] = f"{address}/api"
        if string := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
            values["PREFECT_API_AUTH_STRING"] = string
    return {key: os.environ.get(key, value) for key, value in values.items()}


def server_environment(project: Project, address: str) -> dict[str, str]:
    """The whole environment of the server at `address`, its worker and commands that call them.

    Unlike in `environment`, PREFECT_API_URL is always this server's.
    """
    return {
        **processes.child_environment(environment(project)),
        processes.WATCHED_PIDS: "",  # services outlive the process that starts them
        "NO_COLOR": "1",
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_UI_API_URL": "/api",  # by whatever name a browser calls this machine
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address,  # no other web page may call the API
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # the server deletes what is past the retention that prefect.yaml tells; by default, no runs
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "DIGITS_ROOT": str(project.root),
    }


def start(
    project: Project,
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    append: bool = False,
) -> None:
    """Start a service that outlives this process and its terminal, and record its pid.

    Args:
        append: to its log, instead of beginning a new one.
    """
    log = log_file(project, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    if not append:
        log.unlink(missing_ok=True)
    with log.open("ab") as output:  # appending, so that trim_logs may shorten it meanwhile
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
    with suppress(psutil.Error):  # raised if it has ended
        while not psutil.Process(process.pid).cmdline():  # empty for a moment after exec
            time.sleep(_POLL)


def trim_logs(project: Project) -> list[str]:
    """Keep the last tenth of logs over 10 MiB, and return the names of the trimmed services.

    A line that is written at this moment may be lost.
    """
    trimmed = []
    for name in _NAMES:
        log = log_file(project, name)
        if log.is_file() and log.stat().st_size > _LOG_LIMIT:
            with log.open("r+b") as file:
                file.seek(-_LOG_LIMIT // 10, os.SEEK_END)
                file.readline()  # the rest of a line
                end = file.read()
                file.truncate(0)
                file.seek(0)
                file.write(end)
            trimmed.append(name)
    return trimmed


def record_url(project: Project, address: str) -> None:
    """Record that all services are ready; from now on `url` returns the address."""
    files.write_json(state_file(project), {**_recorded(project), "url": address})


def stop(project: Project) -> list[str]:
    """Stop all services with their runs, the latest first, and return the names of the stopped."""
    stopped = []
    for name in reversed(_NAMES):
        if not (number := pid(project, name)):
            continue
        stopped.append(name)
        with suppress(psutil.NoSuchProcess):
            service = psutil.Process(number)
            # Flow runs lead process groups of their own; they end first, to report that they did.
            _stop(service.children())
            _stop([service])
    state_file(project).unlink(missing_ok=True)
    return stopped


def end(project: Project, name: str) -> None:
    """Stop one service, which `revive` then starts again."""
    with suppress(psutil.NoSuchProcess):
        if number := pid(project, name):
            _stop([psutil.Process(number)])


def _stop(leaders: Sequence[psutil.Process]) -> None:
    """SIGTERM; after some seconds SIGKILL for the processes and descendants that are left."""
    family = list(leaders)
    for process in leaders:
        with suppress(psutil.NoSuchProcess):
            family += process.children(recursive=True)
            process.terminate()
    for process in _survivors(family):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _survivors(family)


def _survivors(family: Sequence[psutil.Process]) -> list[psutil.Process]:
    """The processes that still run when the grace period is over; zombies don't count."""
    deadline = time.monotonic() + _GRACE
    while alive := [p for p in family if p.is_running() and processes.alive(p.pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL)
    return alive


def _recorded(project: Project) -> dict[str, Any]:
    try:
        services = files.read_json(state_file(project))
    except DataError:
        return {}
    return services if isinstance(services, dict) else {}
