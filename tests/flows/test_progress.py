"""What is left of a run: from earlier runs only, never without a basis."""

import pytest

from digits.core.project import Project
from flows.progress import Progress, expected_steps
from flows.summary import Step


@pytest.mark.parametrize(
    ("stale", "expected"),
    [
        ({"evaluate"}, {"evaluate"}),
        ({"train"}, {"train", "evaluate", "drift"}),
        ({"report"}, set()),
    ],
)
def test_what_depends_on_a_stale_stage_is_expected_to_run(
    small_project: Project, stale: set[str], expected: set[str]
) -> None:
    steps = expected_steps(small_project, stale, force=False)
    assert steps == expected | {"gate", "report", "verify"}


def test_an_estimate_is_what_the_step_took_before(small_project: Project) -> None:
    steps = ("train", "drift")
    first = Progress(small_project, steps)
    assert first.begin("train") == "train: first run, no estimate"
    first.end(Step("train", "ran", 131.0))
    first.begin("drift")
    first.end(Step("drift", "ran", 40.0))
    second = Progress(small_project, steps)
    assert second.begin("train") == "train: about 2 min 10 s left; the run: about 2 min 50 s left"
    second.line("epoch 3/6  loss 0.1  val loss 0.1  val accuracy 0.9  60 s, about 61 s left")
    assert second.text() == "train, epoch 3/6: about 1 min left; the run: about 1 min 40 s left"


def test_a_resumed_training_is_no_basis(small_project: Project) -> None:
    progress = Progress(small_project, ("train",))
    progress.begin("train")
    progress.line("resuming after epoch 3/6")
    progress.end(Step("train", "ran", 10.0))
    assert "no estimate" in Progress(small_project, ("train",)).begin("train")
