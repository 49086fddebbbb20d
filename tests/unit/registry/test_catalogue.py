"""Which versions there are and which is the champion, read from real tags."""

import json
import sys
from pathlib import Path

import pytest
from repository import commit_all, git, run

from digits.cli import main
from digits.core import files
from digits.core.errors import DigitsError, RegistryError
from digits.core.project import Project
from digits.registry import catalogue, checks

GTO = str(Path(sys.executable).with_name("gto"))


def tag(project: Project, name: str, target: str = "HEAD", message: str = "by hand") -> None:
    git(project.root, "tag", "--annotate", "--message", message, name, target)


def names(project: Project) -> list[str]:
    return [one.name for one in catalogue.versions(project)]


def champion(project: Project) -> str:
    return catalogue.find(project).name


def test_versions_are_ordered_by_number_not_alphabetically(toy_project: Project) -> None:
    for version in ("v0.10.0", "v0.10.0-rc.2"):
        commit_all(toy_project.root)
        tag(toy_project, f"digits@{version}")
    assert names(toy_project) == ["v0.10.0", "v0.10.0-rc.2", "v0.2.0", "v0.1.0"]


def test_a_version_knows_its_figures_parent_and_author(toy_project: Project) -> None:
    version = catalogue.find(toy_project, "0.2.0")
    assert version.accuracy == 0.96
    assert version.weights.keys() == {"models/digits.onnx"}
    assert version.parent == "v0.1.0"
    assert version.author == "Somebody <somebody@localhost>"
    assert version.date.startswith("20")


def test_a_folder_without_git_has_no_readable_registry(tmp_path: Path) -> None:
    with pytest.raises(DigitsError, match=r"registry can't be read: .* not a git repository"):
        catalogue.find(Project(tmp_path))


def test_an_unknown_version_is_an_error_that_lists_the_registered_ones(
    toy_project: Project,
) -> None:
    with pytest.raises(RegistryError, match=r"'v9' is not registered; registered: v0\.2\.0, v0\.1"):
        catalogue.find(toy_project, "v9")
    with pytest.raises(RegistryError, match="no champion yet; run 'digits models promote VERSION'"):
        catalogue.find(toy_project)


def test_unrelated_and_lightweight_tags_are_ignored(toy_project: Project) -> None:
    for name in ("digits@nonsense", "digits@v1", "v7.0.0", "other@v8.0.0", "digits#"):
        tag(toy_project, name)
    tag(toy_project, "digits@v6.0.0", "HEAD^{tree}")
    git(toy_project.root, "tag", "digits@v9.0.0")  # lightweight
    assert names(toy_project) == ["v0.2.0", "v0.1.0"]


def test_the_last_of_many_promotions_within_a_second_counts(toy_project: Project) -> None:
    for counter in range(1, 13):
        version = "v0.1.0" if counter % 2 else "v0.2.0"
        tag(toy_project, f"digits#champion#{counter}", f"digits@{version}^{{}}")
    assert champion(toy_project) == "v0.2.0"


def test_a_champion_unassigned_with_gto_is_replaced_by_the_previous_one(
    toy_project: Project,
) -> None:
    tag(toy_project, "digits#champion#1", "digits@v0.1.0^{}")
    tag(toy_project, "digits#champion#2", "digits@v0.2.0^{}")
    run(toy_project.root, GTO, "deprecate", "digits", "v0.2.0", "champion")
    assert champion(toy_project) == "v0.1.0"


def test_a_withdrawn_version_is_neither_listed_nor_champion(toy_project: Project) -> None:
    tag(toy_project, "digits#champion#1", "digits@v0.1.0^{}")
    tag(toy_project, "digits#champion#2", "digits@v0.2.0^{}")
    run(toy_project.root, GTO, "deprecate", "digits", "v0.2.0")
    assert names(toy_project) == ["v0.1.0"]
    assert champion(toy_project) == "v0.1.0"
    assert all(one.ok for one in checks.check_tags(toy_project))


def test_a_version_without_a_model_card_is_listed_but_fails_verification(
    toy_project: Project,
) -> None:
    git(toy_project.root, "rm", "--quiet", "reports/model.json")
    git(toy_project.root, "commit", "--quiet", "--message", "Forget the card")
    tag(toy_project, "digits@v0.5.0")
    assert names(toy_project)[0] == "v0.5.0"
    assert checks.check_files(toy_project)[0].state == "mismatch"


@pytest.mark.parametrize(
    "metrics", ["{", "[]", '{"test": 1}', '{"test": {}}', '{"test": {"accuracy": null}}']
)
def test_a_version_with_damaged_metrics_is_listed_without_accuracy(
    toy_project: Project, metrics: str
) -> None:
    toy_project.metrics.write_text(metrics)
    commit_all(toy_project.root)
    tag(toy_project, "digits@v0.5.0")
    assert catalogue.versions(toy_project)[0].accuracy is None


@pytest.mark.parametrize(
    "body",
    ['{"parent": ["v0.1.0"], "why": 7}', '{"parent": "v9"', "{" * 70_000, "[" * 60_000, "plain"],
)
def test_a_hostile_annotation_is_listed_without_its_facts(toy_project: Project, body: str) -> None:
    commit_all(toy_project.root)
    file = toy_project.root / "message"
    file.write_text(f"Register\x1b[31m v0.5.0\n\n{body}\n")
    git(toy_project.root, "tag", "-a", "--cleanup=verbatim", "-F", str(file), "digits@v0.5.0")
    version = catalogue.find(toy_project, "v0.5.0")
    assert version.parent is None
    assert isinstance(version.why, str)


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
def test_a_malformed_model_card_is_an_error(card: dict[str, object], complaint: str) -> None:
    with pytest.raises(RegistryError, match=complaint):
        catalogue.digests(card)


def test_list_shows_each_version_s_own_accuracy_and_weights(
    toy_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    tag(toy_project, "digits#champion#1", "digits@v0.1.0^{}")
    main(["models", "list", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["accuracy"], one["champion"]) for one in listed] == [
        ("v0.2.0", 0.96, False),
        ("v0.1.0", 0.96, True),
    ]
    main(["models", "list"])
    table = capsys.readouterr().out
    assert listed[0]["weights"]["models/digits.onnx"][:12] in table
    assert listed[0]["date"][:10] in table
    assert "96.00%" in table


def test_the_names_in_json_files_are_those_of_the_project(toy_project: Project) -> None:
    assert toy_project.root / catalogue.CARD == toy_project.model_card
    assert toy_project.root / catalogue.METRICS == toy_project.metrics
    assert files.read_json(toy_project.model_card)["model"] == "toy"
