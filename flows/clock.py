"""Schedules go on when the clock is set back.

Prefect's server does its regular work at times of the day that it notes ahead; it makes no runs
while enough of them lie ahead, and never two for the same time of a schedule. So after the clock
was set back by two hours, nothing would run for two hours. The keeper starts the server again and
lets the schedules begin anew.
"""

import time

from flows import api

_LEAST = 60.0  # s that count as set back
_DEPLOYMENTS = 200


class Clock:
    """Notices that the time of day went back; monotonic time, which never does, tells."""

    def __init__(self) -> None:
        self._ahead = _ahead()

    def was_set_back(self) -> bool:
        """Whether it was since the last call."""
        before, self._ahead = self._ahead, _ahead()
        return self._ahead < before - _LEAST


def forget_schedules(url: str) -> None:
    """Delete all schedules, with the runs that lie ahead; `prefect deploy` then begins anew.

    Raises:
        httpx.HTTPError: the server at `url` doesn't answer.
    """
    for deployment in api.post(url, "deployments/filter", {"limit": _DEPLOYMENTS}):
        for schedule in deployment["schedules"]:
            api.delete(url, f"deployments/{deployment['id']}/schedules/{schedule['id']}")


def _ahead() -> float:
    return time.time() - time.monotonic()
