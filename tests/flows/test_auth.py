"""A server with a password: all need it, and neither it nor another secret is ever written."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest
from conftest import run
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings
from repository import dvc
from serving import free_port, pids, server, serving

from digits.core.errors import DigitsError
from digits.core.project import Project
from flows import api, services
from flows import server as reporting

pytestmark = pytest.mark.timeout(300)

PASSWORD = "canary-of-the-server"
AUTH = "PREFECT_SERVER_API_AUTH_STRING"
SECRETS = {
    AUTH: f"team:{PASSWORD}",
    "AWS_ACCESS_KEY_ID": "canary-of-the-key",
    "AWS_SECRET_ACCESS_KEY": "canary-of-the-store",
    "SLACK_WEBHOOK_URL": "https://hooks.example.com/canary-of-the-receiver",
}
FINAL = ("COMPLETED", "FAILED", "CRASHED")
_TIMEOUT = 200.0  # s


@pytest.fixture
def project(built_project: Project, prefect_home: Path) -> Iterator[Project]:
    with serving(built_project, prefect_home):
        yield built_project


class _Refusing(BaseHTTPRequestHandler):
    """Takes what is sent, and then refuses it; without the first, DVC sees a broken pipe."""

    def do_POST(self) -> None:
        while size := int(self.rfile.readline(), 16):  # in chunks
            self.rfile.read(size + 2)
        self.send_error(507)


@pytest.fixture
def remote() -> Iterator[str]:
    """The address of a DVC remote that accepts nothing."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{listener.server_port}/store"
    listener.shutdown()
    listener.server_close()


def test_everybody_needs_the_password_and_no_secret_is_written(
    project: Project, remote: str
) -> None:
    """One test, as a server takes long to start."""
    storage = f"http://team:canary-of-the-remote@{remote}?signature=canary-of-the-address"
    dvc(project.root, "remote", "add", "--quiet", "--local", "--default", "storage", storage)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    started = server(project, "start", "--port", str(port), **SECRETS)
    assert started.returncode == 0, started.stdout + started.stderr

    train = "deployments/name/digits-pipeline/train"
    for answer in (
        httpx.get(f"{url}/api/{train}", timeout=30),
        httpx.post(f"{url}/api/events", json=[], timeout=30),
        httpx.get(f"{url}/api/{train}", auth=("team", "wrong"), timeout=30),
    ):
        assert answer.status_code == 401
    with pytest.raises(DigitsError, match="set PREFECT_API_AUTH_STRING"):
        reporting.report_harm(project, "march", {})
    refused = run("digits", "run", "--force", cwd=project.root, check=False)
    assert refused.returncode == 2
    assert refused.stderr.endswith("set PREFECT_API_AUTH_STRING to 'user:password'\n")

    with temporary_settings({PREFECT_API_AUTH_STRING: f"team:{PASSWORD}"}):
        note = _note_of_push(url, api.get(url, train)["id"])
    assert "Not pushed to storage" in note
    assert "signature=***" in note
    commands = [psutil.Process(pid).cmdline() for pid in pids(project).values()]
    recorded = services.state_file(project).read_text()
    assert "canary" not in f"{commands} {recorded}"
    server(project, "stop")
    paths = [path for path in project.root.rglob("*") if path.is_file()]
    assert {path.name for path in paths} >= {"prefect.db", "worker.log"}
    leaks = [path for path in paths if b"canary" in path.read_bytes()]
    assert leaks == [project.root / ".dvc" / "config.local"]  # where the user wrote it


def test_other_machines_are_let_in_with_a_password_only(project: Project) -> None:
    started = server(project, "start", "--host", "0.0.0.0")
    assert started.returncode == 2
    assert "0.0.0.0 can be reached from other machines" in started.stderr
    assert f"set {AUTH}" in started.stderr
    different = {"PREFECT_API_AUTH_STRING": "team:canary-of-another-server"}
    started = server(project, "start", "--host", "0.0.0.0", **SECRETS, **different)
    assert started.returncode == 2
    assert "are different" in started.stderr
    assert "canary" not in started.stderr
    assert pids(project) == {}


def _note_of_push(url: str, deployment: str) -> str:
    """Run the deployment, and return what its log says of the push."""
    run = api.post(url, f"deployments/{deployment}/create_flow_run")["id"]
    deadline = time.monotonic() + _TIMEOUT
    while (state := api.get(url, f"flow_runs/{run}")["state"])["type"] not in FINAL:
        assert time.monotonic() < deadline, state
        time.sleep(0.5)
    assert state["type"] == "COMPLETED", state
    warnings = {"logs": {"level": {"ge_": 30}, "flow_run_id": {"any_": [run]}}}
    while not (lines := api.post(url, "logs/filter", warnings)):  # they come later than the state
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return "\n".join(line["message"] for line in lines)
