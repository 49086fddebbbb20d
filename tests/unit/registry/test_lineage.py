"""Lineage of models and of data, from the git history of a small real pipeline."""

import json
import re
from pathlib import Path

import pipeline
import pytest
from conftest import exit_code
from repository import commit_all, git

from digits.core.project import Project
from digits.registry import diagram, lineage
from digits.registry.lineage import Data, Model


def model(trained: Project, name: str | None = None) -> Model:
    found = lineage.trace(trained, name)
    assert isinstance(found, Model)
    return found


def uses(trained: Project, name: str) -> dict[str, list[str]]:
    """Version → how it used the data."""
    found = lineage.trace(trained, name)
    assert isinstance(found, Data)
    return {", ".join(use.versions): list(use.how) for use in found.uses}


def md5(folder: Path, commit: str) -> str:
    """The MD5 in data.dvc of a commit."""
    found = re.search(r"md5: (\w{32})", git(folder, "show", f"{commit}:data.dvc"))
    assert found
    return found[1]


def test_a_version_has_its_own_data_code_parameters_and_weights(cloned: Project) -> None:
    one, two = (model(cloned, version) for version in ("v0.1.0", "v0.2.0"))
    assert (one.data.md5, two.data.md5) == tuple(
        md5(cloned.root, f"digits@{version}") for version in ("v0.1.0", "v0.2.0")
    )
    assert [batch.name for batch in one.data.batches] == ["uci"]
    assert [(batch.name, batch.trained_on) for batch in two.data.batches] == [
        ("forms", True),
        ("uci", False),
    ]
    assert (one.parameters["train.seed"], two.parameters["train.seed"]) == (1, 2)
    assert one.parameters["models.small.epochs"] == 3
    assert "models.large.epochs" not in one.parameters  # not trained, so it made nothing
    card = json.loads(git(cloned.root, "show", "digits@v0.1.0:reports/model.json"))
    assert one.weights == card["weights"] != two.weights
    assert list(one.code) == ["src/make.py"]
    assert (one.parent, two.parent) == (None, "v0.1.0")


def test_stages_are_chained_by_digests(cloned: Project) -> None:
    stages = {stage.name: stage for stage in model(cloned, "v0.2.0").stages}
    assert stages["ingest"].outs["build/ingested"] == stages["evaluate"].deps["build/ingested"]
    assert stages["train"].outs["models"] == stages["drift"].deps["models"]
    assert stages["ingest"].deps["data"].removesuffix(".dir") == md5(cloned.root, "HEAD")


def test_a_batch_lists_every_model_and_how_it_was_used(cloned: Project) -> None:
    assert uses(cloned, "forms") == {
        "v0.2.0": ["trained on", "evaluated on", "checked for drift"],
        "v0.1.0": [],
    }
    assert uses(cloned, "uci")["v0.2.0"] == ["evaluated on", "checked for drift"]
    assert uses(cloned, "mnist")["v0.1.0"] == ["trained on", "evaluated on"]


def test_a_data_version_lists_only_models_built_from_it(cloned: Project) -> None:
    first = md5(cloned.root, "digits@v0.1.0")
    assert list(uses(cloned, first[:8])) == ["v0.1.0"]
    assert list(uses(cloned, md5(cloned.root, "HEAD"))) == ["v0.2.0"]


def test_results_on_a_branch_are_listed_beside_those_of_main(trained: Project) -> None:
    git(trained.root, "checkout", "--quiet", "-b", "trial", "digits@v0.1.0")
    git(trained.root, "branch", "--quiet", "--force", "main", "digits@v0.2.0")
    (trained.root / "dvc.lock").write_text((trained.root / "dvc.lock").read_text() + "# more\n")
    commit_all(trained.root)
    assert list(uses(trained, "uci")) == ["", "v0.2.0", "v0.1.0"]


def test_data_that_was_not_built_yet_is_not_taken_for_the_model_s(trained: Project) -> None:
    before = model(trained).data.md5
    pipeline.add_batch(trained.root, "letters")
    commit_all(trained.root)

    found = model(trained)

    assert found.data.md5 == before != md5(trained.root, "HEAD")
    assert found.problems == [
        f"data.dvc pins {md5(trained.root, 'HEAD')[:7]}, not the {before[:7]} of these results; "
        "run 'digits run'"
    ]
    assert set(uses(trained, "letters")) == {"v0.1.0", "v0.2.0"}  # known, but
    assert not any(uses(trained, "letters").values())  # used by none


