"""A project whose Prefect server, worker and deployments are real, and end with the test."""

import os
import shutil
import socket
import subprocess
import sys
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

REPOSITORY = Path(__file__).parent.parent.parent


def server(project: Project, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Call `python -m flows.server`, as the Makefile does, with nothing of the user's Prefect."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment["PREFECT_WORKER_QUERY_SECONDS"] = "1"
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
def serving(project: Project) -> Iterator[None]:
    """Bring the flows to the project; whatever is started within is stopped, by pid."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "flows", project.root / "flows", ignore=ignored)
    shutil.copy(REPOSITORY / "prefect.yaml", project.root)
    try:
        yield
    finally:
        found = pids(project)
        server(project, "stop")
        for pid in found.values():
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()


def pids(project: Project) -> dict[str, int]:
    """Service → pid, as recorded."""
    if not services.state_file(project).exists():
        return {}
    recorded = files.read_json(services.state_file(project))
    return {name: recorded[name] for name in ("server", "worker") if name in recorded}


def edit_deployment(project: Project, name: str, **values: object) -> None:
    """Change a deployment in the project's prefect.yaml."""
    path = project.root / "prefect.yaml"
    document = yaml.safe_load(path.read_text())
    (deployment,) = [d for d in document["deployments"] if d["name"] == name]
    deployment.update(values)
    path.write_text(yaml.safe_dump(document))


def ask(url: str, path: str, **query: object) -> Any:
    """The answer of Prefect's API to a filter."""
    answer = httpx.post(f"{url}/api/{path}/filter", json=query, timeout=30)
    return answer.raise_for_status().json()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
