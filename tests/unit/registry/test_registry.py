"""Register, promote and roll back, on real git and DVC repositories with a folder as remote."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import toy_model
from conftest import exit_code
from repository import commit_all, dvc, git, run

from digits.core import files, locking
from digits.core.errors import BusyError, RegistryError
from digits.core.project import Project
from digits.recogniser import Recogniser
from digits.registry import decision, registry, tags

GTO = str(Path(sys.executable).with_name("gto"))


def names(project: Project) -> list[str]:
    return git(project.root, "tag", "--list").split()


def champion(project: Project) -> str:
    return registry.find(project).name


def force(project: Project, version: str) -> None:
    registry.promote(project, version, force=True, reason="a test")


def rewrite(path: Path, content: bytes) -> None:
    """Replace a file that may be a link to DVC's cache."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


# register


def test_register_records_what_the_model_was_made_of(toy_project: Project) -> None:
    made = registry.register(toy_project, why="more\nepochs")
    assert made.name == "v0.2.1"
    assert made.commit == git(toy_project.root, "rev-parse", "HEAD").strip()
    text = git(toy_project.root, "cat-file", "tag", made.tag)
    assert "\n\nRegister v0.2.1: more epochs\n\n{\n" in text
    facts = json.loads(text[text.index("{") :])
    assert facts["commit"] == made.commit
    assert facts["weights"] == files.read_json(toy_project.model_card)["weights"]
    assert facts["parameters"] == {"epochs": 1, "model": "toy", "seed": 3}
    assert facts["metrics"]["accuracy"] == 0.96
    assert facts["parent"] == "v0.2.0"
    assert facts["why"] == "more\nepochs"
    assert facts["environment"].keys() == {"python", "platform"}


@pytest.mark.usefixtures("gate_approves")
def test_the_parent_is_the_champion(toy_project: Project) -> None:
    registry.promote(toy_project, "v0.1.0")
    assert registry.register(toy_project).parent == "v0.1.0"


def test_register_counts_up_from_the_first_version(toy_project: Project) -> None:
    for name in names(toy_project):
        git(toy_project.root, "tag", "--delete", name)
    assert registry.register(toy_project).name == "v0.1.0"
    toy_model.train(toy_project, 4)
    assert registry.register(toy_project, bump="minor").name == "v0.2.0"
    toy_model.train(toy_project, 5)
    assert registry.register(toy_project, "1.0.0").tag == "digits@v1.0.0"


@pytest.mark.parametrize("version", ["one", "1.2", "v1.2.3/..", "1.2.3 --force"])
def test_register_refuses_a_malformed_version(toy_project: Project, version: str) -> None:
    with pytest.raises(
        RegistryError, match=r"is not a version number; expected a form like v0\.1\.0"
    ):
        registry.register(toy_project, version)


def test_register_refuses_a_registered_version_commit_or_model(toy_project: Project) -> None:
    with pytest.raises(RegistryError, match=r"v0\.2\.0 is registered already"):
        registry.register(toy_project, "v0.2.0")
    registry.register(toy_project)
    with pytest.raises(RegistryError, match=r"HEAD is registered already, as v0\.2\.1"):
        registry.register(toy_project)
    commit_all(toy_project.root)
    with pytest.raises(RegistryError, match=r"HEAD's model is v0\.2\.1: the same weights"):
        registry.register(toy_project)


@pytest.mark.parametrize("file", ["reports/metrics.json", "dvc.lock", "params.yaml"])
def test_register_refuses_a_tree_that_differs_from_head(toy_project: Project, file: str) -> None:
    with (toy_project.root / file).open("a") as changed:
        changed.write("\n# changed\n")
    with pytest.raises(RegistryError, match=f"differs from HEAD: {file}; commit it"):
        registry.register(toy_project)


def test_register_refuses_stale_results(toy_project: Project) -> None:
    """Parameters were changed and committed, but nothing was run."""
    toy_project.params.write_text(toy_model.PARAMS.format(seed=9))
    commit_all(toy_project.root)
    with pytest.raises(RegistryError, match=r"train is stale: .*; run 'digits run' and commit"):
        registry.register(toy_project)


def test_register_refuses_a_commit_without_a_model_card(toy_project: Project) -> None:
    git(toy_project.root, "rm", "--quiet", "--cached", "reports/model.json")
    git(toy_project.root, "commit", "--quiet", "--message", "Forget the card")
    with pytest.raises(RegistryError, match=r"reports/model\.json: not in commit"):
        registry.register(toy_project)


