"""A step's result, exit code and log, on real DVC stages."""

import logging
from typing import Any

import pytest
from conftest import run, set_param

from digits.core.errors import DigitsError, StageError, Verdict
from digits.core.project import Project
from flows import tasks
from flows.summary import Step

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def _log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Stand in for Prefect's logger, which needs a running flow."""
    monkeypatch.setattr(tasks, "get_run_logger", lambda: logging.getLogger("flows"))
    caplog.set_level(logging.INFO, "flows")


def run_stage(project: Project, stage: str) -> Step:
    result: Step = tasks.run_stage.fn(stage, project.root).result()
    return result


def error_of(project: Project, stage: str) -> Any:
    with pytest.raises(DigitsError, match=f"{stage} failed") as raised:
        run_stage(project, stage)
    return raised.value


def test_a_stage_ran_is_unchanged_or_is_restored_from_the_run_cache(
    small_project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    assert run_stage(small_project, "ingest").result == "ran"
    assert "test/mnist: 397 images" in caplog.text
    for hint in ("git add", "dvc push", "autostage"):
        assert hint not in caplog.text

    assert run_stage(small_project, "ingest").result == "unchanged"
    assert "didn't change, skipping" in caplog.text

    (small_project.root / "dvc.lock").unlink()
    run("rm", "-rf", "build/ingested", cwd=small_project.root)
    assert run_stage(small_project, "ingest").result == "unchanged"
    assert (small_project.ingested / "images.npy").is_file()


def test_a_failed_stage_has_its_own_exit_code_and_error(small_project: Project) -> None:
    run_stage(small_project, "ingest")
    set_param(small_project, "validate", "max_mean_intensity", 0.1)
    error = error_of(small_project, "validate")
    assert isinstance(error, Verdict)
    assert str(error).startswith("validate failed with exit code 1: ")
    assert "mean intensity at most 0.1: broken by" in str(error)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("kill -9 $$", "exited with -9"),
        ("python -c 'import sys; sys.exit(1)'", "exited with 1"),  # no stage: not a verdict
    ],
)
def test_a_stage_without_a_result_fails_with_the_last_lines(
    small_project: Project, command: str, reason: str
) -> None:
    path = small_project.root / "dvc.yaml"
    path.write_text(path.read_text().replace("python -m digits.stages.ingest", command))
    error = error_of(small_project, "ingest")
    assert isinstance(error, StageError)
    assert reason in str(error)


def test_an_error_of_dvc_is_quoted(small_project: Project) -> None:
    error = error_of(small_project, "validate")
    assert isinstance(error, StageError)
    assert "ERROR: failed to reproduce 'validate'" in str(error)
    assert "build/ingested" in str(error)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("Use `dvc push` to send your updates to remote storage.", False),
        ("To track the changes with git, run:", False),
        ("\tgit add dvc.lock reports/.gitignore", False),
        ("\tdvc config core.autostage true", False),
        ("", False),
        ("git add is not what this stage does", True),
        ("Use `dvc push` to send your updates to remote storage. And more", True),
        ("Stage 'ingest' didn't change, skipping", True),
        ("WARNING: something else", True),
    ],
)
def test_only_known_hints_are_left_out_of_the_log(
    line: str, kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tasks._log(line)
    assert [record.message for record in caplog.records] == ([line] if kept else [])
