"""The status of a project: built, freshly cloned, damaged, with runs in Prefect's database."""

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import run

from digits.cli import main
from digits.core import files
from digits.core.project import Project
from digits.registry import registry
from flows import status

HEAVY = ("tensorflow", "keras", "pandas", "prefect", "great_expectations", "evidently", "sklearn")


def database(project: Project, *rows: tuple[str, str, str, str, str | None, str | None]) -> Path:
    path = project.build / "prefect" / "prefect.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE flow_run "
            "(name, state_type, state_name, start_time, end_time, parent_task_run_id)"
        )
        connection.executemany("INSERT INTO flow_run VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()
    return path


def test_a_built_project_has_model_data_and_drift(built_project: Project) -> None:
    current = status.read(built_project)
    test = files.read_json(built_project.metrics)["test"]
    assert current.model == {"name": "accurate", "accuracy": test["accuracy"], "present": True}
    assert current.champion is None
    assert current.data is not None
    assert f"md5: {current.data.md5}" in built_project.data_pointer.read_text()
    assert (current.data.files, current.data.present) == (6, True)
    assert current.stale == {}
    assert current.runs == []
    assert current.drift is not None
    assert current.drift["uci-digits"]["n"] == 120
    assert current.server is None
    assert current.problems == []


def test_the_champion_has_version_commit_and_accuracy(built_project: Project) -> None:
    version = registry.register(built_project)
    registry.promote(built_project, version.name, force=True, reason="a test")
    champion = status.read(built_project).champion
    assert champion == {
        "version": "v0.1.0",
        "commit": version.commit,
        "accuracy": version.accuracy,
    }


def test_a_changed_parameter_makes_its_stage_stale(built_project: Project) -> None:
    text = built_project.params.read_text()
    built_project.params.write_text(text.replace("alpha: 0.01", "alpha: 0.02"))
    assert status.read(built_project).stale == {"drift": ["params.yaml: drift"]}


def test_a_fresh_clone_reports_missing_data_and_weights(
    built_project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run("git", "clone", "-q", str(built_project.root), str(tmp_path / "clone"), cwd=tmp_path)
    monkeypatch.chdir(tmp_path / "clone")
    main(["status"])
    output = capsys.readouterr()
    assert "(missing; run 'digits fetch')" in output.out
    assert "weights missing" in output.out
    assert output.err == ""


def test_an_empty_project_without_git_has_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    main(["status", "--json"])
    document = json.loads(capsys.readouterr().out)
    empty = ("champion", "model", "data", "stale", "drift", "server")
    assert [document[name] for name in empty] == [None] * len(empty)
    assert any("data.dvc: not found" in problem for problem in document["problems"])


def test_the_last_five_runs_are_read_from_prefects_database(small_project: Project) -> None:
    rows = [
        (
            f"run-{day}",
            "COMPLETED",
            "Harmful",
            f"2026-01-0{day} 10:00:00.123",
            f"2026-01-0{day} 10:01:30",
            None,
        )
        for day in range(1, 8)
    ]
    running = ("running", "RUNNING", "Running", "2026-01-09 08:00:00.5", None, None)
    waiting = ("waiting", "SCHEDULED", "Scheduled", None, None, None)
    inner = (
        "inner",
        "COMPLETED",
        "Completed",
        "2026-01-09 09:00:00",
        "2026-01-09 09:01:00",
        "a-task",
    )
    database(small_project, *rows, running, waiting, inner)  # type: ignore[arg-type]
    runs = status.read(small_project).runs
    assert runs is not None
    assert [run.name for run in runs] == ["running", "run-7", "run-6", "run-5", "run-4"]
    assert (runs[1].state, runs[1].result) == ("completed", "Harmful")
    assert (runs[0].state, runs[0].start, runs[0].end) == ("running", "2026-01-09T08:00:00Z", None)


@pytest.mark.parametrize("damage", ["no table", "no database"])
def test_runs_are_unknown_if_the_database_is_unreadable(
    small_project: Project, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = database(small_project)
    if damage == "no table":
        with sqlite3.connect(path) as connection:
            connection.execute("ALTER TABLE flow_run RENAME TO flow_runs")
        connection.close()
    else:
        path.write_bytes(b"something else altogether" * 100)
    main(["status"])
    output = capsys.readouterr()
    assert "unknown" in output.out
    assert "last runs: unknown" in output.err


def test_reading_leaves_the_database_unchanged(small_project: Project) -> None:
    path = database(
        small_project, ("a", "COMPLETED", "Completed", "2026-01-01", "2026-01-02", None)
    )
    before = path.read_bytes(), sorted(path.parent.iterdir())
    status.read(small_project)
    assert (path.read_bytes(), sorted(path.parent.iterdir())) == before


def test_no_heavy_package_is_imported(small_project: Project) -> None:
    code = (
        "import sys; from digits.cli import main; main(['status']); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=small_project.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "[]"


def test_status_takes_a_few_seconds_at_most(small_project: Project) -> None:
    started = time.monotonic()
    run("python", "-m", "digits", "status", cwd=small_project.root)
    assert time.monotonic() - started < 6  # two on an idle machine
