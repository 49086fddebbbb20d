"""Two revisions on the same images: which sets and digits are better or worse, beyond chance?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from digits.gate import paired
from digits.gate.evidence import TEST, Evidence, ImageSet
from digits.gate.paired import Difference

Outcome = Literal["better", "worse", "chance", "same", "in-sample"]


@dataclass(frozen=True)
class SetChange:
    """Both models on one set of images; `digits` only for the test set.

    A set that either model was trained on is "in-sample" and counts neither way.
    """

    name: str
    old: float  # accuracy, 0–1
    new: float
    difference: Difference
    outcome: Outcome
    digits: Mapping[int, "DigitChange"] = field(default_factory=dict)


@dataclass(frozen=True)
class DigitChange:
    """Recall of one digit, 0–1, before and now."""

    old: float
    new: float
    difference: Difference
    outcome: Outcome


def compare_sets(old: Evidence, new: Evidence, level: float) -> dict[str, SetChange]:
    """Both revisions on each set of images that they share, the test set first."""
    shared = {
        name: (old.sets[name], one)
        for name, one in new.sets.items()
        if name in old.sets and same_images(old, new, name)
    }
    batches = {
        name: paired.difference(set(before.misread), set(now.misread), now.n, level)
        for name, (before, now) in shared.items()
    }
    digits = _digits(*shared[TEST], level) if TEST in shared else {}
    fair = [n for n, pair in shared.items() if n != TEST and not any(s.in_sample for s in pair)]
    family = {name: batches[name].p_value for name in fair}
    family |= {f"digit {digit}": one.p_value for digit, one in digits.items()}
    adjusted = paired.holm(family)
    return {
        name: SetChange(
            name,
            before.accuracy,
            now.accuracy,
            _with(batches[name], adjusted.get(name)),
            _outcome(_with(batches[name], adjusted.get(name)), level)
            if name == TEST or name in fair
            else "in-sample",
            _digit_changes(before, now, digits, adjusted, level) if name == TEST else {},
        )
        for name, (before, now) in shared.items()
    }


def same_images(old: Evidence, new: Evidence, name: str) -> bool:
    """Whether both revisions were tested on the same images of a set."""
    before, now = old.sets[name], new.sets[name]
    if before.digest and now.digest:
        return before.digest == now.digest
    # reports of older versions have no digest
    return old.data == new.data and (before.n, before.counts) == (now.n, now.counts)


def _digits(before: ImageSet, now: ImageSet, level: float) -> dict[int, Difference]:
    def wrong(one: ImageSet, digit: int) -> set[int]:
        return {index for index, row in one.misread.items() if row.label == digit}

    return {
        digit: paired.difference(wrong(before, digit), wrong(now, digit), n, level)
        for digit, n in now.counts.items()
        if n
    }


def _digit_changes(
    before: ImageSet,
    now: ImageSet,
    digits: Mapping[int, Difference],
    adjusted: Mapping[str, float],
    level: float,
) -> dict[int, DigitChange]:
    changes = {}
    for digit, raw in digits.items():
        one = _with(raw, adjusted[f"digit {digit}"])
        recalls = (before.recall(digit), now.recall(digit))
        changes[digit] = DigitChange(*recalls, one, _outcome(one, level))
    return changes


def _with(one: Difference, p_value: float | None) -> Difference:
    if p_value is None:
        return one
    return Difference(one.n, one.newly_wrong, one.newly_right, one.change, one.interval, p_value)


def _outcome(one: Difference, level: float) -> Outcome:
    if not one.newly_wrong and not one.newly_right:
        return "same"
    if one.p_value >= 1 - level:
        return "chance"
    return "better" if one.change > 0 else "worse"
