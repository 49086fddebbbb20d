"""The flow's last step: everything is copied to the DVC remote, or a warning says why it isn't."""

import logging
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import run, set_param
from repository import commit_all, copy, dvc, git, init

from digits.core.project import Project
from digits.recogniser import Recogniser
from digits.versioning import dvc as versions
from flows import tasks
from flows.summary import Step


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose data is in DVC's cache."""
    root = tmp_path_factory.mktemp("push")
    (root / "data").mkdir()
    (root / "data" / "digit.txt").write_text("7")
    init(root)
    dvc(root, "add", "--quiet", "data")
    commit_all(root)
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    return copy(template, tmp_path / "project")


@pytest.fixture(autouse=True)
def _log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Stand in for Prefect's logger, which needs a running flow; and don't wait for networks."""
    monkeypatch.setattr(tasks, "get_run_logger", lambda: logging.getLogger("flows"))
    monkeypatch.setattr(tasks, "_PUSH_WAIT", 0.0)
    caplog.set_level(logging.INFO, "flows")


def push(project: Project) -> Step:
    step: Step = tasks.push.fn(project.root, "storage").result()
    return step


def add_remote(project: Project, url: str, **options: str) -> None:
    dvc(project.root, "remote", "add", "--quiet", "--force", "--default", "storage", url)
    for option, value in options.items():
        dvc(project.root, "remote", "modify", "storage", option, value)


def assert_warned(step: Step, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    assert step.result == "failed"
    assert reason in step.note
    for text in ("Not pushed to storage", "Results are kept", "dvc push"):
        assert text in step.note
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [step.note]


def test_another_clone_gets_from_the_remote_what_was_pushed(
    project: Project, tmp_path: Path
) -> None:
    add_remote(project, str(tmp_path / "remote"))
    commit_all(project.root)
    assert push(project) == Step("push", "ran", pytest.approx(0, abs=60), "Pushed to storage.")
    git(tmp_path, "clone", "--quiet", "project", "clone")
    dvc(tmp_path / "clone", "pull", "--quiet")
    assert (tmp_path / "clone" / "data" / "digit.txt").read_text() == "7"


def test_a_folder_that_cannot_be_made_is_a_warning(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    add_remote(project, "/proc/nowhere")
    assert_warned(push(project), "/proc/nowhere", caplog)


def test_a_closed_port_is_a_warning_within_seconds(
    project: Project, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    add_remote(project, "s3://bucket/path", endpointurl=f"http://127.0.0.1:{port}")
    start = time.monotonic()
    assert_warned(push(project), "Could not connect to the endpoint", caplog)
    assert time.monotonic() - start < 30


def test_missing_credentials_are_named(
    project: Project, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(project.root))
    add_remote(project, "s3://bucket/path", endpointurl="http://127.0.0.1:9")
    assert_warned(push(project), "Unable to locate credentials", caplog)


def test_a_store_that_never_answers_is_left_after_the_limit(
    project: Project, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_PUSH_LIMIT", 5.0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        add_remote(project, "s3://bucket/path", endpointurl=url)
        start = time.monotonic()
        assert_warned(push(project), "no answer within", caplog)
    assert time.monotonic() - start < 20


def test_the_second_attempt_succeeds_after_the_network_recovered(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_remote(project, str(tmp_path / "outage" / "remote"))
    outage, attempts, real_push = tmp_path / "outage", [], versions.push
    outage.write_text("a file where a folder should be")

    def push_and_recover(*arguments: Any) -> None:
        attempts.append(arguments)
        try:
            real_push(*arguments)
        finally:
            if len(attempts) == 1:
                outage.unlink()

    monkeypatch.setattr(versions, "push", push_and_recover)
    assert push(project).result == "ran"
    assert len(attempts) == 2


def test_a_run_that_cannot_push_ends_well_and_a_later_push_brings_its_results(
    built_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    add_remote(built_project, "/proc/nowhere")
    set_param(built_project, "evaluate", "gallery", 7)
    refused = run("digits", "run", cwd=built_project.root)
    assert "Not pushed to storage" in refused.stdout
    assert re.search(r"push +failed", refused.stdout)
    assert "Nothing to do" in run("digits", "run", cwd=built_project.root).stdout  # all is kept

    add_remote(built_project, str(tmp_path / "remote"))
    assert push(built_project).note == "Pushed to storage."
    commit_all(built_project.root)
    git(tmp_path, "clone", "--quiet", "project", "clone")
    dvc(tmp_path / "clone", "pull", "--quiet")
    Recogniser.load(tmp_path / "clone")  # verifies the weights
