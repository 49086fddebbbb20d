"""Data and models through DVC remotes: what one clone pushes, another pulls, byte for byte."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from conftest import REPOSITORY, run
from moto.server import ThreadedMotoServer
from repository import commit_all, dvc, git

from digits.core import files
from digits.core.project import Project
from digits.recogniser import Recogniser

KEYS = {"AWS_ACCESS_KEY_ID": "the-key", "AWS_SECRET_ACCESS_KEY": "the-secret"}
SECRET = (
    r"(access_key_id|secret_access_key|session_token|password|passphrase|sas_token|account_key)"
)


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a store like S3 with a bucket `digits`, and an environment without its keys."""
    for name in (*KEYS, "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {name.lower(): value for name, value in KEYS.items()}
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(
        Bucket="digits"
    )
    yield url
    server.stop()


def digests(project: Project) -> dict[str, str]:
    """Path → SHA-256 of everything that DVC tracks."""
    folders = (project.data, project.models, project.ingested, project.splits, project.evaluated)
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {project.relative(path): files.sha256(path) for path in paths}


def matches(root: Path, pattern: str) -> str:
    """The lines of tracked configuration that match."""
    paths = (".dvc", ".github", ":(glob)*.yaml", "data.dvc", "dvc.lock")
    return run("git", "grep", "-i", "-E", pattern, "--", *paths, cwd=root, check=False).stdout


def clone(project: Project, folder: Path) -> Project:
    git(folder.parent, "clone", "--quiet", str(project.root), folder.name)
    return Project(folder)


def test_a_clone_pulls_from_a_folder_exactly_what_was_pushed(
    built_project: Project, tmp_path: Path
) -> None:
    dvc(built_project.root, "remote", "add", "--quiet", "--default", "nas", str(tmp_path / "nas"))
    dvc(built_project.root, "push", "--quiet")
    commit_all(built_project.root)
    other = clone(built_project, tmp_path / "other")
    dvc(other.root, "pull", "--quiet")
    assert digests(other) == digests(built_project)
    Recogniser.load(other.root)


def test_s3_takes_its_keys_from_the_environment_and_delivers_the_same_bytes(
    built_project: Project, tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = built_project.root
    dvc(root, "remote", "add", "--quiet", "--default", "storage", "s3://digits/store")
    dvc(root, "remote", "modify", "storage", "endpointurl", s3)
    commit_all(root)
    other = clone(built_project, tmp_path / "other")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    dvc(root, "push", "--quiet")
    for name in KEYS:
        monkeypatch.delenv(name)
    refused = run("dvc", "pull", cwd=other.root, check=False)
    assert "Unable to locate credentials" in refused.stderr
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    dvc(other.root, "pull", "--quiet")
    assert digests(other) == digests(built_project)
    assert matches(root, "the-(key|secret)") == ""


def test_keys_in_the_local_configuration_never_reach_git(
    built_project: Project, tmp_path: Path
) -> None:
    root = built_project.root
    dvc(root, "remote", "add", "--quiet", "--default", "storage", "s3://digits/store")
    dvc(root, "remote", "modify", "--local", "storage", "secret_access_key", "the-secret")
    assert "the-secret" in (root / ".dvc" / "config.local").read_text()
    commit_all(root)
    assert "config.local" not in git(root, "ls-files", "--", ".dvc")
    assert git(root, "check-ignore", ".dvc/config.local").strip() == ".dvc/config.local"


def test_this_repository_ignores_the_local_configuration_and_tracks_no_credentials() -> None:
    assert git(REPOSITORY, "check-ignore", ".dvc/config.local").strip() == ".dvc/config.local"
    assert matches(REPOSITORY, f"{SECRET} *[=:] *[^$ ?]") == ""
    assert matches(REPOSITORY, "[a-z0-9]+://[^/ ]+:[^/ ]+@") == ""
