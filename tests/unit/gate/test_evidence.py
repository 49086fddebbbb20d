"""Reports of a revision as evidence; they may be damaged, old or hostile."""

import json

import pytest
from conftest import run

from digits.core import files
from digits.core.project import Project
from digits.gate import evidence
from digits.gate.evidence import TEST


def test_evidence_of_the_tree_and_of_its_commit_are_equal(built_project: Project) -> None:
    metrics = files.read_json(built_project.metrics)
    tree = evidence.read(built_project)
    commit = run("git", "rev-parse", "HEAD", cwd=built_project.root).stdout.strip()
    committed = evidence.read(built_project, commit, "main")
    assert tree.problems == committed.problems == []
    assert tree.sets == committed.sets
    assert (tree.name, committed.name) == ("working tree", "main")
    assert set(tree.sets) == {TEST, "uci-digits"}
    assert tree.sets[TEST].accuracy == pytest.approx(metrics["test"]["accuracy"], abs=1e-6)
    for digit, figures in metrics["test"]["per_digit"].items():
        assert tree.sets[TEST].recall(int(digit)) == pytest.approx(figures["recall"], abs=1e-6)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("index,label,prediction,confidence\n1,2,3,0.5\n", "lists 1 misread images of 'test'"),
        ("index,label,prediction,confidence\nx,2,3,0.5\n", "damaged"),
        ("nonsense\n", "lists 0 misread images of 'test'"),
        (None, "not found; run 'dvc repro evaluate'"),
    ],
)
def test_a_table_that_contradicts_the_metrics_is_a_problem(
    built_project: Project, table: str | None, problem: str
) -> None:
    built_project.mistakes.unlink()
    if table:
        built_project.mistakes.write_text(table)
    found = evidence.read(built_project)
    assert found.sets == {}
    assert problem in found.problems[0]


@pytest.mark.parametrize("batches", [[], "x", {"a": 1}, {"a": {"n": "2"}}, {"a": {"n": 0}}])
def test_damaged_metrics_are_a_problem_and_no_crash(
    built_project: Project, batches: object
) -> None:
    metrics = files.read_json(built_project.metrics)
    files.write_json(built_project.metrics, metrics | {"batches": batches})
    found = evidence.read(built_project)
    assert found.problems or found.sets.keys() == {TEST}
    built_project.metrics.write_text("{")
    assert "not valid JSON" in evidence.read(built_project).problems[0]


@pytest.mark.parametrize("n", [0, -4, 10**400, float("inf")])
def test_a_digit_cannot_be_hidden_by_its_count(built_project: Project, n: float) -> None:
    metrics = files.read_json(built_project.metrics)
    metrics["test"]["per_digit"]["3"]["n"] = n
    built_project.metrics.write_text(json.dumps(metrics))
    found = evidence.read(built_project)
    assert found.sets == {}
    assert "digits of 'test' don't add up" in found.problems[0] or "lacks" in found.problems[0]