@pytest.mark.parametrize("where", ["cache", "remote", "nowhere"])
def test_register_names_the_command_that_brings_the_right_weights_back(
    toy_project: Project, where: str
) -> None:
    """As after switching branches with git alone: models/ is still the other branch's."""
    weights = toy_project.root / toy_model.ONNX
    good = weights.read_bytes()
    rewrite(weights, b"of another branch")
    if where != "cache":
        shutil.rmtree(toy_project.root / ".dvc" / "cache")
    if where == "nowhere":
        shutil.rmtree(toy_project.root.parent / "shelf")
    if where == "remote":
        dvc(toy_project.root, "pull", "--quiet", "--force", "models")
        dvc(toy_project.root, "push", "--quiet", "models")
        shutil.rmtree(toy_project.root / ".dvc" / "cache")
        rewrite(weights, b"of another branch")
    expected = {
        "cache": "dvc checkout --force models",
        "remote": "dvc pull --force models",
        "nowhere": "digits run",
    }[where]

    with pytest.raises(RegistryError, match=r"digits\.onnx: SHA-256 is \w+, HEAD's") as caught:
        registry.register(toy_project)

    command = str(caught.value).split("run '")[1].split("'")[0]
    assert command == expected
    if where != "nowhere":
        dvc(toy_project.root, *command.split()[1:])
        assert weights.read_bytes() == good
        registry.register(toy_project)


# promote


