"""The DVC and git command lines, on a real repository."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from digits.core.errors import DataError, DigitsError, StageError
from digits.core.project import Project
from digits.versioning import dvc, git

PIPELINE = f"""
stages:
  count:
    cmd: {sys.executable} count.py
    deps: [count.py, words.txt]
    params: [count.factor]
    metrics:
      - counted.json: {{cache: false}}
"""
COUNT = """
import json, pathlib
words = len(pathlib.Path("words.txt").read_text().split())
pathlib.Path("counted.json").write_text(json.dumps({"words": words, "constant": 1}))
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("dvc")
    project = Project(folder)
    git.run(project, "init", "--quiet", "--initial-branch", "main")
    git.run(project, "config", "user.name", "Somebody")
    git.run(project, "config", "user.email", "somebody@localhost")
    dvc.run(project, "init", "--quiet")
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "params.yaml").write_text("count: {factor: 2}\n")
    (folder / "count.py").write_text(COUNT)
    (folder / "words.txt").write_text("two words")
    dvc.run(project, "repro", "--quiet")
    git.run(project, "add", "--all")
    git.run(project, "commit", "--quiet", "--message", "Count")
    return project


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    subprocess.run(["cp", "-r", f"{template.root}/.", tmp_path], check=True)
    return Project(tmp_path)


def test_up_to_date(project: Project) -> None:
    assert dvc.status(project) == {}
    assert dvc.stale(project) == {}
    assert not dvc.remote_configured(project)


def test_what_changed_is_stale_and_what_is_absent_is_not(project: Project) -> None:
    (project.root / "words.txt").unlink()
    assert "count" in dvc.status(project)
    assert dvc.stale(project) == {}

    (project.root / "count.py").write_text(COUNT + "\n")
    project.params.write_text("count: {factor: 3}\n")
    (project.root / "counted.json").write_text("{}")
    changes = ["count.py", "counted.json", "params.yaml: count.factor"]
    assert dvc.stale(project) == {"count": changes}


def test_a_new_command_is_stale(project: Project) -> None:
    pipeline = project.root / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("count.py\n", "count.py --fast\n", 1))
    assert dvc.stale(project) == {"count": ["its command"]}


def test_differences_to_a_revision(project: Project) -> None:
    (project.root / "words.txt").write_text("these are four words")
    project.params.write_text("count: {factor: 2, new: true}\n")
    dvc.run(project, "repro", "--quiet")
    metrics = dvc.metrics_diff(project, "HEAD", "counted.json")
    assert (metrics["words"]["old"], metrics["words"]["new"]) == (2, 4)
    assert metrics["constant"]["new"] == 1
    assert {name: one["new"] for name, one in dvc.params_diff(project, "HEAD").items()} == {
        "count.new": True
    }


def test_what_dvc_says_is_passed_on_in_one_line(project: Project) -> None:
    with pytest.raises(StageError, match=r"^dvc metrics: unknown Git revision 'nope'$"):
        dvc.metrics_diff(project, "nope", "counted.json")


def test_files_of_a_revision(project: Project) -> None:
    (project.root / "words.txt").write_text("changed")
    assert git.show(project, "main", "words.txt") == "two words"
    assert git.show(project, "main", "absent.txt") is None
    assert git.resolve(project, "main") == git.merge_base(project, "main")
    assert git.merge_base(project, "absent") is None


def test_an_experiment_is_a_revision(project: Project) -> None:
    (project.root / "params.yaml").write_text("count: {factor: 3}\n")
    dvc.run(project, "exp", "run", "--quiet", "--name", "thrice")
    commit = git.resolve(project, "thrice")
    assert git.show(project, commit, "params.yaml") == "count: {factor: 3}\n"
    with pytest.raises(DigitsError, match="unknown revision 'EXEC_HEAD'"):  # DVC's own
        git.resolve(project, "EXEC_HEAD")


@pytest.mark.parametrize("revision", ["nope", "--all", "", "main:words.txt", "exps", "*"])
def test_unknown_revision(project: Project, revision: str) -> None:
    with pytest.raises(DigitsError, match=re.escape(f"unknown revision '{revision}'")):
        git.resolve(project, revision)


def test_a_folder_without_git(tmp_path: Path) -> None:
    with pytest.raises(DigitsError, match="git status: fatal: not a git repository"):
        git.run(Project(tmp_path), "status")


def test_without_git_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DigitsError, match="git: not found; install it"):
        git.run(Project(tmp_path), "status")


def test_data_version_in_the_tree_and_at_a_commit(project: Project) -> None:
    assert dvc.find_data_version(project) is None
    assert dvc.find_data_version(project, "main") is None
    with pytest.raises(DataError, match=r"data\.dvc: not found; restore it from git"):
        dvc.data_version(project)

    project.data.mkdir()
    (project.data / "words").write_text("words")
    dvc.run(project, "add", "--quiet", "data")
    version = dvc.data_version(project)
    assert (version.files, version.size) == (1, 5)
    assert version.md5.endswith(".dir")

    git.run(project, "add", "--all")
    git.run(project, "commit", "--quiet", "--message", "Data")
    project.data_pointer.unlink()
    assert dvc.find_data_version(project) is None
    assert dvc.find_data_version(project, "main") == version


@pytest.mark.parametrize(
    "text", ["", "outs: []", "outs: [{path: data}]", "outs: [1]", "<<<<<<< HEAD", "{", "\xff\0"]
)
def test_damaged_pointer_is_an_error_that_names_it(project: Project, text: str) -> None:
    project.data_pointer.write_text(text)
    with pytest.raises(DataError, match=r"data\.dvc: expected a DVC file with one folder"):
        dvc.data_version(project)
