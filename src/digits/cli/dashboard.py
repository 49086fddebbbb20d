"""`digits dashboard`: Evidently's UI with all drift checks over time."""

import threading
import time
import webbrowser

import click
import httpx

from digits.cli import _terminal
from digits.core.errors import DataError
from digits.core.project import Project
from flows import server

_PORT = 8000  # Evidently's default; if it is taken, any free one
_START = 120.0  # s
_POLL = 0.2  # s


@click.command("dashboard")
@click.option("--port", type=click.IntRange(1, 65535), help=f"Default: {_PORT}, or a free one.")
@click.option("--no-open", is_flag=True, help="Don't open a browser.")
def command(port: int | None, no_open: bool) -> None:
    """Show all drift checks over time, in a browser.

    Starts Evidently's UI, on this machine only, until Ctrl-C. Its dashboard has a point for each
    batch that 'digits drift' or the monitor of 'make server' has checked: estimated accuracy, and
    the measured one if labels were given, p-value, share that shows no digit, and which views have
    changed. Below 'Reports' is each check's own report. New checks appear when the page is
    reloaded. The last 500 are kept, in build/evidently.

    \b
    Exit codes: 0  stopped by Ctrl-C
                2  nothing has been checked yet, or the port is taken
    \b
    Examples:
      digits dashboard
      digits dashboard --port 8123 --no-open
    """
    _terminal.silence_libraries()
    from digits.drift import workspace

    project = Project.find()
    if not workspace.runs(project):
        raise DataError("nothing has been checked yet; run 'digits drift PATH' first")
    port = server.free_port(port, _PORT)
    address = f"http://127.0.0.1:{port}/projects/{workspace.PROJECT}"
    click.echo(f"UI: {address} (it takes some seconds)\nTo stop: Ctrl-C")
    if not no_open:
        threading.Thread(target=_open, args=(address,), daemon=True).start()
    workspace.serve(project, port)


def _open(address: str) -> None:
    """Open a browser once the server answers."""
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        try:
            httpx.get(address, timeout=_START)
        except httpx.TransportError:
            time.sleep(_POLL)
        else:
            webbrowser.open(address)
            return
