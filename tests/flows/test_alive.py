"""Which runs are finished as dead: those without a process, never others."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from digits.core import files
from digits.core.project import Project
from flows.alive import MESSAGE, Reaper


@pytest.fixture
def url(prefect_api: str) -> str:
    return prefect_api.removesuffix("/api")


def create(url: str, state: str) -> str:
    flow = httpx.post(f"{url}/api/flows/", json={"name": "digits-monitor"}, timeout=30).json()["id"]
    body = {"flow_id": flow, "state": {"type": state, "name": state.title()}}
    answer = httpx.post(f"{url}/api/flow_runs/", json=body, timeout=30)
    return str(answer.raise_for_status().json()["id"])


def state(url: str, run: str) -> tuple[str, str | None]:
    found = httpx.get(f"{url}/api/flow_runs/{run}", timeout=30).json()["state"]
    return found["type"], found["message"]


def test_runs_without_a_process_end_as_crashed_and_finished_ones_stay(
    tmp_path: Path, url: str
) -> None:
    runs = {s: create(url, s) for s in ("PENDING", "RUNNING", "CANCELLING", "COMPLETED", "FAILED")}
    scheduled = create(url, "SCHEDULED")
    Reaper(Project(tmp_path), grace=0).finish_dead(url)
    assert state(url, runs["PENDING"]) == ("CRASHED", MESSAGE)
    assert state(url, runs["RUNNING"]) == ("CRASHED", MESSAGE)
    assert state(url, runs["CANCELLING"]) == ("CANCELLED", MESSAGE)
    assert state(url, runs["COMPLETED"])[0] == "COMPLETED"
    assert state(url, runs["FAILED"])[0] == "FAILED"
    assert state(url, scheduled)[0] == "SCHEDULED"


def test_a_run_is_not_dead_before_it_was_missing_for_a_while(tmp_path: Path, url: str) -> None:
    run = create(url, "PENDING")
    reaper = Reaper(Project(tmp_path), grace=60)
    for _ in range(3):
        reaper.finish_dead(url)
    assert state(url, run)[0] == "PENDING"


def test_a_run_with_a_process_is_alive_whoever_started_it(tmp_path: Path, url: str) -> None:
    project = Project(tmp_path)
    ours = create(url, "RUNNING")
    command = psutil.Process().cmdline()
    files.write_json(
        project.state / "runs" / f"{ours}.json", {"pid": os.getpid(), "command": command}
    )
    gone = create(url, "RUNNING")
    other = {"pid": os.getpid(), "command": ["another", "process"]}  # the pid was given anew
    files.write_json(project.state / "runs" / f"{gone}.json", other)
    workers = create(url, "RUNNING")
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(300)"],
        env={"PREFECT__FLOW_RUN_ID": workers},
    )
    try:
        Reaper(project, grace=0).finish_dead(url)
    finally:
        process.kill()
        process.wait()
    assert state(url, ours)[0] == "RUNNING"
    assert state(url, workers)[0] == "RUNNING"
    assert state(url, gone)[0] == "CRASHED"
    assert not (project.state / "runs" / f"{gone}.json").exists()
