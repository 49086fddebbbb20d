"""Scheduled runs are started and completed; the pins of fastapi and sqlalchemy ensure that."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from serving import api_filter, edit_deployment, free_port, server, serving

from digits.core.project import Project
from flows import alarms, api, services
from flows import server as reporting

pytestmark = pytest.mark.timeout(300)
_TIMEOUT = 120.0  # s
_TOKEN = "a-secret-of-the-webhook"


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What a webhook was sent; its address is in DIGITS_NOTIFY."""
    received: list[str] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as webhook,
        pytest.MonkeyPatch.context() as p,
    ):
        threading.Thread(target=webhook.serve_forever, daemon=True).start()
        p.setenv("DIGITS_NOTIFY", f"json://127.0.0.1:{webhook.server_port}/{_TOKEN}")
        yield received
        webhook.shutdown()


@pytest.fixture
def url(small_project: Project, prefect_home: Path, told: list[str]) -> Iterator[str]:
    with serving(small_project, prefect_home):
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


def test_scheduled_runs_complete_or_fail_with_the_reason(
    small_project: Project, url: str, told: list[str]
) -> None:
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
    # here, as a server takes long to start
    _check_that_a_cancelled_run_ends_as_cancelled(url)
    small_project.params.write_text("nonsense: [")  # so that training runs fail, and soon
    _check_that_harm_starts_a_training_run_and_a_harmless_drift_does_not(small_project, url)
    _check_that_drift_and_failures_are_told(small_project, told)
    _check_that_bad_parameters_are_refused(url)


def _check_that_a_cancelled_run_ends_as_cancelled(url: str) -> None:
    """As the UI does it."""
    deployment = api.get(url, "deployments/name/digits-pipeline/train")["id"]
    run = api.post(url, f"deployments/{deployment}/create_flow_run")["id"]
    deadline = time.monotonic() + _TIMEOUT
    while not api_filter(url, "task_runs", flow_runs={"id": {"any_": [run]}}):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    api.post(url, f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    while (state := api.get(url, f"flow_runs/{run}")["state"]["type"]) == "CANCELLING":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert state == "CANCELLED"


def _check_that_harm_starts_a_training_run_and_a_harmless_drift_does_not(
    project: Project, url: str
) -> None:
    for status in ("drift", "harmful"):
        event = alarms.document(status, "march", {"batch": "march"})
        api.post(url, "events", [event])
    assert reporting.report_harm(project, "april", {"accuracy": 0.5})
    deadline = time.monotonic() + _TIMEOUT
    while len(_started_by_automations(url)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    time.sleep(2)  # a third one would come as quickly
    assert len(_started_by_automations(url)) == 2


def _started_by_automations(url: str) -> list[dict[str, Any]]:
    runs = api_filter(url, "flow_runs", deployments={"name": {"any_": ["train"]}})
    return [run for run in runs if (run["created_by"] or {}).get("type") == "AUTOMATION"]


def _check_that_drift_and_failures_are_told(project: Project, told: list[str]) -> None:
    # not yet that the monitor failed: see flows/notifications.py
    wanted = ("Digits: harmful: march", "Digits: harmful: april", "Digits: drift: march")
    wanted += ("Digits: train failed",)
    deadline = time.monotonic() + _TIMEOUT
    while not all(any(text in message for message in told) for text in wanted):
        assert time.monotonic() < deadline, told
        time.sleep(0.5)
    logs = services.log_file(project, "server").parent.glob("*.log")
    assert not [log.name for log in logs if _TOKEN in log.read_text()]


def _check_that_bad_parameters_are_refused(url: str) -> None:
    bad = {"monitor": [{"quiet": -1}, {"inbox": "../elsewhere"}], "train": [{"force": "perhaps"}]}
    bad |= {"maintain": [{"keep_days": 1}]}
    flows = {"train": "digits-pipeline"}
    for name, values in bad.items():
        path = f"deployments/name/{flows.get(name, f'digits-{name}')}/{name}"
        deployment = httpx.get(f"{url}/api/{path}", timeout=30).json()["id"]
        for parameters in values:
            answer = httpx.post(
                f"{url}/api/deployments/{deployment}/create_flow_run",
                json={"parameters": parameters},
                timeout=30,
            )
            assert answer.status_code == 409, answer.text
            assert next(iter(parameters)) in answer.text


def _wait_for_run(url: str, state: str) -> dict[str, Any]:
    """The first scheduled run in a state; fails with the states of all runs."""
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        runs = api_filter(
            url, "flow_runs", flow_runs={"state": {"type": {"not_any_": ["SCHEDULED"]}}}
        )
        matching = [run for run in runs if run["state_type"] == state and run["auto_scheduled"]]
        if matching:
            return dict(matching[0])
        time.sleep(0.5)
    pytest.fail(
        f"no run became {state}: {[(r['state_type'], r['state']['message']) for r in runs]}"
    )
