"""The registry on real git and DVC repositories, with a folder as DVC remote."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from repository import commit_all, configure_author, dvc, git, init, run

from digits.cli import main
from digits.core.errors import DigitsError, RegistryError
from digits.core.project import Project
from digits.registry import registry

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


def train(folder: Path, seed: int) -> None:
    """Train with a seed and commit the results."""
    (folder / "params.yaml").write_text(f"train:\n  seed: {seed}\n")
    dvc(folder, "repro", "--quiet")
    commit_all(folder)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v0.1.0 and v0.2.0 are registered; HEAD is not."""
    folder = tmp_path_factory.mktemp("template") / "project"
    (folder / "reports").mkdir(parents=True)
    init(folder)
    dvc(folder, "remote", "add", "--default", "shelf", str(folder.parent / "shelf"))
    (folder / "make.py").write_text(MAKE)
    (folder / "dvc.yaml").write_text(PIPELINE.format(python=sys.executable))
    (folder / ".gitignore").write_text("/models\n/build/\n")
    for seed, version in ((1, "v0.1.0"), (2, "v0.2.0")):
        train(folder, seed)
        registry.register(Project(folder), version)
    commit_all(folder)
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
    """A fresh clone: the files that git tracks, the same DVC remote, no DVC cache."""
    git(project.root.parent, "clone", "--quiet", "project", "clone")
    clone = Project(project.root.parent / "clone")
    use_own_remote(clone)
    configure_author(clone.root)
    monkeypatch.chdir(clone.root)
    return clone


def use_own_remote(project: Project) -> None:
    """Use this copy's DVC remote instead of the template's."""
    url = f"['remote \"shelf\"']\n    url = {project.root.parent / 'shelf'}\n"
    (project.root / ".dvc" / "config.local").write_text(url)


def tags(project: Project) -> list[str]:
    return git(project.root, "tag", "--list").split()


def weights(folder: Path) -> Path:
    return folder / "models" / "digits.weights.h5"


def champion(project: Project) -> str:
    return registry.find(project).name


def test_register_counts_up_from_the_first_version(project: Project) -> None:
    for tag in tags(project):
        git(project.root, "tag", "--delete", tag)

    assert registry.register(project).name == "v0.1.0"
    commit_all(project.root)
    assert registry.register(project).name == "v0.1.1"
    commit_all(project.root)
    assert registry.register(project, bump="minor").name == "v0.2.0"
    commit_all(project.root)
    made = registry.register(project, "1.0.0")

    assert made.tag == "digits@v1.0.0"
    assert made.commit == git(project.root, "rev-parse", "HEAD").strip()
    assert git(project.root, "cat-file", "-t", made.tag).strip() == "tag"


def test_versions_are_ordered_by_number_not_alphabetically(project: Project) -> None:
    registry.register(project, "v0.10.0-rc.2")
    commit_all(project.root)
    registry.register(project, "v0.10.0")
    names = [one.name for one in registry.versions(project)]
    assert names == ["v0.10.0", "v0.10.0-rc.2", "v0.2.0", "v0.1.0"]


@pytest.mark.parametrize("version", ["one", "1.2", "v1.2.3/..", "1.2.3 --force"])
def test_register_refuses_a_malformed_version(project: Project, version: str) -> None:
    with pytest.raises(
        RegistryError, match=r"is not a version number; expected a form like v0\.1\.0"
    ):
        registry.register(project, version)


def test_register_refuses_a_registered_version_and_a_registered_commit(project: Project) -> None:
    with pytest.raises(RegistryError, match=r"no tag was made: .*v0\.2\.0"):
        registry.register(project, "v0.2.0")
    registry.register(project)
    with pytest.raises(
        RegistryError, match=r"already registered in this commit with version 'v0\.2\.1'"
    ):
        registry.register(project)


@pytest.mark.parametrize("file", ["reports/metrics.json", "dvc.lock", "params.yaml"])
def test_register_refuses_a_tree_that_differs_from_head(project: Project, file: str) -> None:
    (project.root / file).write_text("{}")
    with pytest.raises(RegistryError, match=f"differs from HEAD: {file}; commit it"):
        registry.register(project)


def test_register_refuses_weights_that_differ_from_the_model_card(project: Project) -> None:
    path = weights(project.root)
    path.unlink()
    path.write_bytes(b"other weights")
    found = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(
        RegistryError, match=rf"digits\.weights\.h5: SHA-256 is {found}, registered"
    ):
        registry.register(project)


def test_register_refuses_a_commit_without_a_model_card(project: Project) -> None:
    git(project.root, "rm", "--quiet", "--cached", "reports/model.json")
    git(project.root, "commit", "--quiet", "--message", "Forget the card")
    with pytest.raises(RegistryError, match=r"reports/model\.json: not in commit"):
        registry.register(project)


def test_each_rollback_goes_back_one_more_champion(project: Project) -> None:
    registry.register(project, "v0.3.0")
    for version in ("v0.1.0", "v0.2.0", "v0.3.0"):
        registry.promote(project, version)

    assert [one.name for one in registry.rollback(project)] == ["v0.2.0", "v0.3.0"]
    assert champion(project) == "v0.2.0"
    registry.rollback(project)
    assert champion(project) == "v0.1.0"
    with pytest.raises(RegistryError, match=r"v0\.1\.0 is the first champion: nothing to roll"):
        registry.rollback(project)


def test_rollback_undoes_a_promotion_of_an_earlier_champion(project: Project) -> None:
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


