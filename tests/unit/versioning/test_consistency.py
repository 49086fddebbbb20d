"""What belongs together, in the tree and at a commit."""

import shutil

from conftest import exit_code, run, set_param
from repository import dvc

from digits.core.project import Project
from digits.data import handwriting
from digits.versioning import consistency


def commit(project: Project) -> str:
    run("git", "add", "-A", cwd=project.root)
    run("git", "commit", "-q", "--allow-empty", "-m", "Change", cwd=project.root)
    return run("git", "rev-parse", "HEAD", cwd=project.root).stdout.strip()


def test_a_built_project_belongs_together_in_the_tree_and_at_its_commit(
    built_project: Project,
) -> None:
    for where in (None, commit(built_project)):
        found = consistency.check(built_project, where)
        assert found.ok, found
        assert not found.uncommitted


def test_a_changed_parameter_makes_the_tree_and_then_its_commit_stale(
    built_project: Project,
) -> None:
    before = commit(built_project)
    set_param(built_project, "models.accurate", "epochs", 9)
    tree = consistency.check(built_project)
    assert list(tree.stale) == ["train"]
    assert tree.uncommitted == ["params.yaml"]
    assert consistency.check(built_project, before).ok
    after = consistency.check(built_project, commit(built_project))
    assert after.problems == ["train is stale: params.yaml: models.accurate changed"]


def test_data_that_nothing_was_built_from_is_stale_also_where_data_is_missing(
    built_project: Project,
) -> None:
    handwriting.write(built_project.handwriting / "mine", handwriting.uci_digits()[200:230])
    dvc(built_project.root, "add", "--quiet", "data")
    assert "data" in consistency.check(built_project).stale["ingest"]
    after = commit(built_project)
    assert consistency.check(built_project, after).stale == {"ingest": ["data"]}
    shutil.rmtree(built_project.data)
    assert consistency.check(built_project).stale == {"ingest": ["data"]}
    assert exit_code("gate") == 1


def test_weights_of_another_model_are_a_problem(built_project: Project) -> None:
    path = built_project.models / "digits.onnx"
    path.write_bytes(path.read_bytes() + b"\x00")
    found = consistency.check(built_project)
    assert not found.ok
    assert "dvc checkout --force models" in found.weights
    assert exit_code("gate") == 1
