"""The gate's verdicts, on evidence with 10,000 test images of which image i shows digit i % 10."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest
from conftest import REPOSITORY

from digits.core import params
from digits.gate.evidence import TEST, Evidence, ImageSet, Misread
from digits.gate.infrastructure import Trial
from digits.gate.judgement import Judgement, judge, loosened

POLICY = params.load(REPOSITORY / "params.yaml").gate
N = 10_000
RUNS = Trial(milliseconds=1.0, memory=100.0, size=1.0)
COMMON = range(0, 330, 11)  # 30 images that every model here misreads


def images(wrong: Iterable[int], name: str = TEST, n: int = N, **fields: Any) -> ImageSet:
    misread = {i: Misread(i % 10, (i + 1) % 10, 0.9, cell) for cell, i in enumerate(sorted(wrong))}
    counts = dict.fromkeys(range(10), n // 10)
    values = {"digest": f"{name} of {n}", "in_sample": 0} | fields
    return ImageSet(name=name, n=n, counts=counts, misread=misread, **values)


def evidence(
    wrong: Iterable[int], *batches: ImageSet, name: str = "new", **metrics: Any
) -> Evidence:
    figures = {
        "test": {"calibration_error": 0.002},
        "corrupted": {"mean_error": 0.03},
        "leaks": {"test_in_train": 0, "test_in_val": 0, "val_in_train": 0},
    }
    sets = {one.name: one for one in (images(wrong), *batches)}
    return Evidence(
        name=name,
        commit=None,
        metrics=figures | metrics,
        card={"weights": {"models/digits.onnx": name}},
        drift={},
        validation={"success": True},
        params={"gate": POLICY.model_dump()},
        data=None,
        sets=sets,
    )


def ask(new: Evidence, old: Evidence | None = None, **options: Any) -> Judgement:
    return judge(new, old, POLICY, **{"trial": RUNS, "champion_trial": RUNS} | options)


CHAMPION = evidence([*COMMON, *range(501, 511)], name="v1")


def spread(count: int, start: int = 1000) -> list[int]:
    """Images of all digits."""
    return list(range(start, start + count))


def test_the_first_version_is_judged_by_the_limits_alone() -> None:
    assert ask(evidence(spread(40))).verdict == "promote"
    low = ask(evidence(spread(200)))
    assert low.verdict == "reject"
    assert low.reasons == ["accuracy on the test set 98.00 %, at least 99.00 %"]


def test_a_model_that_is_better_beyond_chance_is_promoted() -> None:
    result = ask(evidence(COMMON), CHAMPION)
    assert result.verdict == "promote"
    assert "better by more than chance" in result.reasons[0]
    assert "10 newly right" in result.reasons[0]


def test_a_model_that_is_better_by_luck_only_doesnt_replace_the_champion() -> None:
    result = ask(evidence([*COMMON, *range(501, 507)]), CHAMPION)
    assert result.verdict == "keep"
    assert "nothing is better than v1 by more than chance" in result.reasons


def test_three_tenths_of_a_point_worse_is_rejected() -> None:
    result = ask(evidence([*COMMON, *spread(40)]), CHAMPION)
    assert result.verdict == "reject"
    assert result.sets[TEST].difference.change == pytest.approx(-0.003)
    assert any("the test set: worse by more than chance: -0.30 points" in r for r in result.reasons)


def test_equal_overall_but_two_points_worse_on_one_digit_is_rejected() -> None:
    sevens = [10 * i + 7 for i in range(100, 120)]
    others = [*COMMON[:20], *sevens]
    result = ask(evidence(others), CHAMPION)
    assert result.sets[TEST].difference.change == 0
    assert result.verdict == "reject"
    assert any(reason.startswith("digit 7: worse") for reason in result.reasons)


def test_a_model_trained_on_flipped_labels_is_rejected() -> None:
    """A tenth of the sevens were labelled 1: it reads many sevens as ones."""
    sevens = [10 * i + 7 for i in range(100)]
    result = ask(evidence([*COMMON, *sevens]), CHAMPION)
    assert result.verdict == "reject"
    assert "recall of digit 7 90.00 %, at least 97.00 %" in result.reasons


@pytest.mark.parametrize("leak", ["test_in_train", "test_in_val", "val_in_train"])
def test_a_model_that_has_seen_what_it_is_tested_on_is_rejected(leak: str) -> None:
    leaks = {"test_in_train": 0, "test_in_val": 0, "val_in_train": 0} | {leak: 3}
    result = ask(evidence([], leaks=leaks), CHAMPION)
    assert result.verdict == "reject"
    assert any("are among the" in reason for reason in result.reasons)


def test_worse_on_a_batch_of_handwriting_is_rejected() -> None:
    old = evidence(COMMON, images(range(20), "school", 1000), name="v1")
    new = evidence(COMMON, images(range(60), "school", 1000))
    result = ask(new, old)
    assert result.verdict == "reject"
    assert any("batch 'school': worse" in reason for reason in result.reasons)


def test_better_on_a_batch_of_handwriting_is_promoted_unless_it_was_trained_on() -> None:
    old = evidence(COMMON, images(range(60), "school", 1000), name="v1")
    better = images(range(20), "school", 1000)
    assert ask(evidence(COMMON, better), old).verdict == "promote"
    seen = dataclasses.replace(better, in_sample=1000)
    result = ask(evidence(COMMON, seen), old)
    assert result.verdict == "keep"
    assert result.sets["school"].outcome == "in-sample"


def test_other_test_images_cannot_be_judged() -> None:
    other = evidence(COMMON)
    sets = {TEST: dataclasses.replace(other.sets[TEST], digest="another")}
    result = ask(dataclasses.replace(other, sets=sets), CHAMPION)
    assert result.verdict == "cannot judge"
    assert "not tested on the same images" in result.reasons[0]


def test_stale_results_cannot_be_judged_even_if_a_limit_is_missed() -> None:
    result = ask(evidence(spread(500)), CHAMPION, problems=["train is stale: data changed"])
    assert result.verdict == "cannot judge"
    assert result.reasons == ["train is stale: data changed"]


def test_reports_without_a_check_for_leaks_cannot_be_judged() -> None:
    assert ask(evidence([], leaks=None)).verdict == "cannot judge"


def test_the_champions_own_weights_are_kept() -> None:
    result = ask(CHAMPION, CHAMPION)
    assert result.verdict == "keep"
    assert result.reasons == ["its weights are those of v1"]


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        (Trial(error="not a network"), "the model doesn't run: not a network"),
        (dataclasses.replace(RUNS, misread=(4, 9)), "golden images are misread: 4, 9"),
        (dataclasses.replace(RUNS, tensorflow=True), "recognising imports TensorFlow"),
        (dataclasses.replace(RUNS, memory=900.0), "900 MB, at most 500"),
        (dataclasses.replace(RUNS, size=6.0), "6 MB, at most 5"),
        (
            dataclasses.replace(RUNS, milliseconds=1.6),
            "1.60 times the champion's time (+0.6 ms), at most 1.5 times or 0.5 ms more",
        ),
    ],
)
def test_a_model_that_wont_do_in_production_is_rejected(trial: Trial, reason: str) -> None:
    result = ask(evidence(COMMON), CHAMPION, trial=trial)
    assert result.verdict == "reject"
    assert reason in result.reasons


def test_a_fraction_of_a_millisecond_rejects_nothing() -> None:
    fast, slow = (dataclasses.replace(RUNS, milliseconds=one) for one in (0.06, 0.12))
    result = ask(evidence(COMMON), CHAMPION, trial=slow, champion_trial=fast)
    assert result.verdict == "promote"
    assert any("2.00 times the champion's time" in one.text for one in result.findings)


def test_calibration_and_robustness_have_limits() -> None:
    metrics = {"test": {"calibration_error": 0.05}, "corrupted": {"mean_error": 0.045}}
    result = ask(evidence(COMMON, **metrics), CHAMPION)
    assert result.verdict == "reject"
    assert "calibration error 5.00 %, at most 2.00 %" in result.reasons
    assert any(r.startswith("mean error under MNIST-C 3.00 % → 4.50 %") for r in result.reasons)


def test_a_loosened_policy_is_pointed_out() -> None:
    old = {"gate": POLICY.model_dump() | {"min_accuracy": 0.995, "max_memory": 600}}
    assert loosened(old, POLICY) == ["gate.min_accuracy is looser: 0.995 → 0.99"]
    champion = dataclasses.replace(CHAMPION, params=old)
    result = ask(evidence(COMMON), champion)
    assert any(one.status == "warning" and "loosened" in one.text for one in result.findings)
    assert loosened({"gate": "damaged"}, POLICY) == loosened({}, POLICY) == []
