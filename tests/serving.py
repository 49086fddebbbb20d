"""Helpers for tests with a real Prefect server, worker and deployments."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from digits.core import files
from digits.core.project import Project
from flows import services

REPOSITORY = Path(__file__).parent.parent
_START = 200.0  # s


def server(
    project: Project, *arguments: str, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run `python -m flows.server`, as the Makefile does, without the user's Prefect settings."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {"PREFECT_WORKER_QUERY_SECONDS": "1", **settings}
    return subprocess.run(
        [sys.executable, "-m", "flows.server", *arguments],
        cwd=project.root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@contextmanager
def serving(project: Project, prefect_home: Path | None = None) -> Iterator[None]:
    """Copy the flows to the project; what is started inside the block is stopped, by pid.

    Args:
        prefect_home: a Prefect folder to copy; making its database takes long.
    """
    if prefect_home:
        shutil.copytree(prefect_home, project.build / "prefect")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "flows", project.root / "flows", ignore=ignored)
    shutil.copy(REPOSITORY / "prefect.yaml", project.root)
    try:
        yield
    finally:
        stop(project)


def stop(project: Project) -> None:
    """`make stop`; services that it leaves are killed."""
    left = pids(project)
    try:
        server(project, "stop")
    finally:
        for pid in left.values():
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()


def pids(project: Project) -> dict[str, int]:
    """The recorded pid of each service."""
    if not services.state_file(project).exists():
        return {}
    recorded = files.read_json(services.state_file(project))
    return {name: recorded[name] for name in ("server", "worker", "keeper") if name in recorded}


def edit_deployment(project: Project, name: str, **values: object) -> None:
    """Change a deployment in the project's prefect.yaml."""
    path = project.root / "prefect.yaml"
    document = yaml.safe_load(path.read_text())
    (deployment,) = [d for d in document["deployments"] if d["name"] == name]
    deployment.update(values)
    path.write_text(yaml.safe_dump(document))


def api_filter(url: str, path: str, **query: object) -> Any:
    """What Prefect's API answers to a filter, e.g. `flow_runs`."""
    answer = httpx.post(f"{url}/api/{path}/filter", json=query, timeout=30)
    return answer.raise_for_status().json()


@contextmanager
def prefect_api(project: Project) -> Iterator[str]:
    """A Prefect server alone, on the project's database: the address of its API."""
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "prefect", "server", "start"]
    command += ["--host", "127.0.0.1", "--port", port, "--no-services"]  # tests schedule nothing
    services.start(project, "server", command, services.server_environment(project, url))
    try:
        deadline = time.monotonic() + _START
        while not _is_healthy(url):
            assert time.monotonic() < deadline, services.log_file(project, "server").read_text()
            time.sleep(0.2)
        yield f"{url}/api"
    finally:
        services.stop(project)


def _is_healthy(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/api/health", timeout=30).json() is True
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
