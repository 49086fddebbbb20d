"""The keeper: starts server and worker again when they die, finishes runs that died with them,
skips runs that were missed, and renews the schedules after the clock was set back.

`make server` starts it, `make stop` ends it first. It needs nothing but the pids, commands and the
address that are recorded in build/state/services.json.
"""

import signal
import threading
from datetime import UTC, datetime

import click
import httpx

from digits.core.errors import DigitsError
from digits.core.project import Project
from flows import alive, server, services
from flows.clock import Clock, cancel_waiting, skip_missed


@click.command()
@click.option("--pause", default=10.0, show_default=True, help="Seconds between two looks.")
@click.option("--grace", default=60.0, show_default=True, help="Seconds, see flows/alive.py.")
def main(pause: float, grace: float) -> None:
    """Watch until SIGTERM, which doesn't interrupt a look: what that starts must be recorded."""
    keeper = Keeper(Project.find(), grace)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    while not stopping.wait(pause):
        keeper.look()


class Keeper:
    """Looks after the services and runs of a project."""

    def __init__(self, project: Project, grace: float) -> None:
        self._project = project
        self._reaper = alive.Reaper(project, grace)
        self._clock = Clock()
        self._was_set_back = False  # and the schedules have not been renewed since

    def look(self) -> None:
        """Mend what is broken; what can't be mended now is tried again at the next look."""
        url = services.recorded_url(self._project)
        if not url:  # it is still starting, or was stopped
            return
        try:
            if self._clock.was_set_back():
                services.end(self._project, "server")  # it would do nothing until the old time
                self._was_set_back = True
            for name in services.revive(self._project, url):
                _say(f"{name} had died and was started again")
            for run in self._reaper.finish_dead(url):
                _say(f"run {run} had died")
            if self._was_set_back:
                server.renew_schedules(self._project, url)
                for run in cancel_waiting(url):
                    alive.kill(run)
                    _say(f"run {run} would have waited for its time")
                self._was_set_back = False
                _say("the clock was set back; schedules begin anew")
            if missed := skip_missed(url):
                _say(f"{missed} runs were missed; the last of each deployment makes up for them")
        except (DigitsError, OSError, ValueError, httpx.HTTPError) as exc:
            _say(f"{type(exc).__name__}: {exc}")


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}", flush=True)


if __name__ == "__main__":
    main()
