"""The registry on real git and DVC repositories with a folder as DVC remote."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from digits.cli import main
from digits.core.errors import RegistryError
from digits.core.project import Project
from digits.versioning import registry

PIPELINE = """
stages:
  train:
    cmd: "{python} make.py"
    deps: [make.py]
    params: [train.seed]
    outs:
      - models
      - reports/model.json: {{cache: false}}
      - reports/metrics.json: {{cache: false}}
artifacts:
  digits: {{path: models, type: model}}
"""
GTO = str(Path(sys.executable).with_name("gto"))
MAKE = """
import hashlib, json, pathlib
seed = int(pathlib.Path("params.yaml").read_text().split(":")[-1])
folder = pathlib.Path("models")
folder.mkdir()
weights = folder / "digits.weights.h5"
weights.write_bytes(b"weights of seed %d" % seed)
card = {"weights": {weights.as_posix(): hashlib.sha256(weights.read_bytes()).hexdigest()}}
pathlib.Path("reports/model.json").write_text(json.dumps(card))
metrics = {"test": {"n": 1000, "accuracy": 0.9 + seed / 100}}
pathlib.Path("reports/metrics.json").write_text(json.dumps(metrics))
"""


def run(folder: Path, *command: str) -> str:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def dvc(folder: Path, *arguments: str) -> str:
    return run(folder, sys.executable, "-m", "dvc", *arguments)


def train(folder: Path, seed: int) -> None:
    """Train with a seed and commit the outcome."""
    (folder / "params.yaml").write_text(f"train:\n  seed: {seed}\n")
    dvc(folder, "repro", "--quiet")
    commit(folder)


def commit(folder: Path) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--allow-empty", "--message", "Another state")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v0.1.0 and v0.2.0 are registered; HEAD is not."""
    folder = tmp_path_factory.mktemp("template") / "project"
    (folder / "reports").mkdir(parents=True)
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    run(folder, "git", "config", "user.name", "Somebody")
    run(folder, "git", "config", "user.email", "somebody@localhost")
    dvc(folder, "init", "--quiet")
    dvc(folder, "remote", "add", "--default", "shelf", str(folder.parent / "shelf"))
    (folder / "make.py").write_text(MAKE)
    (folder / "dvc.yaml").write_text(PIPELINE.format(python=sys.executable))
    (folder / ".gitignore").write_text("/models\n/build/\n")
    for seed, version in ((1, "v0.1.0"), (2, "v0.2.0")):
        train(folder, seed)
        registry.register(Project(folder), version)
    commit(folder)
    dvc(folder, "push", "--quiet", "--all-commits")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    shutil.copytree(template.parent, tmp_path / "copy", symlinks=True)
    project = Project(tmp_path / "copy" / "project")
    use_own_remote(project)
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture
def clone(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A fresh clone beside the project: git's files, the same DVC remote, no cache."""
    run(project.root.parent, "git", "clone", "--quiet", "project", "clone")
    clone = Project(project.root.parent / "clone")
    use_own_remote(clone)
    monkeypatch.chdir(clone.root)
    return clone


def use_own_remote(project: Project) -> None:
    """Use the DVC remote beside the project, not the template's."""
    url = f"['remote \"shelf\"']\n    url = {project.root.parent / 'shelf'}\n"
    (project.root / ".dvc" / "config.local").write_text(url)


def tags(project: Project) -> list[str]:
    return run(project.root, "git", "tag", "--list").split()


def weights(folder: Path) -> Path:
    return folder / "models" / "digits.weights.h5"


def champion(project: Project) -> str:
    return registry.find(project).name


def test_first_version_and_next_ones(project: Project) -> None:
    for tag in tags(project):
        run(project.root, "git", "tag", "--delete", tag)

    assert registry.register(project).name == "v0.1.0"
    commit(project.root)
    assert registry.register(project).name == "v0.1.1"
    commit(project.root)
    assert registry.register(project, bump="minor").name == "v0.2.0"
    commit(project.root)
    made = registry.register(project, "1.0.0")

    assert made.tag == "digits@v1.0.0"
    assert made.commit == run(project.root, "git", "rev-parse", "HEAD").strip()
    assert run(project.root, "git", "cat-file", "-t", made.tag).strip() == "tag"


def test_versions_are_ordered_by_number_not_by_letter(project: Project) -> None:
    registry.register(project, "v0.10.0")
    assert [one.name for one in registry.versions(project)] == ["v0.10.0", "v0.2.0", "v0.1.0"]


@pytest.mark.parametrize("version", ["one", "1.2", "v1.2.3/..", "1.2.3 --force"])
def test_register_refuses_what_is_no_version(project: Project, version: str) -> None:
    with pytest.raises(RegistryError, match=r"is no version; expected a form like v0\.1\.0"):
        registry.register(project, version)


def test_register_refuses_a_commit_or_a_version_twice(project: Project) -> None:
    with pytest.raises(RegistryError, match=r"no tag was made: .*v0\.2\.0"):
        registry.register(project, "v0.2.0")
    registry.register(project)
    with pytest.raises(RegistryError, match=r"is registered already, as v0\.2\.1"):
        registry.register(project)


@pytest.mark.parametrize("file", ["reports/metrics.json", "dvc.lock", "params.yaml"])
def test_register_refuses_a_tree_that_differs_from_head(project: Project, file: str) -> None:
    (project.root / file).write_text("{}")
    with pytest.raises(RegistryError, match=f"differs from HEAD: {file}; commit it"):
        registry.register(project)


def test_register_refuses_weights_that_are_not_the_card_s(project: Project) -> None:
    path = weights(project.root)
    path.unlink()
    path.write_bytes(b"other weights")
    found = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(
        RegistryError, match=rf"digits\.weights\.h5: SHA-256 is {found}, registered"
    ):
        registry.register(project)


def test_register_refuses_a_commit_without_a_model_card(project: Project) -> None:
    run(project.root, "git", "rm", "--quiet", "--cached", "reports/model.json")
    run(project.root, "git", "commit", "--quiet", "--message", "Forget the card")
    with pytest.raises(RegistryError, match=r"reports/model\.json: not in commit"):
        registry.register(project)


def test_rollback_goes_back_step_by_step_and_not_forth(project: Project) -> None:
    registry.register(project, "v0.3.0")
    for version in ("v0.1.0", "v0.2.0", "v0.3.0"):
        registry.promote(project, version)

    assert [one.name for one in registry.rollback(project)] == ["v0.2.0", "v0.3.0"]
    assert champion(project) == "v0.2.0"
    registry.rollback(project)
    assert champion(project) == "v0.1.0"
    with pytest.raises(RegistryError, match=r"v0\.1\.0 is the first champion: nothing to roll"):
        registry.rollback(project)


def test_rollback_after_a_return_by_promote_undoes_the_return(project: Project) -> None:
    for version in ("v0.1.0", "v0.2.0", "v0.1.0"):
        registry.promote(project, version)
    registry.rollback(project)
    assert champion(project) == "v0.2.0"


def test_dvc_and_gto_agree_on_the_champion(project: Project) -> None:
    registry.promote(project, "v0.1.0")
    registry.promote(project, "v0.2.0")
    registry.rollback(project)

    dvc(project.root, "artifacts", "get", ".", "digits", "--stage", "champion", "--out", "got")

    got = project.root / "got" / "digits.weights.h5"
    assert got.read_bytes() == b"weights of seed 1"
    show = run(project.root, GTO, "show", "digits#champion", "--version")
    assert show.strip() == "v0.1.0"


def test_a_champion_that_gto_unassigned_is_none(project: Project) -> None:
    registry.promote(project, "v0.1.0")
    registry.promote(project, "v0.2.0")
    run(project.root, GTO, "deprecate", "digits", "v0.2.0", "champion")
    assert champion(project) == "v0.1.0"


def test_promote_twice_says_so_and_makes_no_tag(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["models", "promote", "v0.1.0"])
    before = tags(project)
    main(["models", "promote", "0.1.0"])
    assert capsys.readouterr().out == "v0.1.0: now the champion\nv0.1.0: already the champion\n"
    assert tags(project) == before


def test_unknown_versions_are_named_with_the_known_ones(project: Project) -> None:
    with pytest.raises(RegistryError, match=r"'v9' is not registered; there are: v0\.2\.0, v0\.1"):
        registry.promote(project, "v9")
    with pytest.raises(RegistryError, match="no champion yet; run 'digits models promote VERSION'"):
        registry.find(project)


def test_list_has_each_version_s_own_figures(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.promote(project, "v0.1.0")
    main(["models", "list", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["accuracy"], one["champion"]) for one in listed] == [
        ("v0.2.0", 0.92, False),
        ("v0.1.0", 0.91, True),
    ]
    main(["models", "list"])
    table = capsys.readouterr().out
    assert hashlib.sha256(b"weights of seed 1").hexdigest()[:12] in table
    assert "91.00%" in table


def test_materialise_brings_a_version_from_the_remote(clone: Project) -> None:
    registry.promote(clone, "v0.1.0")
    folder = registry.materialise(clone)
    assert folder == clone.registry_cache / "v0.1.0"
    assert json.loads(Project(folder).model_card.read_text()).keys() == {"weights"}
    assert weights(folder).read_bytes() == b"weights of seed 1"


def test_materialise_replaces_a_damaged_copy(project: Project) -> None:
    folder = registry.materialise(project, "v0.2.0")
    path = weights(folder)
    path.unlink()
    path.write_bytes(b"damaged")
    digest = hashlib.sha256(b"damaged").hexdigest()
    Project(folder).model_card.write_text(f'{{"weights": {{"models/{path.name}": "{digest}"}}}}')

    registry.materialise(project, "v0.2.0")

    assert path.read_bytes() == b"weights of seed 2"
    assert digest not in Project(folder).model_card.read_text()


def test_materialise_puts_no_other_weights_in_place(project: Project, clone: Project) -> None:
    """The commit of v0.4.0 has a card that its model doesn't match."""
    card = clone.model_card
    digest = hashlib.sha256(b"what was reviewed").hexdigest()
    card.write_text(json.dumps({"weights": {"models/digits.weights.h5": digest}}))
    run(clone.root, "git", "-c", "user.name=x", "-c", "user.email=x", "commit", "-qam", "Swap")
    run(
        clone.root,
        "git",
        "-c",
        "user.name=x",
        "-c",
        "user.email=x",
        "tag",
        "-am",
        "x",
        "digits@v0.4.0",
    )

    with pytest.raises(
        RegistryError, match=rf"digits\.weights\.h5: SHA-256 is \w+, registered is {digest}"
    ):
        registry.materialise(clone, "v0.4.0")

    assert not (clone.registry_cache / "v0.4.0").exists()
    assert list(clone.registry_cache.iterdir()) == []


def test_materialise_without_cache_and_remote_says_what_to_do(clone: Project) -> None:
    dvc(clone.root, "remote", "remove", "shelf")
    (clone.root / ".dvc" / "config.local").unlink()
    with pytest.raises(
        RegistryError, match=r"v0\.1\.0: its files are not in DVC's cache and no DVC remote"
    ):
        registry.materialise(clone, "v0.1.0")


def test_verify_all_is_well(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "verify", "--json"])
    checks = json.loads(capsys.readouterr().out)
    assert [(one["version"], one["state"]) for one in checks] == [
        ("workspace", "ok"),
        ("v0.2.0", "ok"),
        ("v0.1.0", "ok"),
    ]


def test_verify_finds_swapped_weights(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    kept = weights(registry.materialise(project, "v0.1.0"))
    for path in (weights(project.root), kept):
        path.unlink()
        path.write_bytes(b"swapped")

    with pytest.raises(SystemExit) as stopped:
        main(["models", "verify"])

    assert stopped.value.code == 1
    out, err = capsys.readouterr()
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["mismatch", "workspace"],
        ["ok", "v0.2.0"],
        ["mismatch", "v0.1.0"],
    ]
    assert hashlib.sha256(b"swapped").hexdigest() in err
    assert hashlib.sha256(b"weights of seed 1").hexdigest() in err
    assert len(err.splitlines()) == 1


def test_verify_does_not_call_absent_files_fine(
    clone: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(clone.root.parent / "shelf")
    main(["models", "verify"])
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"absent"}


def test_a_version_without_a_card_is_listed_and_not_fine(project: Project) -> None:
    run(project.root, "git", "rm", "--quiet", "reports/model.json")
    run(project.root, "git", "commit", "--quiet", "--message", "Forget the card")
    run(project.root, "git", "tag", "-am", "by hand", "digits@v0.5.0")
    assert registry.versions(project)[0].name == "v0.5.0"
    assert registry.verify(project)[0].state == "mismatch"


def test_tags_of_others_don_t_count(project: Project) -> None:
    for tag in ("digits@nonsense", "digits@v1", "v7.0.0", "other@v8.0.0"):
        run(project.root, "git", "tag", "-am", "x", tag)
    run(project.root, "git", "tag", "digits@v9.0.0")  # lightweight
    assert [one.name for one in registry.versions(project)] == ["v0.2.0", "v0.1.0"]


@pytest.mark.parametrize(
    ("card", "complaint"),
    [
        ({}, "names no weights"),
        ({"weights": {}}, "names no weights"),
        ({"weights": {"models/../secret": "0" * 64}}, "is no path inside models/"),
        ({"weights": {"/etc/passwd": "0" * 64}}, "is no path inside models/"),
        ({"weights": {"models/a.h5": "123"}}, "expected a SHA-256"),
    ],
)
def test_a_card_that_can_t_be_checked(
    tmp_path: Path, card: dict[str, object], complaint: str
) -> None:
    path = Project(tmp_path).model_card
    path.parent.mkdir()
    path.write_text(json.dumps(card))
    with pytest.raises(RegistryError, match=complaint):
        registry.verify(Project(tmp_path))
