"""Which steps of a run DVC has to look at, in a real pipeline."""

import pytest
import yaml
from conftest import set_param

from digits.core.params import STAGES
from digits.core.project import Project
from flows.summary import Step
from flows.work import Work


def included(work: Work) -> list[str]:
    return [step for step in ("fetch", *STAGES) if work.includes(step)]


def record_other_outputs(project: Project, stage: str) -> None:
    """Let dvc.lock say that a stage made something else."""
    path = project.root / "dvc.lock"
    document = yaml.safe_load(path.read_text())
    document["stages"][stage]["outs"][0]["md5"] = "f" * 32
    path.write_text(yaml.safe_dump(document))


def test_nothing_is_to_be_done_in_a_built_project_unless_it_is_forced(
    built_project: Project,
) -> None:
    work = Work(built_project)
    assert work.idle
    assert included(work) == []
    forced = Work(built_project, force=True)
    assert not forced.idle
    assert included(forced) == ["fetch", *STAGES]


def test_other_stages_are_looked_at_only_if_results_have_changed(built_project: Project) -> None:
    set_param(built_project, "evaluate", "gallery", 7)
    work = Work(built_project)
    assert included(work) == ["evaluate"]
    work.done(Step("evaluate", "ran", 1.0))  # with the same results
    assert included(work) == ["evaluate"]
    record_other_outputs(built_project, "evaluate")
    work.done(Step("evaluate", "ran", 1.0))
    assert "drift" in included(work)


def test_stages_are_looked_at_again_if_what_they_depend_on_was_replaced(
    built_project: Project,
) -> None:
    """They were compared with outputs that are not those of dvc.lock, which DVC restores."""
    record_other_outputs(built_project, "preprocess")
    work = Work(built_project)
    assert included(work) == ["preprocess"]
    work.done(Step("preprocess", "unchanged", 1.0))
    assert "train" in included(work)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damaged_data_is_fetched_and_all_stages_are_looked_at(
    built_project: Project, name: str
) -> None:
    (built_project.mnist / name).write_bytes(b"damaged")
    work = Work(built_project)
    assert "fetch" in included(work)
    assert "ingest" in included(work)
    work.done(Step("fetch", "ran", 1.0))
    assert included(work) == ["fetch", *STAGES]
