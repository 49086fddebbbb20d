"""`make server` and `make stop`: Prefect's server and UI, a worker, and prefect.yaml's deployments.

Everything listens on loopback, unless told otherwise; the database is in build/prefect.
"""

import errno
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from typing import Any

import click
import httpx
from prefect.settings import get_current_settings

from digits.core import locking, processes
from digits.core.errors import DigitsError
from digits.core.project import Project
from flows import alarms, api, automations, clock, notifications, services

_POOL = "digits"
_HOST = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"
_PORT = 4200  # Prefect's default; if it is taken, any free one
_TIMEOUT = 120.0  # s; a slow disk makes creating the database slow
_POLL = 0.2  # s
_RUNS = 8  # at once: a worker that comes back starts all missed runs that it finds
_INBOX = "build/inbox"  # as in prefect.yaml
_PREFECT = (sys.executable, "-m", "prefect")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Prefect's server with its UI, a worker, and the deployments of prefect.yaml."""


@command.command()
@click.option("--host", default=_HOST, show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help=f"Default: {_PORT}, or a free one.")
def start(host: str, port: int | None) -> None:
    """Start everything; it keeps running when the terminal closes.

    If PREFECT_SERVER_API_AUTH_STRING is set to 'user:password', every request must send it; other
    machines can only be let in with it. Prefect's clients send PREFECT_API_AUTH_STRING.

    If DIGITS_NOTIFY is an address, messages about failed runs and about drift are sent to it: a
    webhook of Slack or Discord, or any other URL of Apprise, such as mailto://user:password@host.
    """
    project = Project.find()
    _check_auth(host)
    notify = os.environ.pop(notifications.VARIABLE, "")  # a secret: no service inherits it
    if notify:
        notifications.check(notify)
    with processes.sigterm_interrupts(), _lock(project):
        url = services.url(project)
        if url and services.pid(project, "worker") and services.pid(project, "keeper"):
            click.echo("Already running.")
            _tell(project, url)
            return
        services.stop(project)  # remains of an earlier start
        port = free_port(port, _PORT, host)
        try:
            url = _start(project, host, port, notify)
        except BaseException:  # Ctrl-C too
            services.stop(project)
            raise
    _tell(project, url)
    if not notify:
        click.echo(
            "Nobody is notified of failed runs and drift. To change that: make stop, then "
            f"{notifications.VARIABLE}=… make server, with a webhook of Slack or Discord"
        )


def _tell(project: Project, url: str) -> None:
    """Print how to talk to the server."""
    logs = project.relative(services.log_file(project, "server").parent)
    lines = {
        "UI": url,
        "Logs": logs,
        "Inbox": f"{project.root / _INBOX}; each file or folder in it is a batch",
        "In a shell": f"export PREFECT_API_URL={url}/api",
        "Train now": "prefect deployment run digits-pipeline/train",
        "Check the inbox now": "prefect deployment run digits-monitor/monitor",
        "To stop": "make stop",
    }
    width = max(map(len, lines)) + 2
    for name, text in lines.items():
        click.echo(f"{name + ':':{width}}{text}")


