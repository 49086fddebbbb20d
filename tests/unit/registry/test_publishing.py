"""`digits models push`: files to a folder as DVC remote, then tags to a bare repository."""

import shutil
from pathlib import Path

import pytest
import toy_model
from conftest import exit_code
from repository import dvc, git

from digits.core import files
from digits.core.errors import RegistryError
from digits.core.project import Project
from digits.registry import publishing, registry
from digits.registry.publishing import push

pytestmark = pytest.mark.usefixtures("gate_approves")


@pytest.fixture
def hub(toy_project: Project) -> Path:
    """A bare repository that is `origin`; the DVC remote is still empty."""
    hub = toy_project.root.parent / "hub"
    git(toy_project.root.parent, "init", "--quiet", "--bare", "--initial-branch", "main", str(hub))
    git(toy_project.root, "remote", "add", "origin", str(hub))
    git(toy_project.root, "push", "--quiet", "--no-verify", "origin", "main")
    shutil.rmtree(toy_project.root.parent / "shelf")
    return hub


def published(hub: Path) -> list[str]:
    return git(hub, "tag", "--list").split()


def clone(hub: Path, name: str) -> Project:
    git(hub.parent, "clone", "--quiet", "hub", name)
    made = Project(hub.parent / name)
    toy_model.use_own_remote(made)
    git(made.root, "config", "user.name", "Somebody else")
    git(made.root, "config", "user.email", "else@localhost")
    return made


def test_a_pushed_champion_can_be_got_in_another_clone(toy_project: Project, hub: Path) -> None:
    registry.promote(toy_project, "v0.1.0")
    pushed = push(toy_project)
    assert pushed.tags == ["digits@v0.1.0", "digits@v0.2.0", "digits#champion#1"]
    other = clone(hub, "other")
    folder = registry.materialise(other)
    wanted = registry.find(toy_project, "v0.1.0").weights[toy_model.ONNX]
    assert files.sha256(folder / toy_model.ONNX) == wanted
    assert push(toy_project).tags == []


def test_register_and_promote_name_the_next_step(
    toy_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (("register",), ("promote", "v0.1.0"), ("promote", "v0.2.0"), ("rollback",)):
        assert exit_code("models", *command) == 0
        assert "Next: digits models push" in capsys.readouterr().out


def test_without_remotes_each_message_says_how_to_add_one(toy_project: Project) -> None:
    with pytest.raises(RegistryError, match="run 'git remote add origin URL'"):
        push(toy_project)
    git(toy_project.root, "remote", "add", "origin", str(toy_project.root.parent / "nothing"))
    with pytest.raises(
        RegistryError, match=r"git remote 'origin' can't be read: .*nothing is lost"
    ):
        push(toy_project)
    git(toy_project.root, "init", "--quiet", "--bare", str(toy_project.root.parent / "nothing"))
    dvc(toy_project.root, "remote", "remove", "shelf")
    (toy_project.root / ".dvc" / "config.local").unlink()
    with pytest.raises(RegistryError, match="run 'dvc remote add -d NAME URL'"):
        push(toy_project)


def test_if_the_files_cannot_be_uploaded_no_tag_is_visible(toy_project: Project, hub: Path) -> None:
    shelf = toy_project.root.parent / "shelf"
    shelf.write_text("in the way")
    with pytest.raises(RegistryError, match=r"can't be uploaded: .*run 'digits models push' again"):
        push(toy_project)
    assert published(hub) == []
    shelf.unlink()
    assert len(push(toy_project).tags) == 2


def test_a_version_whose_files_nobody_has_is_not_published(toy_project: Project, hub: Path) -> None:
    shutil.rmtree(toy_project.root / ".dvc" / "cache")
    with pytest.raises(RegistryError, match=r"v0\.\d\.0: its files are not in DVC's cache"):
        push(toy_project)
    assert published(hub) == []


def test_files_that_silently_did_not_arrive_are_noticed(
    toy_project: Project, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc push` succeeds also if it had nothing to copy."""
    monkeypatch.setattr(publishing.dvc, "push_tagged", lambda *_: None)
    with pytest.raises(RegistryError, match="did not reach the DVC remote"):
        push(toy_project)
    assert published(hub) == []


def test_a_refusing_git_remote_loses_nothing(toy_project: Project, hub: Path) -> None:
    hook = hub / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(RegistryError, match="the files are uploaded, the tags are not"):
        push(toy_project)
    assert published(hub) == []
    hook.unlink()
    assert len(push(toy_project).tags) == 2


def test_of_two_clones_that_promote_the_first_push_stands(toy_project: Project, hub: Path) -> None:
    push(toy_project)
    other = clone(hub, "other")
    registry.promote(toy_project, "v0.1.0")
    registry.promote(other, "v0.2.0")
    registry.promote(other, "v0.1.0")
    push(toy_project)

    with pytest.raises(RegistryError, match="somebody else has changed the registry") as caught:
        push(other)

    assert published(hub)[0] == "digits#champion#1"
    advice = str(caught.value).split("drop your own tags: ")[1].split(";")[0]
    for command in advice.replace("'", "").split(" && "):
        git(other.root, *command.split()[1:])
    assert registry.find(other).name == "v0.1.0"
    assert push(other).tags == []
    registry.promote(other, "v0.2.0")
    assert push(other).tags == ["digits#champion#2"]


def test_a_clone_that_lacks_published_champions_must_fetch_first(
    toy_project: Project, hub: Path
) -> None:
    push(toy_project)
    other = clone(hub, "other")
    registry.promote(toy_project, "v0.1.0")
    push(toy_project)
    git(other.root, "tag", "-am", "by hand", "digits@v0.9.0", "HEAD")
    with pytest.raises(RegistryError, match="'git fetch origin --tags', then push again"):
        push(other)
    git(other.root, "fetch", "--quiet", "origin", "--tags")
    assert "digits#champion#1" in git(other.root, "tag")
