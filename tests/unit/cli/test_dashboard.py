"""`digits dashboard`: what it says when there is nothing to show, or the port is taken."""

import socket
from pathlib import Path

import pytest
from conftest import exit_code

from digits.core.project import Project
from digits.drift import workspace


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_text("{}")
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def test_without_a_check_it_says_what_to_run(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("dashboard", "--no-open") == 2
    assert "nothing has been checked yet; run 'digits drift PATH'" in capsys.readouterr().err


def test_a_port_that_is_taken_is_an_error(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run = workspace.path(project) / str(workspace.PROJECT) / "snapshots" / "run.json"
    run.parent.mkdir(parents=True)
    run.touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert exit_code("dashboard", "--no-open", "--port", str(port)) == 2
    assert f"port {port} of 127.0.0.1 is taken" in capsys.readouterr().err
