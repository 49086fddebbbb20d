"""The Prefect server with its UI, a worker, and the deployments of prefect.yaml, in one command.

`python -m flows.server start` is `make server`; `stop` is `make stop`. All of it listens on this
machine only, and keeps what it knows in build/prefect.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import click
import httpx

from digits.core import locking, processes
from digits.core.errors import DigitsError
from digits.core.project import Project
from flows import services

POOL = "digits"
_HOST = "127.0.0.1"
_PORT = 4200  # Prefect's own; if it is taken, any free one
_PATIENCE = 120.0  # s; a slow disk makes creating the database slow
_PAUSE = 0.2  # s between two looks
_ZOMBIES = "Runs that died are marked as crashed"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """The Prefect server with its UI, a worker and the project's deployments."""


@command.command()
@click.option("--port", type=click.IntRange(1, 65535), help=f"Default: {_PORT}, or a free one.")
def start(port: int | None) -> None:
    """Start everything; it stays up when the terminal closes."""
    project = Project.find()
    with processes.sigterm_interrupts(), _alone(project):
        found = services.running(project)
        if found and services.is_running(project, "worker"):
            click.echo(f"Already running at {found['url']}. 'make stop' stops it.")
            return
        services.end(project)  # what is left of an earlier start, if anything
        url = f"http://{_HOST}:{_free_port(port)}"
        try:
            _start(project, url)
        except BaseException:  # Ctrl-C too
            services.end(project)
            raise
    click.echo(
        f"The UI is at {url}. 'make stop' stops it; logs are in "
        f"{project.relative(services.log_file(project, POOL).parent)}."
    )


@command.command()
def stop() -> None:
    """Stop everything, runs included."""
    project = Project.find()
    with _alone(project):
        ended = services.end(project)
    click.echo(f"Stopped: {', '.join(ended)}." if ended else "Nothing is running.")


@command.command()
def status() -> None:
    """Say what is running; exit 1 if it isn't all."""
    project = Project.find()
    found = services.running(project)
    if found is None:
        click.echo("Not running. 'make server' starts it.")
        sys.exit(1)
    worker = services.is_running(project, "worker")
    click.echo(f"The UI is at {found['url']} (pid {found['server']}).")
    state = f"pid {found['worker']}" if worker else "gone; 'make server' starts it again"
    click.echo(f"The worker: {state}.")
    sys.exit(0 if worker else 1)


def _start(project: Project, url: str) -> None:
    environment = services.server_environment(project, url)
    click.echo("Starting the server…")
    host, port = url.removeprefix("http://").split(":")
    _begin(project, "server", ["server", "start", "--host", host, "--port", port], environment)
    _wait(project, "server", lambda: httpx.get(f"{url}/api/health").json() is True)
    click.echo("Starting the worker…")
    worker = ["worker", "start", "--name", f"{POOL}-{port}", "--pool", POOL, "--type", "process"]
    since = datetime.now(UTC)
    _begin(project, "worker", worker, environment)
    _wait(project, "worker", lambda: _worker_reports(url, since))
    click.echo("Deploying prefect.yaml…")
    _deploy(project, environment)
    _mark_zombies(url)
    services.announce(project, url)


def _begin(
    project: Project, name: str, arguments: list[str], environment: Mapping[str, str]
) -> None:
    services.begin(project, name, [sys.executable, "-m", "prefect", *arguments], environment)


def _wait(project: Project, name: str, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if not services.is_running(project, name):
            raise DigitsError(f"the {name} ended while starting; {_told(project, name)}")
        try:
            if is_ready():
                return
        except (httpx.HTTPError, ValueError):
            pass
        time.sleep(_PAUSE)
    raise DigitsError(f"the {name} isn't ready after {_PATIENCE:.0f} s; {_told(project, name)}")


def _worker_reports(url: str, since: datetime) -> bool:
    """Whether the worker has reported; one that was stopped a minute ago looks online, too."""
    answer = httpx.post(f"{url}/api/work_pools/{POOL}/workers/filter", json={})
    workers: list[dict[str, Any]] = answer.raise_for_status().json()
    return any(datetime.fromisoformat(w["last_heartbeat_time"]) > since for w in workers)


def _deploy(project: Project, environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    with services.log_file(project, "deploy").open("wb") as log:
        code = subprocess.run(
            command,
            cwd=project.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        raise DigitsError(f"'prefect deploy' exited with {code}; {_told(project, 'deploy')}")


def _mark_zombies(url: str) -> None:
    """Have runs marked as crashed that show no sign of life, else they hold their place for ever.

    The worker sees its own runs die; nobody sees a `digits run` die, or a run and its worker.
    """
    api = f"{url}/api/automations"
    known = httpx.post(f"{api}/filter", json={}).raise_for_status().json()
    if all(automation["name"] != _ZOMBIES for automation in known):
        httpx.post(f"{api}/", json=_zombies()).raise_for_status()


def _zombies() -> dict[str, Any]:
    return {
        "name": _ZOMBIES,
        "description": f"No sign of life for {3 * services.HEARTBEAT} seconds.",
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "for_each": ["prefect.resource.id"],
            "after": ["prefect.flow-run.heartbeat"],
            "expect": ["prefect.flow-run.*"],  # the next sign, or its end
            "threshold": 1,
            "within": 3 * services.HEARTBEAT,
        },
        "actions": [
            {
                "type": "change-flow-run-state",
                "state": "CRASHED",
                "message": "No sign of life: its process was killed, or the machine went down.",
            }
        ],
    }


def _free_port(wanted: int | None) -> int:
    for port in [wanted] if wanted else [_PORT, 0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DigitsError(f"port {wanted} of {_HOST} is taken; choose another with --port")


def _alone(project: Project) -> AbstractContextManager[None]:
    """One start or stop at a time."""
    return locking.exclusive(project.state / "server.lock", "make server", True, click.echo)


def _told(project: Project, name: str) -> str:
    log = services.log_file(project, name)
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"{project.relative(log)} ends with: {last}"


def main() -> None:
    """Run the command; errors become one line on stderr."""
    try:
        command()
    except DigitsError as exc:
        print(f"digits: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)


if __name__ == "__main__":
    main()
