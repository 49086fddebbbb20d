"""Scheduled runs are started and completed; the pins of fastapi and sqlalchemy ensure that."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from serving import api_filter, edit_deployment, free_port, pids, server, serving

from digits.core.project import Project
from flows import alarms, alive, services
from flows import server as reporting
from flows.alive import Reaper

pytestmark = pytest.mark.timeout(300)
_TIMEOUT = 120.0  # s


@pytest.fixture
def url(small_project: Project) -> Iterator[str]:
    with serving(small_project):
        edit_deployment(
            small_project,
            "monitor",
            schedules=[{"interval": 5}],
            parameters={"inbox": "build/inbox", "quiet": 0},
        )
        port = free_port()
        started = server(small_project, "start", "--port", str(port))
        assert started.returncode == 0, started.stdout + started.stderr
        yield f"http://127.0.0.1:{port}"


def test_scheduled_runs_complete_or_fail_with_the_reason(small_project: Project, url: str) -> None:
    run = _wait_for_run(url, "COMPLETED")
    assert run["auto_scheduled"] is True
    assert run["created_by"]["type"] == "SCHEDULE"
    assert "no new batches" in run["state"]["message"]

    batch = small_project.build / "inbox" / "march-forms"
    batch.mkdir(parents=True)
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(batch / "one.png")
    run = _wait_for_run(url, "FAILED")
    assert "new batches can't be checked without a model" in run["state"]["message"]
    assert "dvc repro" in run["state"]["message"]
    # here, as a server takes half a minute to start
    _check_that_harm_starts_a_training_run_and_a_harmless_drift_does_not(small_project, url)
    _check_that_schedules_survive_a_kill(small_project, url)


def _check_that_schedules_survive_a_kill(project: Project, url: str) -> None:
    """SIGKILL of server and worker while a run is pending: the next scheduled run completes."""
    deployment = httpx.get(f"{url}/api/deployments/name/digits-pipeline/train").json()["id"]
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2099-01-01T00:00:00Z"}}
    create = f"{url}/api/deployments/{deployment}/create_flow_run"
    created = httpx.post(create, json={"state": later})
    run = f"{url}/api/flow_runs/{created.raise_for_status().json()['id']}"
    pending = {"state": {"type": "PENDING", "name": "Pending"}, "force": True}
    httpx.post(f"{run}/set_state", json=pending).raise_for_status()
    shutil.rmtree(project.build / "inbox")  # runs fail while a batch is in it, without a model
    before = pids(project)
    killed = datetime.now(UTC)
    for name in ("server", "worker"):
        os.kill(before[name], signal.SIGKILL)
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            runs = api_filter(
                url, "flow_runs", flow_runs={"state": {"type": {"any_": ["COMPLETED"]}}}
            )
            if any(datetime.fromisoformat(run["start_time"]) > killed for run in runs):
                break
        time.sleep(0.5)
    else:
        pytest.fail(f"no run since the kill; {services.log_file(project, 'keeper').read_text()}")
    assert pids(project)["keeper"] == before["keeper"]
    Reaper(project, grace=0).finish_dead(url)
    state = httpx.get(run).json()["state"]
    assert (state["type"], state["message"]) == ("CRASHED", alive.MESSAGE)


def _check_that_harm_starts_a_training_run_and_a_harmless_drift_does_not(
    project: Project, url: str
) -> None:
    for status in ("drift", "harmful"):
        event = alarms.document(status, "march", {"batch": "march"})
        httpx.post(f"{url}/api/events", json=[event]).raise_for_status()
    assert reporting.report_harm(project, "april", {"accuracy": 0.5})
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        runs = api_filter(url, "flow_runs", deployments={"name": {"any_": ["train"]}})
        started = [run for run in runs if run["created_by"]["type"] == "AUTOMATION"]
        if len(started) >= 2:
            break
        time.sleep(0.5)
    time.sleep(2)  # a third one would come as quickly
    runs = api_filter(url, "flow_runs", deployments={"name": {"any_": ["train"]}})
    assert len([run for run in runs if run["created_by"]["type"] == "AUTOMATION"]) == 2


def _wait_for_run(url: str, state: str) -> dict[str, Any]:
    """The first run in a state; fails with the states of all runs."""
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        runs = api_filter(
            url, "flow_runs", flow_runs={"state": {"type": {"not_any_": ["SCHEDULED"]}}}
        )
        matching = [run for run in runs if run["state_type"] == state]
        if matching:
            return dict(matching[0])
        time.sleep(0.5)
    pytest.fail(
        f"no run became {state}: {[(r['state_type'], r['state']['message']) for r in runs]}"
    )
