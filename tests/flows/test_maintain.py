"""The nightly upkeep: what it verifies, lists, removes and leaves alone."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prefect import settings
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError
from repository import dvc

from digits.core import files, locking
from digits.core.project import Project
from flows import services
from flows.maintain import maintain

DAY = 86400  # s


@pytest.fixture
def project(built_project: Project, prefect_api: str) -> Iterator[Project]:
    with settings.temporary_settings({settings.PREFECT_API_URL: prefect_api}):
        yield built_project


def run(**parameters: Any) -> State[Any]:
    return maintain(**parameters, return_state=True)  # type: ignore[no-any-return]


def superseded(project: Project) -> Path:
    """An object that nothing needs: data that was added and then replaced."""
    extra = project.data / "handwriting" / "uci-digits" / "extra"
    kept = project.data_pointer.read_text()
    extra.write_text("superseded")
    dvc(project.root, "add", "--quiet", "data")
    (found,) = (
        path
        for path in (project.root / ".dvc" / "cache").rglob("*")
        if path.is_file() and path.stat().st_size == len("superseded")
    )
    extra.unlink()
    project.data_pointer.write_text(kept)
    return found


def report(project: Project, batch: str, days: int, **values: object) -> list[Path]:
    """What the monitor wrote about a batch that many days ago."""
    folder = project.build / "monitor"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{batch}.{suffix}" for suffix in ("json", "png")]
    files.write_json(paths[0], {"name": batch, **values})
    paths[1].touch()
    for path in paths:
        os.utime(path, (time.time() - days * DAY,) * 2)
    return paths


def test_wrong_weights_are_told_and_only_what_nobody_needs_is_removed(
    project: Project, prefect_api: str
) -> None:
    garbage = superseded(project)
    old, recent = report(project, "old", days=91), report(project, "recent", days=89)
    labelled = report(project, "labelled", days=91, labelled={"n": 3})
    weights = next(project.models.glob("*.h5"))
    right = weights.read_bytes()
    weights.chmod(0o644)
    weights.write_bytes(right[:-1] + b"?")
    state = run(dry_run=True)
    assert state.is_failed()
    assert "models verify: " in str(state.message)
    assert weights.name in str(state.message)
    assert all(path.exists() for path in (garbage, *old))
    artifact = httpx.get(f"{prefect_api}/artifacts/digits-garbage/latest", timeout=30).json()
    assert "2 objects" in artifact["data"]  # listed although the step before has failed
    assert garbage.name in artifact["data"]

    weights.write_bytes(right)
    state = run()
    assert state.is_completed(), state.message
    assert "2 objects" in str(state.message)
    assert not any(path.exists() for path in (garbage, *old))
    assert all(path.exists() for path in (*recent, *labelled))
    newest: dict[str, Any] = {"sort": "START_TIME_DESC", "limit": 1}
    newest["flows"] = {"name": {"any_": ["digits-maintain"]}}
    (last,) = httpx.post(f"{prefect_api}/flow_runs/filter", json=newest, timeout=30).json()
    assert last["name"] == "maintain: all is well"


def test_it_is_skipped_while_the_pipeline_runs(project: Project) -> None:
    garbage = superseded(project)
    with locking.exclusive(project.state / "run.lock", "digits run"):
        state = run()
    assert (state.name, state.is_completed()) == ("Skipped", True)
    assert "digits run" in str(state.message)
    assert garbage.exists()


@pytest.mark.parametrize("days", [0, 6, 4000, "many"])
def test_a_retention_out_of_bounds_is_refused(days: object) -> None:
    with pytest.raises(ParameterTypeError, match="keep_days"):
        maintain.validate_parameters({"keep_days": days, "dry_run": True})


def test_only_the_end_of_a_large_log_is_kept_and_its_service_goes_on_writing(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    log = services.log_file(project, "worker")
    log.parent.mkdir(parents=True)
    small = services.log_file(project, "server")
    small.write_text("a line\n")
    with log.open("ab") as service:
        lines = np.arange(1_500_000).astype("S8")
        service.write(b"\n".join(lines) + b"\n")
        service.flush()
        assert services.trim_logs(project) == ["worker"]
        service.write(b"later\n")
    kept = log.read_text().splitlines()
    assert log.stat().st_size < 2 << 20
    assert kept[-2:] == ["1499999", "later"]
    assert kept[0].isdigit()
    assert small.read_text() == "a line\n"
