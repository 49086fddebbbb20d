"""The status of a project: built, freshly cloned, damaged, with runs in Prefect's database."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from conftest import run

from digits.cli import main
from digits.core import files, locking
from digits.core.project import Project
from digits.registry import registry
from flows import services, status

LATE = ("maintain", "maintain", "pipeline")
HEAVY = ("tensorflow", "keras", "pandas", "prefect", "great_expectations", "evidently", "sklearn")


@pytest.fixture
def database(small_project: Project, prefect_home: Path) -> Path:
    """A database as Prefect made it, with two deployments and no runs."""
    path = small_project.build / "prefect" / "prefect.db"
    path.parent.mkdir(parents=True)
    shutil.copy(prefect_home / path.name, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM flow_run")
        connection.execute("DELETE FROM flow")
        for name in ("pipeline", "monitor"):
            connection.execute("INSERT INTO flow (id, name) VALUES (?, ?)", (name, name))
        for name, flow in (("train", "pipeline"), ("monitor", "monitor")):
            values = (name, name, flow, "[]")
            connection.execute(
                "INSERT INTO deployment (id, name, flow_id, tags) VALUES (?, ?, ?, ?)", values
            )
    return path


def add_runs(database: Path, *names: str, **values: object) -> None:
    """Add runs with the same columns; by default completed monitor runs at the hour of the name."""
    for name in names:
        row = {
            "name": name,
            "flow_id": "monitor",
            "state_type": "COMPLETED",
            "state_name": "Completed",
            "start_time": f"2026-01-09 {name[:2]}:00:00.123000",
            "end_time": f"2026-01-09 {name[:2]}:01:30.000000",
            **values,
        }
        message = row.pop("message", None)
        with closing(sqlite3.connect(database)) as connection, connection:
            marks = ", ".join("?" * len(row))
            connection.execute(
                f"INSERT INTO flow_run (id, state_id, {', '.join(row)}) "
                f"VALUES ('{name}', 'state-{name}', {marks})",
                tuple(row.values()),
            )
            connection.execute(
                "INSERT INTO flow_run_state (id, type, name, message, flow_run_id) "
                "VALUES (?, ?, ?, ?, ?)",
                (f"state-{name}", row["state_type"], row["state_name"], message, name),
            )


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


def test_the_last_runs_are_read_with_results_and_reasons(
    small_project: Project, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_runs(database, "01 train", flow_id="pipeline")
    why = "could not check march:\nits model is missing"
    add_runs(database, "02 broken", state_type="FAILED", state_name="Failed", message=why)
    add_runs(database, *(f"{hour:02} quiet" for hour in range(3, 8)), state_name="Harmful")
    add_runs(database, "08 now", state_type="RUNNING", state_name="Running", end_time=None)
    add_runs(database, "09 waiting", state_type="SCHEDULED", start_time=None)
    runs = status.read(small_project).runs
    assert runs is not None
    newest = ["08 now", "07 quiet", "06 quiet", "05 quiet", "04 quiet"]
    assert [run.name for run in runs] == [*newest, "02 broken", "01 train"]
    assert (runs[0].state, runs[0].start, runs[0].end) == ("running", "2026-01-09T08:00:00Z", None)
    assert (runs[1].state, runs[1].result) == ("completed", "Harmful")
    assert (runs[5].state, runs[5].message) == ("failed", " ".join(why.split()))
    main(["status"])
    output = capsys.readouterr().out
    assert "its model is missing" in " ".join(output.split())
    assert "1 min 30 s  06 quiet" in output


def test_next_runs_are_shown_while_the_server_is_up(
    small_project: Project,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = datetime.now(UTC)
    for name, deployment, hours in (
        ("later", "train", 75),
        ("soon", "monitor", 3),
        ("after", "monitor", 4),
        ("late", "maintain", -5),
    ):
        add_runs(
            database,
            name,
            state_type="SCHEDULED",
            start_time=None,
            end_time=None,
            deployment_id=deployment,
            next_scheduled_start_time=f"{now + timedelta(hours=hours):%Y-%m-%d %H:%M:%S.%f}",
        )
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO deployment (id, name, flow_id) VALUES (?, ?, ?)", LATE)
    assert status.read(small_project).next == []  # nobody would start them
    monkeypatch.setattr(services, "url", lambda _: "http://127.0.0.1:1")
    current = status.read(small_project)
    assert current.next is not None
    assert [run.deployment for run in current.next] == ["maintain", "monitor", "train"]
    assert datetime.fromisoformat(current.next[1].time) == (now + timedelta(hours=3)).replace(
        microsecond=0
    )
    main(["status"])
    output = capsys.readouterr().out
    for text in ("monitor   in 3 h", "train     in 3 days", "maintain  late by 5 h"):
        assert text in output
    assert "worker and keeper not running; restart with 'make server'" in " ".join(output.split())


def test_a_run_in_progress_is_shown_and_one_that_was_killed_is_not(small_project: Project) -> None:
    lock = small_project.state / "run.lock"
    assert status.read(small_project).running is None
    with locking.exclusive(lock, "digits run"):
        running = status.read(small_project).running
        assert running is not None
        assert (running.who, running.pid) == ("digits run", os.getpid())
    assert status.read(small_project).running is None
    before = psutil.Process().create_time() - 60  # the pid was given anew
    files.write_json(lock, {"who": "digits run", "pid": os.getpid(), "since": before})
    assert status.read(small_project).running is None


@pytest.mark.parametrize("damage", ["no table", "no database", "no time", "locked"])
def test_runs_are_unknown_if_the_database_is_unreadable(
    small_project: Project, database: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    add_runs(database, "01")
    with closing(sqlite3.connect(database)) as connection:
        if damage == "no table":
            connection.execute("ALTER TABLE flow_run RENAME TO flow_runs")
        elif damage == "no time":
            connection.execute("UPDATE flow_run SET start_time = 'yesterday'")
            connection.commit()
        elif damage == "locked":
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("BEGIN EXCLUSIVE")
        else:
            database.write_bytes(b"something else altogether" * 100)
        main(["status"])
    output = capsys.readouterr()
    assert "unknown" in output.out
    assert "last runs: unknown" in output.err


def test_reading_leaves_the_database_unchanged(small_project: Project, database: Path) -> None:
    add_runs(database, "01")
    before = database.read_bytes()
    status.read(small_project)
    assert database.read_bytes() == before
    assert not [path for path in database.parent.iterdir() if path.name.endswith("-journal")]


def test_a_year_of_runs_is_read_quickly(small_project: Project, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 35000)
            INSERT INTO flow_run (id, name, flow_id, state_type, state_name, start_time)
            SELECT i, 'monitor', 'monitor', 'COMPLETED', 'Completed',
                strftime('%Y-%m-%d %H:%M:%f000', '2025-01-01', (i * 15) || ' minutes') FROM n
            """
        )
    add_runs(database, "01 train", flow_id="pipeline", start_time="2024-12-30 04:00:00.000000")
    start = time.monotonic()
    runs = status.read_runs(database)
    assert time.monotonic() - start < 1  # 0.05 on an idle machine
    assert [run.name for run in runs] == [*["monitor"] * 5, "01 train"]


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
    assert time.monotonic() - started < 6  # one and a half on an idle machine