@command.command()
def stop() -> None:
    """Stop everything, running flows included."""
    project = Project.find()
    with _lock(project):
        stopped = services.stop(project)
    click.echo(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing is running.")


@command.command()
def deploy() -> None:
    """Register deployments and automations at PREFECT_API_URL, for a server on another machine.

    'make server' does this for its own server. Here, runs that stay silent are finished by an
    automation, as no keeper sees the processes of all workers.
    """
    project = Project.find()
    url = (get_current_settings().api.url or "").removesuffix("/api")
    if not url:
        raise DigitsError("PREFECT_API_URL isn't set; 'make server' deploys to its own server")
    try:
        environment = services.server_environment(project, url)
        _register(project, environment)
        with automations.server(environment) as client:
            automations.finish_silent(client)
    except httpx.HTTPError as exc:
        raise DigitsError(f"{url}: {api.reason(exc)}") from exc
    click.echo(f"Deployed to {url}")


@command.command()
def status() -> None:
    """Show what is running; exit 1 unless both server and worker are."""
    project = Project.find()
    url, worker = services.url(project), services.pid(project, "worker")
    if url:
        click.echo(f"Server: {url} (pid {services.pid(project, 'server')})")
        click.echo(
            f"Worker: pid {worker}" if worker else "Worker: died; restart with 'make server'"
        )
    else:
        click.echo("Not running; start with 'make server'")
    sys.exit(0 if url and worker else 1)


def _check_auth(host: str) -> None:
    """Refuse to let in other machines without a password, or to start clients that lack it."""
    settings = get_current_settings()
    secret = settings.server.api.auth_string
    if not secret and not _is_loopback(host):
        raise DigitsError(
            f"{host} can be reached from other machines, where anybody could run code on this one; "
            "set PREFECT_SERVER_API_AUTH_STRING to 'user:password'"
        )
    if secret and settings.api.auth_string not in (None, secret):
        raise DigitsError(
            "PREFECT_SERVER_API_AUTH_STRING and PREFECT_API_AUTH_STRING are different; "
            "unset the second, or make them equal"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _start(project: Project, host: str, port: int, notify: str) -> str:
    """Start all services, and return the address at which this machine reaches them."""
    url = f"http://{_HOST if host == _EVERYWHERE else host}:{port}"
    environment = {**services.server_environment(project, url), **api.credentials()}
    server = ["--host", host, "--port", str(port)]
    _start_service(project, "server", server, environment, lambda: _is_healthy(url))
    since = datetime.now(UTC)
    worker = ["--name", f"{_POOL}-{port}", "--pool", _POOL, "--type", "process"]
    worker += ["--limit", str(_RUNS)]
    _start_service(project, "worker", worker, environment, lambda: _has_heartbeat(url, since))
    _register(project, environment)
    notifications.install(environment, notify)
    keeper = [sys.executable, "-m", "flows.keeper"]
    services.start(project, "keeper", keeper, environment)
    services.record_url(project, url)
    return url


def _register(project: Project, environment: Mapping[str, str]) -> None:
    """Register prefect.yaml's deployments, and the automation that belongs to them."""
    click.echo("Deploying prefect.yaml…")
    _deploy(project, environment)
    with automations.server(environment) as client:
        automations.train_on_harm(client)


def report_harm(project: Project, batch: str, payload: Mapping[str, Any]) -> bool:
    """Emit the event that starts a training run; False if the server isn't up.

    Raises:
        DigitsError: the server doesn't take it.
    """
    url = services.url(project)
    if not url:
        return False
    event = alarms.document("harmful", batch, payload)
    try:
        api.post(url, "events", [event])
    except httpx.HTTPError as exc:
        raise DigitsError(
            f"{url} didn't take the event {alarms.HARMFUL}: {api.reason(exc)}"
        ) from exc
    return True


def renew_schedules(project: Project, url: str) -> None:
    """Let the schedules begin anew, whatever runs they have made for times that lie ahead.

    Raises:
        DigitsError: prefect.yaml can't be deployed; until that is repeated there are no schedules.
        httpx.HTTPError: the server at `url` doesn't answer.
    """
    clock.forget_schedules(url)
    _deploy(project, services.server_environment(project, url))


def _start_service(
    project: Project,
    name: str,
    options: list[str],
    environment: Mapping[str, str],
    is_ready: Callable[[], bool],
) -> None:
    click.echo(f"Starting the {name}…")
    services.start(project, name, [*_PREFECT, name, "start", *options], environment)
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        if not services.pid(project, name):
            raise DigitsError(f"the {name} ended while starting; {_end_of_log(project, name)}")
        with suppress(httpx.HTTPError, ValueError):
            if is_ready():
                return
        time.sleep(_POLL)
    raise DigitsError(
        f"the {name} isn't ready after {_TIMEOUT:.0f} s; {_end_of_log(project, name)}"
    )


def _is_healthy(url: str) -> bool:
    return api.get(url, "health") is True


def _has_heartbeat(url: str, since: datetime) -> bool:
    """Whether a worker's heartbeat is newer than `since`; old workers look online for a while."""
    workers = api.post(url, f"work_pools/{_POOL}/workers/filter")
    return any(datetime.fromisoformat(w["last_heartbeat_time"]) > since for w in workers)


def _deploy(project: Project, environment: Mapping[str, str]) -> None:
    deploy = [*_PREFECT, "--no-prompt", "deploy", "--all"]
    path = services.log_file(project, "deploy")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as log:
        finished = processes.run(
            deploy, project.root, lambda line: print(line, file=log), environment
        )
    if finished.code:
        code, end_of_log = finished.code, _end_of_log(project, "deploy")
        raise DigitsError(f"'prefect deploy' exited with {code}; {end_of_log}")


def free_port(wanted: int | None, usual: int, host: str = _HOST) -> int:
    """The wanted port; if none is, the usual one or, if that is taken, another.

    Raises:
        DigitsError: the wanted port is taken, or the host isn't an IPv4 address of this machine.
    """
    problem: OSError | None = None
    for port in [wanted] if wanted else [usual, 0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as exc:
                problem = exc
                continue
            return int(probe.getsockname()[1])
    if wanted and problem and problem.errno == errno.EADDRINUSE:
        raise DigitsError(f"port {wanted} of {host} is taken; choose another with --port")
    raise DigitsError(f"can't listen on {host}: {problem}; choose another with --host")


def _lock(project: Project) -> AbstractContextManager[None]:
    """Only one start or stop at a time."""
    return locking.exclusive(project.state / "server.lock", "make server", True, click.echo)


def _end_of_log(project: Project, name: str) -> str:
    log = services.log_file(project, name)
    text = log.read_text(errors="replace").strip() if log.exists() else ""
    last_line = text.rpartition("\n")[2] or "nothing"
    return f"{project.relative(log)} ends with: {last_line}"


def main() -> None:
    """Run the command; errors become one line on stderr."""
    try:
        command()
    except DigitsError as exc:
        print(f"digits: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)


if __name__ == "__main__":
    main()