def test_a_champion_unassigned_with_gto_is_replaced_by_the_previous_one(project: Project) -> None:
    registry.promote(project, "v0.1.0")
    registry.promote(project, "v0.2.0")
    run(project.root, GTO, "deprecate", "digits", "v0.2.0", "champion")
    assert champion(project) == "v0.1.0"


def test_a_withdrawn_version_is_neither_listed_nor_champion(project: Project) -> None:
    registry.promote(project, "v0.1.0")
    registry.promote(project, "v0.2.0")
    run(project.root, GTO, "deprecate", "digits", "v0.2.0")
    assert [one.name for one in registry.versions(project)] == ["v0.1.0"]
    assert champion(project) == "v0.1.0"


def test_the_last_of_many_promotions_within_a_second_counts(project: Project) -> None:
    for counter in range(1, 13):
        version = "v0.1.0" if counter % 2 else "v0.2.0"
        git(project.root, "tag", "-am", "x", f"digits#champion#{counter}", f"digits@{version}^{{}}")
    assert champion(project) == "v0.2.0"


def test_a_folder_without_git_has_no_readable_registry(tmp_path: Path) -> None:
    with pytest.raises(DigitsError, match=r"registry can't be read: .* is not a git repository"):
        registry.find(Project(tmp_path))


def test_promoting_the_champion_again_makes_no_tag(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["models", "promote", "v0.1.0"])
    before = tags(project)
    main(["models", "promote", "0.1.0"])
    assert capsys.readouterr().out == "v0.1.0: now the champion\nv0.1.0: already the champion\n"
    assert tags(project) == before


def test_an_unknown_version_is_an_error_that_lists_the_registered_ones(project: Project) -> None:
    with pytest.raises(RegistryError, match=r"'v9' is not registered; registered: v0\.2\.0, v0\.1"):
        registry.promote(project, "v9")
    with pytest.raises(RegistryError, match="no champion yet; run 'digits models promote VERSION'"):
        registry.find(project)


def test_list_shows_each_version_s_own_accuracy_and_weights(
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


def test_materialise_downloads_a_version_from_the_remote(clone: Project) -> None:
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


def test_materialise_refuses_weights_that_differ_from_the_model_card(
    project: Project, clone: Project
) -> None:
    """The model card of v0.4.0 has another digest than its weights."""
    card = clone.model_card
    digest = hashlib.sha256(b"what was reviewed").hexdigest()
    card.write_text(json.dumps({"weights": {"models/digits.weights.h5": digest}}))
    commit_all(clone.root)
    git(clone.root, "tag", "-am", "x", "digits@v0.4.0")

    with pytest.raises(
        RegistryError, match=rf"digits\.weights\.h5: SHA-256 is \w+, registered is {digest}"
    ):
        registry.materialise(clone, "v0.4.0")

    assert not (clone.registry_cache / "v0.4.0").exists()
    assert list(clone.registry_cache.iterdir()) == []


def test_materialise_without_cache_and_remote_is_an_error_that_names_both(clone: Project) -> None:
    dvc(clone.root, "remote", "remove", "shelf")
    (clone.root / ".dvc" / "config.local").unlink()
    with pytest.raises(
        RegistryError, match=r"v0\.1\.0: its files are not in DVC's cache and no DVC remote"
    ):
        registry.materialise(clone, "v0.1.0")


def test_verify_reports_ok_for_intact_weights(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_verify_reports_missing_files_as_absent(
    clone: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(clone.root.parent / "shelf")
    main(["models", "verify"])
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"absent"}


def test_a_version_without_a_model_card_is_listed_but_fails_verification(project: Project) -> None:
    git(project.root, "rm", "--quiet", "reports/model.json")
    git(project.root, "commit", "--quiet", "--message", "Forget the card")
    git(project.root, "tag", "-am", "by hand", "digits@v0.5.0")
    assert registry.versions(project)[0].name == "v0.5.0"
    assert registry.verify(project)[0].state == "mismatch"


@pytest.mark.parametrize(
    "metrics", ["{", "[]", '{"test": 1}', '{"test": {}}', '{"test": {"accuracy": null}}']
)
def test_a_version_with_damaged_metrics_is_listed_without_accuracy(
    project: Project, metrics: str
) -> None:
    project.metrics.write_text(metrics)
    commit_all(project.root)
    assert registry.register(project).accuracy is None


def test_unrelated_and_lightweight_tags_are_ignored(project: Project) -> None:
    for tag in ("digits@nonsense", "digits@v1", "v7.0.0", "other@v8.0.0"):
        git(project.root, "tag", "-am", "x", tag)
    git(project.root, "tag", "digits@v9.0.0")  # lightweight
    assert [one.name for one in registry.versions(project)] == ["v0.2.0", "v0.1.0"]


@pytest.mark.parametrize(
    ("card", "complaint"),
    [
        ({}, "lists no weights"),
        ({"weights": {}}, "lists no weights"),
        ({"weights": {"models/../secret": "0" * 64}}, "is not a path inside models/"),
        ({"weights": {"/etc/passwd": "0" * 64}}, "is not a path inside models/"),
        ({"weights": {"models/a.h5": "123"}}, "expected a SHA-256"),
    ],
)
def test_a_malformed_model_card_is_an_error(
    tmp_path: Path, card: dict[str, object], complaint: str
) -> None:
    path = Project(tmp_path).model_card
    path.parent.mkdir()
    path.write_text(json.dumps(card))
    with pytest.raises(RegistryError, match=complaint):
        registry.verify(Project(tmp_path))
