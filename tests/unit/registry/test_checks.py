"""`digits models verify`: weights and tags that are not what they claim to be."""

import json
import shutil

import pytest
import toy_model
from conftest import exit_code
from repository import dvc, git

from digits.core import files
from digits.core.project import Project
from digits.registry import checks, registry


def rewrite(project: Project, name: str, old: str, new: str) -> None:
    """Change the annotation of a tag, without touching what it points to."""
    text = git(project.root, "cat-file", "tag", name)
    assert old in text
    (project.root / "forged").write_text(text.replace(old, new))
    forged = git(project.root, "hash-object", "-t", "tag", "-w", "forged").strip()
    git(project.root, "update-ref", f"refs/tags/{name}", forged)
    (project.root / "forged").unlink()


def problem(project: Project, name: str) -> str:
    return next(one.problem for one in checks.check_tags(project) if one.tag == name)


def test_intact_weights_and_tags_are_ok(
    toy_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("models", "verify", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["version"], one["state"]) for one in found["weights"]] == [
        ("workspace", "ok"),
        ("v0.2.0", "ok"),
        ("v0.1.0", "ok"),
    ]
    assert [(one["tag"], one["signature"], one["problem"]) for one in found["tags"]] == [
        ("digits@v0.1.0", "none", ""),
        ("digits@v0.2.0", "none", ""),
    ]
    assert exit_code("models", "verify", "v0.1.0") == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["ok", "v0.1.0"],
        ["ok", "digits@v0.1.0"],
    ]


def test_swapped_weights_are_found_and_the_commands_that_are_named_repair_them(
    toy_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = registry.materialise(toy_project, "v0.1.0")
    for root in (toy_project.root, kept):
        path = root / toy_model.ONNX
        path.unlink()
        path.write_bytes(b"swapped")

    assert exit_code("models", "verify") == 1

    out, err = capsys.readouterr()
    assert [line.split()[:2] for line in out.splitlines()[:3]] == [
        ["mismatch", "workspace"],
        ["ok", "v0.2.0"],
        ["mismatch", "v0.1.0"],
    ]
    assert files.sha256(kept / toy_model.ONNX) in err
    assert len(err.splitlines()) == 1
    assert "run 'dvc checkout --force models'" in err
    assert "run 'digits models get v0.1.0'" in err
    dvc(toy_project.root, "checkout", "--quiet", "--force", "models")
    assert exit_code("models", "get", "v0.1.0") == 0
    assert exit_code("models", "verify") == 0


def test_missing_files_are_absent_which_is_no_failure(
    toy_clone: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(toy_clone.root.parent / "shelf")
    assert exit_code("models", "verify") == 0
    states = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert states == ["absent"] * 3 + ["ok"] * 2


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"accuracy": 0.96', '"accuracy": 0.99', "the tag has other metrics than its commit"),
        ('"seed": 1', '"seed": 2', "other parameters"),
        ('"models/digits.onnx": "', '"models/digits.onnx": "0', "other weights"),
        ('"version": "v0.1.0"', '"version": "v0.2.0"', "says that it is about another version"),
        ('"event": "register"', '"event": "register', "its facts can't be read"),
        ("tag digits@v0.1.0", "tag digits@v0.9.0", "names itself 'digits@v0.9.0'"),
    ],
)
def test_an_edited_tag_is_a_mismatch(
    toy_project: Project,
    old: str,
    new: str,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rewrite(toy_project, "digits@v0.1.0", old, new)
    assert complaint in problem(toy_project, "digits@v0.1.0")
    assert exit_code("models", "verify") == 1
    out, err = capsys.readouterr()
    assert "mismatch  digits@v0.1.0" in out
    assert "digits@v0.1.0: " in err
    assert "git fetch --tags --force" in err


def test_a_tag_moved_to_another_commit_is_a_mismatch(toy_project: Project) -> None:
    old = git(toy_project.root, "rev-parse", "digits@v0.1.0^{}").strip()
    new = git(toy_project.root, "rev-parse", "HEAD").strip()
    text = git(toy_project.root, "cat-file", "tag", "digits@v0.1.0")
    (toy_project.root / "moved").write_text(text.replace(f"object {old}", f"object {new}"))
    moved = git(toy_project.root, "hash-object", "-t", "tag", "-w", "moved").strip()
    git(toy_project.root, "update-ref", "refs/tags/digits@v0.1.0", moved)
    assert "the tag was moved" in problem(toy_project, "digits@v0.1.0")


@pytest.mark.usefixtures("gate_approves")
def test_a_version_replaced_without_facts_contradicts_its_promotion(toy_project: Project) -> None:
    registry.promote(toy_project, "v0.1.0")
    git(toy_project.root, "tag", "-fam", "by hand", "digits@v0.1.0", "HEAD")
    assert "no registered version" in problem(toy_project, "digits#champion#1")


def test_a_tag_made_by_hand_records_nothing_which_is_no_failure(toy_project: Project) -> None:
    git(toy_project.root, "tag", "-am", "by hand", "digits@v0.5.0")
    (check,) = checks.check_tags(toy_project, "v0.5.0")
    assert (check.recorded, check.ok) == (False, True)


def test_a_hostile_model_card_cannot_write_to_the_terminal(
    toy_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    card = {"weights": {"models/\x1b[2J\n[red]": "0" * 64}}
    toy_project.model_card.write_text(json.dumps(card))
    toy_project.data_pointer.write_text('outs: [{md5: "[red]\\e[2J", nfiles: 1, path: data}]')
    git(toy_project.root, "add", "--all")
    git(toy_project.root, "commit", "--quiet", "--message", "Hostile")
    git(toy_project.root, "tag", "-am", "by hand", "digits@v0.5.0")
    for command, code in (("list", 0), ("verify", 0), ("register", 2)):
        assert exit_code("models", command) == code
        captured = capsys.readouterr()
        assert "\x1b" not in captured.out + captured.err
        assert len(captured.err.splitlines()) == code // 2
