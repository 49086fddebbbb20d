"""Schedules go on when the clock is set back, and when the machine slept.

Prefect's server does its regular work at times of the day that it notes ahead; it makes no runs
while enough of them lie ahead, and never two for the same time of a schedule. So after the clock
was set back by two hours, nothing would run for two hours. The keeper starts the server again and
lets the schedules begin anew. After it was set forward, or the machine slept, all runs that lay in
that time would be made up for; one of each deployment does.
"""

import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from flows import api

_LEAST = 60.0  # s that count as set back
_DEPLOYMENTS = 200
_PAGE = 200
_WAITING = ("Scheduled", "Late")  # not, for example, for a retry
MESSAGE = "It was missed: the machine slept, or no worker was there. A later run makes up for it."


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


def skip_missed(url: str) -> int:
    """Cancel scheduled runs that are due and have not begun, but for the latest of each deployment.

    Returns:
        How many were cancelled.

    Raises:
        httpx.HTTPError: the server at `url` doesn't answer.
    """
    due = {
        "state": {"name": {"any_": _WAITING}},
        "expected_start_time": {"before_": datetime.now(UTC).isoformat()},
    }
    body = {"flow_runs": due, "limit": _PAGE, "sort": "EXPECTED_START_TIME_DESC"}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in api.post(url, "flow_runs/filter", body):
        if run["auto_scheduled"]:
            found[run["deployment_id"]].append(run)
    missed = [run for _, *earlier in found.values() for run in earlier]
    state = {"type": "CANCELLED", "name": "Skipped", "message": MESSAGE}
    for run in missed:
        api.post(url, f"flow_runs/{run['id']}/set_state", {"state": state})
    return len(missed)


def _ahead() -> float:
    return time.time() - time.monotonic()