def test_old_reports_without_batches_and_a_lock_without_data_are_read(trained: Project) -> None:
    """As before evaluate scored batches and ingest depended on all of data/."""
    metrics = json.loads(trained.metrics.read_text())
    del metrics["batches"], metrics["leaks"]
    trained.metrics.write_text(json.dumps(metrics))
    lock = trained.root / "dvc.lock"
    lock.write_text(lock.read_text().replace("path: data\n", "path: data/mnist\n"))
    commit_all(trained.root)
    built = md5(trained.root, "HEAD")
    assert model(trained, "HEAD").data.md5 == built
    assert uses(trained, "uci")[""] == ["checked for drift"]

    pipeline.add_batch(trained.root, "letters")
    commit_all(trained.root)
    assert model(trained, "HEAD").data.md5 == model(trained).data.md5 == built


def test_a_history_without_drift_report_says_not_recorded(
    trained: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (trained.drift_report, trained.metrics):
        path.unlink()
    lock = trained.root / "dvc.lock"
    lock.write_text(lock.read_text() + "# more\n")
    commit_all(trained.root)
    assert exit_code("lineage", "uci") == 0
    assert "not recorded" in capsys.readouterr().out.splitlines()[1]


@pytest.mark.parametrize("lock", ["", "[]", "stages: [1, 2]", "stages: {a: 7, b: {deps: [x]}}"])
def test_a_malformed_lock_is_no_crash(
    trained: Project, capsys: pytest.CaptureFixture[str], lock: str
) -> None:
    (trained.root / "dvc.lock").write_text(lock)
    for option in ((), ("--json",), ("--mermaid",)):
        assert exit_code("lineage", *option) == 0
    capsys.readouterr()


def test_json_of_a_model_and_of_data(cloned: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("lineage", "v0.2.0", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["version"], shown["parent"]) == ("model", "v0.2.0", "v0.1.0")
    assert exit_code("lineage", "forms", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["uses"][0]["versions"]) == ("batch", ["v0.2.0"])


def test_the_tree_names_data_parameters_and_stages(
    cloned: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("lineage", "v0.2.0") == 0
    text = capsys.readouterr().out
    for line in (
        "parent: v0.1.0",
        f"data {md5(cloned.root, 'HEAD')[:12]}",
        "forms: trained on, accuracy 80.00% (in-sample), no drift, 50 images",
        "train.seed: 2",
        "src/make.py",
    ):
        assert line in text


def test_names_cannot_write_mermaid(trained: Project) -> None:
    """A batch's name comes from a report, which the author of a pull request can write."""
    name = '"]:::x --> end; click n0 "javascript:alert(1)"\n  n9["<b>|#'
    drift = json.loads(trained.drift_report.read_text())
    drift["batches"] = {name: {"n": 1, "drift": False}}
    trained.drift_report.write_text(json.dumps(drift))
    chart = diagram.mermaid(lineage.trace(trained))
    node = r'n\d+(\[\(|\(\[|\[)"[^"<>|\[\]()`{}]*"(\)\]|\]\)|\])'
    edge = r'n\d+ (-->|-\.->)(\|"[^"|]*"\|)? n\d+'
    head, *lines = chart.replace("<br>", " ").splitlines()
    assert head == "flowchart LR"
    assert len(lines) > 10
    assert [one for one in lines if not re.fullmatch(f"  ({node}|{edge})", one)] == []


def test_markup_in_names_is_shown_as_it_is(
    trained: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    drift = {"batches": {"[red]x[/red]\x1b[31m": {"n": 1, "drift": False}}}
    trained.drift_report.write_text(json.dumps(drift))
    assert exit_code("lineage") == 0
    shown = capsys.readouterr().out
    assert "[red]x[/red] [31m" in shown
    assert "\x1b" not in shown


def test_mermaid_of_a_batch_joins_it_with_its_models(
    cloned: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("lineage", "forms", "--mermaid") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "flowchart LR"
    assert lines[1] == '  n0[("batch<br>forms")]'
    assert lines[2].startswith('  n1["v0.2.0<br>commit ')
    assert lines[3:] == ['  n0 -->|"trained on, evaluated on, checked for drift"| n1']


def test_an_unknown_name_lists_the_batches(
    cloned: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("lineage", "letters") == 2
    error = capsys.readouterr().err
    assert error == (
        "digits: 'letters' is no version, batch, data version or revision; batches: mnist, forms, "
        "uci; see 'digits models list' and 'git log'\n"
    )
