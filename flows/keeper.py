"""The keeper: starts server and worker again when they die, and finishes runs that died with them.

`make server` starts it, `make stop` ends it first. It needs nothing but the pids, commands and the
address that are recorded in build/state/services.json.
"""

import signal
import threading
from datetime import UTC, datetime

import httpx

from digits.core.errors import DigitsError
from digits.core.project import Project
from flows import services
from flows.alive import Reaper

_PAUSE = 10.0  # s between two looks
_GRACE = 60.0  # s, see Reaper


def main() -> None:
    """Watch until SIGTERM, which doesn't interrupt a look: what that starts must be recorded."""
    project = Project.find()
    reaper = Reaper(project, _GRACE)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    while not stopping.wait(_PAUSE):
        look(project, reaper)


def look(project: Project, reaper: Reaper) -> None:
    """Start what has died; finish runs without a process, if the server answers."""
    url = services.recorded_url(project)
    if not url:  # it is still starting, or was stopped
        return
    try:
        for name in services.revive(project, url):
            _say(f"{name} had died and was started again")
        for run in reaper.finish_dead(url):
            _say(f"run {run} had died")
    except (DigitsError, OSError, ValueError, httpx.HTTPError) as exc:
        _say(f"{type(exc).__name__}: {exc}")  # tried again at the next look


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}", flush=True)


if __name__ == "__main__":
    main()
