"""The project's own Prefect: where it keeps its state, and whether its server is up."""

import os
from pathlib import Path
from typing import Any

from digits import artifacts, lifetime
from digits.errors import DataError
from digits.paths import Project


def state_file(project: Project) -> Path:
    """What `make server` started: pids and the UI's address."""
    return project.state / "services.json"


def running(project: Project) -> dict[str, Any] | None:
    """`{"server": pid, "worker": pid, "url": …}` while the server is up, else None."""
    try:
        services: dict[str, Any] = artifacts.read_json(state_file(project))
    except DataError:
        return None
    return services if lifetime.alive(services["server"]) else None


def environment(project: Project) -> dict[str, str]:
    """Variables under which Prefect uses this project's state and, if it is up, its server.

    What the user has set for Prefect already is left alone.
    """
    values = {
        "PREFECT_HOME": str(project.build / "prefect"),
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    }
    services = running(project)
    if services:
        values["PREFECT_API_URL"] = services["url"] + "/api"
    return {key: os.environ.get(key, value) for key, value in values.items()}
