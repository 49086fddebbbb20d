"""`make server` and `make stop`: everything starts, on loopback only, and everything is stopped."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from serving import api_filter, edit_deployment, free_port, pids, server, serving

from digits.core import files, processes
from digits.core.project import Project
from flows import services

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def project(small_project: Project) -> Iterator[Project]:
    with serving(small_project):
        yield small_project


@pytest.fixture
def project_with_database(small_project: Project, prefect_home: Path) -> Iterator[Project]:
    with serving(small_project, prefect_home):
        yield small_project


def test_start_is_idempotent_and_stop_ends_everything(project: Project) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    started = server(project, "start", "--port", str(port))
    assert started.returncode == 0, started.stdout + started.stderr
    assert url in started.stdout
    assert "make stop" in started.stdout
    before = pids(project)

    page = httpx.get(url, follow_redirects=True, timeout=30)
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    assert httpx.get(f"{url}/api/health", timeout=30).json() is True
    assert _listening_addresses(before["server"]) == {("127.0.0.1", port)}
    assert {d["name"]: d["work_pool_name"] for d in api_filter(url, "deployments")} == {
        "train": "digits",
        "monitor": "digits",
        "maintain": "digits",
    }
    settings = httpx.get(f"{url}/api/admin/settings", timeout=30).json()
    assert "flow_runs" in settings["server"]["services"]["db_vacuum"]["enabled"]  # old ones go
    assert services.environment(project)["PREFECT_API_URL"] == f"{url}/api"

    again = server(project, "start")
    assert (again.returncode, "Already running" in again.stdout) == (0, True)
    assert pids(project) == before

    stopped = server(project, "stop")
    assert (stopped.returncode, stopped.stdout) == (0, "Stopped: keeper, worker, server.\n")
    assert not any(map(processes.alive, before.values()))
    assert server(project, "status").returncode == 1
    assert "Nothing is running" in server(project, "stop").stdout


def test_a_failed_start_leaves_no_process(project_with_database: Project) -> None:
    project = project_with_database
    edit_deployment(project, "train", entrypoint="flows/gone.py:pipeline")
    port = free_port()
    started = server(project, "start", "--port", str(port))
    assert started.returncode == 2
    assert "build/state/logs/deploy.log" in started.stderr
    assert "gone.py" in (project.state / "logs" / "deploy.log").read_text()
    assert services.url(project) is None
    assert pids(project) == {}
    with pytest.raises(httpx.ConnectError, match="refused"):
        httpx.get(f"http://127.0.0.1:{port}", timeout=30)


def test_a_port_in_use_is_an_error_that_names_it(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        started = server(project, "start", "--port", str(port))
    assert started.returncode == 2
    assert f"port {port} of 127.0.0.1 is taken" in started.stderr


def test_stop_spares_another_process_with_a_recorded_pid(project: Project) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        recorded = {"server": other.pid, "url": "http://127.0.0.1:1"}
        commands = {"server": [sys.executable, "-m", "prefect", "server", "start"]}
        files.write_json(services.state_file(project), {**recorded, "commands": commands})
        assert services.url(project) is None
        assert "Nothing is running" in server(project, "stop").stdout
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def _listening_addresses(pid: int) -> set[tuple[str, int]]:
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in family
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
