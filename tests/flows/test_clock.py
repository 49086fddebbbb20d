"""What becomes of schedules when the machine slept or its clock jumped."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from serving import api_filter

from flows import clock

_SCHEDULE = {"schedules": [{"schedule": {"interval": 60}}]}


@pytest.fixture
def url(prefect_api: str) -> str:
    return prefect_api.removesuffix("/api")


def post(url: str, path: str, body: dict[str, Any]) -> Any:
    return httpx.post(f"{url}/api/{path}", json=body, timeout=30).raise_for_status().json()


@pytest.fixture
def deployment(url: str) -> str:
    """A deployment that has runs for ten minutes before now and ten after."""
    flow = post(url, "flows/", {"name": "digits-monitor"})["id"]
    body = {"flow_id": flow, "name": f"{uuid4()}", **_SCHEDULE}
    created = post(url, "deployments/", body)["id"]
    now = datetime.now(UTC)
    times = {"start_time": now - timedelta(minutes=10), "end_time": now + timedelta(minutes=10)}
    between = {name: time.isoformat() for name, time in times.items()}
    post(url, f"deployments/{created}/schedule", {**between, "min_runs": 20})
    return str(created)


def test_of_missed_runs_the_latest_makes_up_for_all(url: str, deployment: str) -> None:
    by_hand = post(url, f"deployments/{deployment}/create_flow_run", {})["id"]
    skipped = clock.skip_missed(url)
    runs = api_filter(url, "flow_runs", deployments={"id": {"any_": [deployment]}}, limit=100)
    cancelled = [run for run in runs if run["state_type"] == "CANCELLED"]
    assert len(cancelled) == skipped >= 9
    assert {(run["state"]["name"], run["state"]["message"]) for run in cancelled} == {
        ("Skipped", clock.MISSED)
    }
    left = [run for run in runs if run["state_type"] == "SCHEDULED" and run["id"] != by_hand]
    now = datetime.now(UTC)
    times = [datetime.fromisoformat(run["expected_start_time"]) for run in left]
    (due,) = [time for time in times if time < now]
    assert now - due < timedelta(seconds=70)
    assert len(times) > 9
    assert by_hand in {run["id"] for run in runs if run["state_type"] == "SCHEDULED"}
    assert clock.skip_missed(url) == 0


def test_runs_that_would_wait_for_a_time_that_lies_ahead_are_cancelled(
    url: str, deployment: str
) -> None:
    """A run is pending when the clock is set back; one that was late goes on."""
    runs = api_filter(url, "flow_runs", deployments={"id": {"any_": [deployment]}}, limit=100)
    runs = sorted(runs, key=lambda run: run["expected_start_time"])
    for run in (runs[0], runs[-1]):
        post(url, f"flow_runs/{run['id']}/set_state", {"state": {"type": "PENDING"}})
    assert clock.cancel_waiting(url) == [runs[-1]["id"]]
    runs = api_filter(url, "flow_runs", deployments={"id": {"any_": [deployment]}}, limit=100)
    runs = sorted(runs, key=lambda run: run["expected_start_time"])
    assert runs[0]["state_type"] == "PENDING"
    assert runs[-1]["state_type"] == "CANCELLED"
    assert {run["state_type"] for run in runs[1:-1]} == {"SCHEDULED"}
