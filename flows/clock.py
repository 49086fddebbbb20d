"""Schedules go on when the clock is set back, and when the machine slept.

Prefect's server does its regular work at times of the day that it notes ahead; it makes no runs
while enough of them lie ahead, and never two for the same time of a schedule. So after the clock
was set back by two hours, nothing would run for two hours. The keeper starts the server again,
lets the schedules begin anew, and cancels runs that were about to begin. After the clock was set
forward, or the machine slept, Prefect would make up for all runs of that time; now one run of each
deployment does.
"""

import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from flows import api

_LEAST = 60.0  # s that count as set back
_DEPLOYMENTS = 200
_PAGE = 200
MISSED = "It was missed: the machine slept, or no worker was there. A later run makes up for it."
SET_BACK = "The clock was set back; it would have waited for its time. Other runs are scheduled."


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


def cancel_waiting(url: str) -> list[str]:
    """Cancel scheduled runs that have a process already, but whose time lies ahead.

    Prefect lets them wait for it: for two hours, if the clock was set back by two hours.

    Returns:
        The ids of the runs; their processes go on waiting.

    Raises:
        httpx.HTTPError: the server at `url` doesn't answer.
    """
    waiting = _scheduled(url, {"type": {"any_": ["PENDING"]}}, "after_")
    for run in waiting:
        _set_state(url, run, {"type": "CANCELLED", "message": SET_BACK})
    return [run["id"] for run in waiting]


def skip_missed(url: str) -> int:
    """Cancel scheduled runs that are due and have not begun, but for the latest of each deployment.

    Returns:
        How many were cancelled.

    Raises:
        httpx.HTTPError: the server at `url` doesn't answer.
    """
    due = defaultdict(list)
    waiting = {"name": {"any_": ["Scheduled", "Late"]}}  # not for a retry, for example
    for run in _scheduled(url, waiting, "before_"):
        due[run["deployment_id"]].append(run)
    missed = [run for _, *earlier in due.values() for run in earlier]
    for run in missed:
        _set_state(url, run, {"type": "CANCELLED", "name": "Skipped", "message": MISSED})
    return len(missed)


def _scheduled(url: str, state: dict[str, Any], side: str) -> list[dict[str, Any]]:
    """Runs that a schedule made for a time before or after now, latest first."""
    time = {side: datetime.now(UTC).isoformat()}
    wanted = {"state": state, "expected_start_time": time}
    body = {"flow_runs": wanted, "limit": _PAGE, "sort": "EXPECTED_START_TIME_DESC"}
    return [run for run in api.post(url, "flow_runs/filter", body) if run["auto_scheduled"]]


def _set_state(url: str, run: dict[str, Any], state: dict[str, str]) -> None:
    api.post(url, f"flow_runs/{run['id']}/set_state", {"state": state})


def _ahead() -> float:
    return time.time() - time.monotonic()
