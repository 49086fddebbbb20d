"""May the challenger replace the champion? The policy is section `gate` of params.yaml.

The first version is judged by absolute limits alone. Later ones must also be better than the
champion by more than chance somewhere, and nowhere worse by more than chance: on the test set
(McNemar's exact test), on each digit and on each batch of handwriting (Holm's correction over
those). A champion that is as good as its challenger stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from digits.core.params import Gate
from digits.formatting import percent
from digits.gate.changes import Outcome, SetChange, compare_sets
from digits.gate.evidence import TEST, Evidence, figure
from digits.gate.infrastructure import Trial
from digits.gate.paired import Difference

Verdict = Literal["promote", "keep", "reject", "cannot judge"]
Status = Literal["pass", "better", "worse", "fail", "unknown", "warning"]

_LEAKS = {
    "test_in_train": "test images are among the training images",
    "test_in_val": "test images are among the validation images",
    "val_in_train": "validation images are among the training images",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was checked, and a sentence on what was found.

    "fail" and "worse" reject, "unknown" prevents a judgement, "better" speaks for promotion.
    `subject` tells findings of the same check apart: which digit, which batch.
    """

    check: str
    status: Status
    text: str
    subject: str = ""


@dataclass(frozen=True)
class Judgement:
    """The verdict, its reasons in sentences, and everything that was checked."""

    verdict: Verdict
    challenger: str
    champion: str | None
    reasons: list[str]
    findings: list[Finding]
    sets: Mapping[str, SetChange]

    @property
    def positive(self) -> bool:
        """Whether the challenger may ship or the champion may stay: exit code 0."""
        return self.verdict in ("promote", "keep")

    def as_dict(self) -> dict[str, Any]:
        """As plain types, for JSON."""
        return asdict(self)


def judge(
    challenger: Evidence,
    champion: Evidence | None,
    policy: Gate,
    *,
    problems: Sequence[str] = (),
    trial: Trial | None = None,
    champion_trial: Trial | None = None,
) -> Judgement:
    """Judge a challenger.

    Args:
        champion: None for the first version.
        problems: why the challenger's results don't belong together (`versioning.consistency`).
        trial: the challenger in a clean process; None if it wasn't tried.
        champion_trial: the champion's, for the comparison of speed.
    """
    sets = compare_sets(champion, challenger, policy.confidence_level) if champion else {}
    findings = [Finding("belongs together", "unknown", problem) for problem in problems]
    findings += [Finding("reports", "unknown", problem) for problem in challenger.problems]
    findings += _limits(challenger, policy)
    findings += _leaks(challenger)
    if champion:
        findings += _against(champion, challenger, sets, policy)
        findings += _loosened(champion, policy)
    if trial:
        findings += _production(trial, policy)
        findings += _slowdown(trial, champion_trial, policy) if champion else ()
    verdict, reasons = _verdict(challenger, champion, findings, bool(problems))
    name = champion.name if champion else None
    return Judgement(verdict, challenger.name, name, reasons, findings, sets)


# findings


def _limits(one: Evidence, policy: Gate) -> Iterator[Finding]:
    """The absolute limits: those alone judge the first version."""
    test = one.sets.get(TEST)
    if test is None:
        if not one.problems:
            yield Finding("reports", "unknown", "there are no metrics; run 'digits run'")
        return
    yield _at_least("accuracy", "accuracy on the test set", test.accuracy, policy.min_accuracy)
    recalls = {digit: test.recall(digit) for digit, n in test.counts.items() if n}
    for digit, recall in recalls.items():
        if recall < policy.min_recall:
            yield _at_least("each digit", f"recall of digit {digit}", recall, policy.min_recall)
    if not recalls:
        yield Finding("each digit", "unknown", "the metrics have no figures for each digit")
    elif min(recalls.values()) >= policy.min_recall:
        digit = min(recalls, key=lambda one: (recalls[one], one))
        yield _at_least(
            "each digit", f"lowest recall, of {digit},", recalls[digit], policy.min_recall
        )
    for name, batch in one.sets.items():
        if name != TEST and not batch.in_sample:
            what = f"accuracy on batch '{name}'"
            yield _at_least("handwriting", what, batch.accuracy, policy.min_batch_accuracy)
    figures = (
        (
            "calibration",
            "calibration error",
            (TEST, "calibration_error"),
            policy.max_calibration_error,
        ),
        (
            "robustness",
            "mean error under MNIST-C",
            ("corrupted", "mean_error"),
            policy.max_corrupted_error,
        ),
    )
    for check, what, path, limit in figures:
        value = figure(one.metrics, *path)
        if value is None:
            yield Finding(check, "unknown", f"{what} is not in reports/metrics.json")
        else:
            status: Status = "pass" if value <= limit else "fail"
            yield Finding(check, status, f"{what} {percent(value)}, at most {percent(limit)}")
    if one.validation.get("success") is not True:
        yield Finding("data", "fail", "the data was not validated, or is invalid")


def _at_least(check: str, what: str, value: float, limit: float) -> Finding:
    status: Status = "pass" if value >= limit else "fail"
    return Finding(check, status, f"{what} {percent(value)}, at least {percent(limit)}", what)


def _leaks(one: Evidence) -> Iterator[Finding]:
    leaks = one.metrics.get("leaks")
    if not isinstance(leaks, dict) or any(not isinstance(leaks.get(key), int) for key in _LEAKS):
        if one.sets:
            text = "the reports don't say whether the model has seen test images; run 'digits run'"
            yield Finding("leaks", "unknown", text)
        return
    found = {key: f"{leaks[key]:,} {what}" for key, what in _LEAKS.items() if leaks[key]}
    for key, text in found.items():
        yield Finding("leaks", "fail", text, key)
    if not found:
        text = "no test image is among the training or validation images, by id or by SHA-256"
        yield Finding("leaks", "pass", text)


