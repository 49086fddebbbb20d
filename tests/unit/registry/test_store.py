"""The files of versions, from a real DVC cache and a folder as remote."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import toy_model
from conftest import exit_code
from repository import commit_all, dvc, git

from digits.core import files
from digits.core.errors import RegistryError
from digits.core.project import Project
from digits.recogniser import Recogniser
from digits.registry import registry


def onnx(folder: Path) -> Path:
    return folder / toy_model.ONNX


def tamper(path: Path) -> str:
    """Change one byte of a file, which may be a link to DVC's cache; returns its new SHA-256."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def digest(project: Project, version: str) -> str:
    return registry.find(project, version).weights[toy_model.ONNX]


def test_get_brings_exactly_a_version_from_the_remote(
    toy_clone: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "model"
    out.parent.mkdir()
    assert exit_code("models", "get", "v0.1.0", "--out", str(out)) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out}\n"
    assert captured.err == "v0.1.0: verified\n"
    assert files.sha256(onnx(out)) == digest(toy_clone, "v0.1.0")
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert names == ["models/digits.onnx", "reports/model.json"]
    Recogniser.load(out)
    assert exit_code("models", "get", "v0.1.0", "--out", str(out)) == 0  # is there already


@pytest.mark.usefixtures("gate_approves")
def test_get_champion_prints_its_folder(
    toy_clone: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("models", "get", "champion") == 2
    assert "run 'digits models promote VERSION'" in capsys.readouterr().err
    registry.promote(toy_clone, "v0.2.0")
    assert exit_code("models", "get", "champion") == 0
    assert capsys.readouterr().out == f"{toy_clone.registry_cache / 'v0.2.0'}\n"


def test_get_leaves_other_folders_alone(toy_project: Project, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "letter").write_text("mine")
    with pytest.raises(RegistryError, match=r"exists and isn't v0\.1\.0; choose a new folder"):
        registry.get(toy_project, "v0.1.0", own)
    assert (own / "letter").read_text() == "mine"
    with pytest.raises(RegistryError, match="can't be written"):
        registry.get(toy_project, "v0.1.0", own / "letter" / "below")


def test_get_replaces_what_a_killed_one_left(toy_project: Project, tmp_path: Path) -> None:
    out = tmp_path / "model"
    left = [out.with_name(".model.digits-partial"), toy_project.registry_cache / ".v0.1.0.a1b2c3d4"]
    for folder in left:
        (folder / "models").mkdir(parents=True)
        (folder / "models" / "half").write_bytes(b"half")
    registry.get(toy_project, "v0.1.0", out)
    assert not any(folder.exists() for folder in left)
    assert not (out / "models" / "half").exists()


def test_a_damaged_copy_is_replaced_also_if_its_card_was_changed_with_it(
    toy_project: Project,
) -> None:
    folder = registry.materialise(toy_project, "v0.2.0")
    forged = tamper(onnx(folder))
    Project(folder).model_card.write_text(json.dumps({"weights": {toy_model.ONNX: forged}}))
    registry.materialise(toy_project, "v0.2.0")
    assert files.sha256(onnx(folder)) == digest(toy_project, "v0.2.0")
    assert forged not in Project(folder).model_card.read_text()


def test_weights_that_differ_from_the_model_card_are_not_kept(toy_clone: Project) -> None:
    """The card of v0.4.0 has another digest than its weights."""
    card = {"weights": {toy_model.ONNX: "0" * 64}}
    toy_clone.model_card.write_text(json.dumps(card))
    commit_all(toy_clone.root)
    git(toy_clone.root, "tag", "-am", "x", "digits@v0.4.0")
    with pytest.raises(RegistryError, match=rf"SHA-256 is \w+, registered is {'0' * 64}"):
        registry.materialise(toy_clone, "v0.4.0")
    assert list(toy_clone.registry_cache.iterdir()) == []


def test_a_byte_changed_in_the_remote_is_noticed(toy_clone: Project) -> None:
    wanted = digest(toy_clone, "v0.1.0")
    shelf = toy_clone.root.parent / "shelf"
    for path in [path for path in shelf.rglob("*") if path.is_file()]:
        if files.sha256(path) == wanted:
            tamper(path)
    with pytest.raises(RegistryError, match=r"digits\.onnx"):
        registry.materialise(toy_clone, "v0.1.0")
    assert not (toy_clone.registry_cache / "v0.1.0").exists()


def test_without_cache_and_remote_the_message_names_both(toy_clone: Project) -> None:
    dvc(toy_clone.root, "remote", "remove", "shelf")
    (toy_clone.root / ".dvc" / "config.local").unlink()
    with pytest.raises(
        RegistryError, match=r"v0\.1\.0: its files are not in DVC's cache and no DVC remote"
    ):
        registry.materialise(toy_clone, "v0.1.0")


# every path that opens a model


@pytest.mark.parametrize("how", ["workspace", "version", "predict", "predict --version"])
def test_a_model_with_one_changed_byte_is_not_opened(
    toy_project: Project,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the workspace it is refused; a version's copy is replaced by what was registered."""
    opened: list[str] = []
    original = Recogniser.__init__

    def spy(self: Recogniser, network: bytes) -> None:
        opened.append(hashlib.sha256(network).hexdigest())
        original(self, network)

    monkeypatch.setattr(Recogniser, "__init__", spy)
    picture = toy_project.golden
    if how in ("workspace", "predict"):
        tamper(onnx(toy_project.root))
        if how == "workspace":
            with pytest.raises(RegistryError, match="not opened"):
                Recogniser.load()
        else:
            assert exit_code("predict", str(picture)) == 2
            assert "not opened" in capsys.readouterr().err
        assert opened == []
    else:
        folder = registry.materialise(toy_project, "v0.1.0")
        forged = tamper(onnx(folder))
        if how == "version":
            with pytest.raises(RegistryError, match="not opened"):
                Recogniser.load(folder)
            assert opened == []
        else:
            assert exit_code("predict", str(picture), "--version", "v0.1.0") == 0
            assert opened == [digest(toy_project, "v0.1.0")] != [forged]


def test_the_gate_does_not_open_a_changed_model(toy_project: Project) -> None:
    shutil.rmtree(toy_project.root.parent / "shelf")
    wanted = digest(toy_project, "v0.1.0")
    for path in [one for one in (toy_project.root / ".dvc" / "cache").rglob("*") if one.is_file()]:
        if files.sha256(path) == wanted:
            path.chmod(0o644)
            tamper(path)
    with pytest.raises(RegistryError):
        registry.promote(toy_project, "v0.1.0")
    with pytest.raises(RegistryError):
        registry.get(toy_project, "v0.1.0")
