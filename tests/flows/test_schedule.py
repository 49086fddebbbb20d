"""A schedule fires by itself: the pins of fastapi and sqlalchemy exist because it once didn't."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving import ask, edit_deployment, free_port, server, serving

from digits.core.project import Project

pytestmark = pytest.mark.timeout(300)
_PATIENCE = 120.0  # s


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


def test_runs_of_the_schedule_end_and_say_why(small_project: Project, url: str) -> None:
    run = _await(url, "COMPLETED")
    assert run["auto_scheduled"] is True
    assert run["created_by"]["type"] == "SCHEDULE"
    assert "no new batches" in run["state"]["message"]

    batch = small_project.build / "inbox" / "march-forms"
    batch.mkdir(parents=True)
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(batch / "one.png")
    run = _await(url, "FAILED")
    assert "nothing to compare them with" in run["state"]["message"]
    assert "dvc repro" in run["state"]["message"]


def _await(url: str, state: str) -> dict[str, Any]:
    """The first run in a state; fails with what there was instead."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        runs = ask(url, "flow_runs", flow_runs={"state": {"type": {"not_any_": ["SCHEDULED"]}}})
        found = [run for run in runs if run["state_type"] == state]
        if found:
            return dict(found[0])
        time.sleep(0.5)
    pytest.fail(
        f"no run became {state}: {[(r['state_type'], r['state']['message']) for r in runs]}"
    )