def _against(
    champion: Evidence, challenger: Evidence, sets: Mapping[str, SetChange], policy: Gate
) -> Iterator[Finding]:
    if champion.weights and champion.weights == challenger.weights:
        return
    if TEST not in sets:
        text = f"'{challenger.name}' and '{champion.name}' were not tested on the same images"
        reasons = champion.problems or [text]
        yield from (Finding("test set", "unknown", reason) for reason in reasons)
    for name, change in sets.items():
        check = "test set" if name == TEST else "handwriting"
        where = "the test set" if name == TEST else f"batch '{name}'"
        yield _changed(check, where, change.difference, change.outcome)
        for digit, one in change.digits.items():
            if one.outcome in ("better", "worse"):
                yield _changed("each digit", f"digit {digit}", one.difference, one.outcome)
    old, new = (figure(one.metrics, "corrupted", "mean_error") for one in (champion, challenger))
    if old is not None and new is not None:
        limit = policy.max_corrupted_rise
        status: Status = "worse" if new - old > limit + 1e-12 else "pass"
        text = (
            f"mean error under MNIST-C {percent(old)} → {percent(new)}, "
            f"may rise by {100 * limit:g} points"
        )
        yield Finding("corruption", status, text)


def _changed(check: str, where: str, one: Difference, outcome: Outcome) -> Finding:
    counts = f"{len(one.newly_wrong)} newly wrong, {len(one.newly_right)} newly right"
    low, high = (f"{100 * bound:+.2f}" for bound in one.interval)
    facts = (
        f"{100 * one.change:+.2f} points (interval {low} to {high}), {counts} of {one.n:,}, "
        f"p = {one.p_value:.2g}"
    )
    if outcome == "same":
        return Finding(check, "pass", f"{where}: the same images are misread")
    if outcome == "in-sample":
        return Finding(check, "pass", f"{where}: {facts}; in-sample, so it doesn't count")
    if outcome == "chance":
        return Finding(check, "pass", f"{where}: no difference beyond chance: {facts}")
    return Finding(check, outcome, f"{where}: {outcome} by more than chance: {facts}")


def loosened(old: Mapping[str, Any], policy: Gate) -> list[str]:
    """The limits of a policy that allow more than another revision's params.yaml, or are gone."""
    before = old.get("gate")
    if not isinstance(before, dict):
        return []
    changes = []
    for name, value in policy.model_dump().items():
        was = before.get(name)
        if not isinstance(was, int | float) or isinstance(was, bool):
            continue
        if (value < was) if name.startswith("min_") else (value > was):
            changes.append(f"gate.{name} is looser: {was:g} → {value:g}")
    gone = sorted(before.keys() - policy.model_dump().keys())
    return changes + [f"gate.{name} is gone; it was {before[name]!r}" for name in gone]


def _loosened(champion: Evidence, policy: Gate) -> Iterator[Finding]:
    for change in loosened(champion.params, policy):
        yield Finding("policy", "warning", f"the policy was loosened: {change}")


def _production(trial: Trial, policy: Gate) -> Iterator[Finding]:
    """The model in a clean process."""
    if trial.error:
        yield Finding("clean process", "fail", f"the model doesn't run: {trial.error}")
        return
    if trial.misread:
        digits = ", ".join(map(str, trial.misread))
        yield Finding("clean process", "fail", f"golden images are misread: {digits}")
    elif trial.tensorflow:
        yield Finding("clean process", "fail", "recognising imports TensorFlow")
    else:
        text = "runs without TensorFlow and reads all golden images"
        yield Finding("clean process", "pass", text)
    limits = (
        ("memory", trial.memory, policy.max_memory, "MB"),
        ("size", trial.size, policy.max_megabytes, "MB"),
        ("latency", trial.milliseconds, policy.max_milliseconds, "ms for one image"),
    )
    for check, value, limit, unit in limits:
        status: Status = "pass" if value <= limit else "fail"
        yield Finding(check, status, f"{value:.3g} {unit}, at most {limit:g}")


def _slowdown(trial: Trial, champion: Trial | None, policy: Gate) -> Iterator[Finding]:
    if trial.error:
        return
    if champion is None or champion.error:
        text = "speed was not compared: the champion's files are not here, or it doesn't run"
        yield Finding("slowdown", "warning", text)
        return
    ratio = trial.milliseconds / champion.milliseconds
    slower = trial.milliseconds - champion.milliseconds
    too_slow = ratio > policy.max_slowdown and slower > policy.slowdown_floor
    text = (
        f"{ratio:.2f} times the champion's time ({slower:+.2g} ms), at most "
        f"{policy.max_slowdown:g} times or {policy.slowdown_floor:g} ms more"
    )
    yield Finding("slowdown", "worse" if too_slow else "pass", text)


# verdict


def _verdict(
    challenger: Evidence, champion: Evidence | None, findings: list[Finding], stale: bool
) -> tuple[Verdict, list[str]]:
    def texts(*statuses: Status) -> list[str]:
        return [one.text for one in findings if one.status in statuses]

    against, unknown = texts("fail", "worse"), texts("unknown")
    if unknown and (stale or not against):
        return "cannot judge", unknown
    if against:
        return "reject", against
    if champion is None:
        return "promote", ["the first version: it meets every limit of the policy"]
    if champion.weights and champion.weights == challenger.weights:
        return "keep", [f"its weights are those of {champion.name}"]
    if better := texts("better"):
        return "promote", better
    reason = f"nothing is better than {champion.name} by more than chance"
    test = [one.text for one in findings if one.check == "test set"]
    return "keep", [reason, *test]