def test_the_gate_decides_about_real_models(
    toy_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """40 errors in 1,000 are v0.2.0's; 41 are within chance, 90 are not, 10 are better."""
    assert exit_code("models", "promote", "v0.2.0") == 0
    assert "v0.2.0: now the champion" in capsys.readouterr().out
    for seed, errors, name in ((4, 41, "v0.3.0"), (5, 90, "v0.4.0"), (6, 10, "v0.5.0")):
        toy_model.train(toy_project, seed, errors)
        registry.register(toy_project, name)
    before = names(toy_project)

    assert exit_code("models", "promote", "v0.3.0") == 0
    assert "v0.2.0: stays the champion" in capsys.readouterr().out
    assert exit_code("models", "promote", "v0.4.0") == 1
    err = capsys.readouterr().err
    assert "the gate rejects it" in err
    assert "v0.2.0 stays the champion" in err
    assert names(toy_project) == before

    assert exit_code("models", "promote", "v0.5.0", "-m", "wider") == 0
    facts = tags.read(toy_project)[-1].facts
    assert (facts["verdict"], facts["forced"], facts["why"]) == ("promote", None, "wider")
    assert facts["parent"] == "v0.2.0"
    assert "better by more than chance" in facts["reasons"][0]


def test_a_stage_gives_a_version_another_name(
    toy_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("models", "promote", "v0.1.0") == 0
    assert exit_code("models", "promote", "v0.2.0", "--stage", "staging") == 0  # only as good
    assert "v0.2.0: now in stage 'staging'" in capsys.readouterr().out
    assert champion(toy_project) == "v0.1.0"
    assert registry.find(toy_project, "staging").name == "v0.2.0"
    assert exit_code("models", "get", "staging") == 0
    assert capsys.readouterr().out.strip().endswith("v0.2.0")
    assert exit_code("models", "promote", "v0.2.0", "--stage", "staging") == 0
    assert "already in stage 'staging'" in capsys.readouterr().out
    assert exit_code("models", "list") == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [
        ["v0.2.0", "staging"],
        ["v0.1.0", "champion"],
    ]
    assert exit_code("models", "history") == 0
    assert "promoted to staging" in capsys.readouterr().out

    toy_model.train(toy_project, 5, 300)
    registry.register(toy_project, "v0.4.0")
    assert exit_code("models", "promote", "v0.4.0", "--stage", "staging") == 1
    assert registry.find(toy_project, "staging").name == "v0.2.0"
    with pytest.raises(RegistryError, match="is not registered"):
        registry.find(toy_project, "production")


@pytest.mark.parametrize("stage", ["workspace", "v0.1.0", "a/b", "Prod!", "-x", ""])
def test_a_stage_needs_a_name_of_its_own(toy_project: Project, stage: str) -> None:
    with pytest.raises(RegistryError, match="no name for a stage"):
        registry.promote(toy_project, "v0.1.0", stage=stage)


def test_force_needs_a_reason_and_records_it_with_the_verdict(
    toy_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    toy_model.train(toy_project, 5, 300)
    registry.register(toy_project, "v0.4.0")
    assert exit_code("models", "promote", "v0.4.0", "--force") == 2
    assert "--force needs --reason" in capsys.readouterr().err
    assert exit_code("models", "promote", "v0.4.0", "--reason", "a demo") == 2
    assert "--reason goes with --force" in capsys.readouterr().err
    assert exit_code("models", "promote", "v0.4.0", "--force", "--reason", "a demo") == 0
    made = tags.read(toy_project)[-1]
    assert made.subject == "Promote v0.4.0 against the gate: a demo"
    assert (made.facts["verdict"], made.facts["forced"]) == ("reject", "a demo")
    assert "at least 90.00 %" in made.facts["reasons"][0]


def test_results_that_do_not_belong_together_are_not_promoted(toy_project: Project) -> None:
    toy_project.params.write_text(toy_model.PARAMS.format(seed=9))
    commit_all(toy_project.root)
    git(toy_project.root, "tag", "-am", "by hand", "digits@v0.9.0")
    result = registry.promote(toy_project, "v0.9.0")
    assert (result.outcome, result.verdict) == ("refused", "cannot judge")
    assert "train is stale" in result.reasons[0]


@pytest.mark.usefixtures("gate_approves")
def test_only_what_is_merged_is_promoted(toy_project: Project) -> None:
    git(toy_project.root, "checkout", "--quiet", "-b", "branch")
    toy_model.train(toy_project, 7)
    registry.register(toy_project, "v0.7.0")
    with pytest.raises(RegistryError, match="is not merged into main; merge it first"):
        registry.promote(toy_project, "v0.7.0")
    git(toy_project.root, "checkout", "--quiet", "main")
    git(toy_project.root, "merge", "--quiet", "branch")
    assert registry.promote(toy_project, "v0.7.0").outcome == "promoted"


@pytest.mark.usefixtures("gate_approves")
def test_with_a_remote_its_main_says_what_is_merged(toy_clone: Project) -> None:
    dvc(toy_clone.root, "pull", "--quiet", "models", "--force", "--allow-missing")
    toy_model.train(toy_clone, 7)
    registry.register(toy_clone, "v0.7.0")
    with pytest.raises(RegistryError, match=r"is not in origin/main; .*'git push origin main'"):
        registry.promote(toy_clone, "v0.7.0")
    registry.promote(toy_clone, "v0.7.0", force=True, reason="urgent")
    assert tags.read(toy_clone)[-1].facts["merged"] is False


def test_the_policy_of_main_counts_not_that_of_the_working_tree(toy_project: Project) -> None:
    toy_model.train(toy_project, 5, 300)
    registry.register(toy_project, "v0.4.0")
    text = toy_project.params.read_text()
    toy_project.params.write_text(text.replace(": 0.9\n", ": 0.1\n"))
    assert registry.promote(toy_project, "v0.4.0").verdict == "reject"


def test_a_policy_of_main_that_lacks_a_limit_is_named(toy_project: Project) -> None:
    text = toy_project.params.read_text()
    toy_project.params.write_text(text.replace("  min_recall: 0.9\n", ""))
    commit_all(toy_project.root)
    toy_project.params.write_text(text)
    with pytest.raises(RegistryError, match=r"heads/main doesn't fit .* gate\.min_recall is"):
        registry.promote(toy_project, "v0.1.0")


@pytest.mark.usefixtures("gate_approves")
def test_promoting_the_champion_again_makes_no_tag(
    toy_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("models", "promote", "v0.1.0") == 0
    before = names(toy_project)
    assert exit_code("models", "promote", "0.1.0") == 0
    assert capsys.readouterr().out.endswith("v0.1.0: already the champion\n")
    assert names(toy_project) == before


def test_a_model_with_wrong_files_is_not_promoted_even_by_force(toy_project: Project) -> None:
    commit = git(toy_project.root, "rev-parse", "digits@v0.1.0^{}").strip()
    (digest,) = registry.find(toy_project, "v0.1.0").weights.values()
    for cached in (toy_project.root / ".dvc" / "cache" / "files").rglob("*"):
        if cached.is_file() and files.sha256(cached) == digest:
            content = cached.read_bytes()
            cached.chmod(0o644)
            cached.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RegistryError, match=r"v0\.1\.0.*SHA-256|SHA-256.*not opened"):
        force(toy_project, "v0.1.0")
    assert commit
    assert "digits#champion#1" not in names(toy_project)


# rollback


@pytest.mark.usefixtures("gate_approves")
def test_each_rollback_goes_back_one_more_champion(toy_project: Project) -> None:
    registry.register(toy_project, "v0.3.0")
    for version in ("v0.1.0", "v0.2.0", "v0.3.0"):
        registry.promote(toy_project, version)

    found = registry.rollback(toy_project, "misreads sevens")
    assert [one.name for one in found] == ["v0.2.0", "v0.3.0"]
    made = tags.read(toy_project)[-1]
    assert made.subject == "Roll back from v0.3.0 to v0.2.0: misreads sevens"
    assert (made.facts["event"], made.facts["parent"]) == ("rollback", "v0.3.0")
    registry.rollback(toy_project)
    assert champion(toy_project) == "v0.1.0"
    with pytest.raises(RegistryError, match=r"v0\.1\.0 is the first champion: nothing to roll"):
        registry.rollback(toy_project)


@pytest.mark.usefixtures("gate_approves")
def test_rollback_undoes_a_promotion_of_an_earlier_champion(toy_project: Project) -> None:
    for version in ("v0.1.0", "v0.2.0", "v0.1.0"):
        registry.promote(toy_project, version)
    registry.rollback(toy_project)
    assert champion(toy_project) == "v0.2.0"


@pytest.mark.usefixtures("gate_approves")
def test_a_rollback_to_a_champion_whose_files_are_gone_changes_nothing(
    toy_project: Project,
) -> None:
    registry.promote(toy_project, "v0.1.0")
    registry.promote(toy_project, "v0.2.0")
    shutil.rmtree(toy_project.registry_cache / "v0.1.0")
    shutil.rmtree(toy_project.root / ".dvc" / "cache")
    shutil.rmtree(toy_project.root.parent / "shelf")
    with pytest.raises(RegistryError, match=r"v0\.1\.0: its files are not in DVC's cache"):
        registry.rollback(toy_project)
    assert champion(toy_project) == "v0.2.0"


@pytest.mark.usefixtures("gate_approves")
def test_after_a_rollback_the_earlier_bytes_predict(toy_project: Project) -> None:
    before = registry.materialise(toy_project, "v0.1.0") / toy_model.ONNX
    content = before.read_bytes()
    registry.promote(toy_project, "v0.1.0")
    registry.promote(toy_project, "v0.2.0")
    registry.rollback(toy_project)
    folder = registry.materialise(toy_project)
    assert (folder / toy_model.ONNX).read_bytes() == content
    Recogniser.load(folder)


@pytest.mark.usefixtures("gate_approves")
def test_dvc_and_gto_agree_on_the_champion(toy_project: Project) -> None:
    registry.promote(toy_project, "v0.1.0")
    registry.promote(toy_project, "v0.2.0")
    registry.rollback(toy_project)

    dvc(toy_project.root, "artifacts", "get", ".", "digits", "--stage", "champion", "--out", "got")

    (digest,) = registry.find(toy_project, "v0.1.0").weights.values()
    assert files.sha256(toy_project.root / "got" / "digits.onnx") == digest
    show = run(toy_project.root, GTO, "show", "digits#champion", "--version")
    assert show.strip() == "v0.1.0"
    assert "rollback" not in run(toy_project.root, GTO, "history", "digits")


# two at once


def test_of_two_promotions_at_once_one_wins_and_the_other_says_so(toy_project: Project) -> None:
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "digits", "models", "promote", version],
            cwd=toy_project.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for version in ("v0.1.0", "v0.2.0")
    ]
    results = [(one.communicate(), one.returncode) for one in commands]
    codes = sorted(code for _, code in results)
    loser = next(err for (_, err), code in results if code == 2)
    assert codes == [0, 2]
    assert "digits models promote (pid" in loser
    assert "try again" in loser
    assert [one for one in names(toy_project) if "#" in one] == ["digits#champion#1"]


@pytest.mark.usefixtures("gate_approves")
@pytest.mark.parametrize("change", ["register", "promote", "rollback"])
def test_while_the_lock_is_held_nothing_changes(toy_project: Project, change: str) -> None:
    changes = {
        "register": lambda: registry.register(toy_project),
        "promote": lambda: registry.promote(toy_project, "v0.1.0"),
        "rollback": lambda: registry.rollback(toy_project),
    }
    with (
        locking.exclusive(toy_project.state / "registry.lock", "somebody else"),
        pytest.raises(BusyError, match="somebody else"),
    ):
        changes[change]()


def test_a_tag_made_meanwhile_by_another_program_wins(
    toy_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example by gto, or in another worktree of the repository."""
    judge = decision.decide

    def slow(*arguments: object, **options: object) -> object:
        decided = judge(*arguments, **options)  # type: ignore[arg-type]
        git(toy_project.root, "tag", "-am", "x", "digits#champion#1", "digits@v0.2.0^{}")
        return decided

    monkeypatch.setattr(decision, "decide", slow)
    with pytest.raises(RegistryError, match=r"no tag was made: .*already exists; another process"):
        registry.promote(toy_project, "v0.1.0")
    assert champion(toy_project) == "v0.2.0"
