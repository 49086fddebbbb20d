"""Compare the working tree with another revision: may it be merged, and what changed?

Only files that git tracks are read, so a fresh clone without DVC's cache can be compared.
`digits.reports.comparison` words the result.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from digits.core.errors import DataError, DigitsError
from digits.core.params import Gate
from digits.core.project import Project
from digits.formatting import percent
from digits.gate import differences, evidence, judgement, verification
from digits.gate.changes import DigitChange, SetChange
from digits.gate.differences import Differences
from digits.gate.evidence import TEST, Evidence
from digits.gate.judgement import Judgement
from digits.gate.paired import Difference
from digits.versioning import consistency, git
from digits.versioning.consistency import Consistency

_MAIN_BRANCHES = ("origin/main", "main")

Verdict = Literal["regression", "better", "no change", "same", "cannot judge", "no results before"]


@dataclass(frozen=True)
class Reason:
    """A reason for the verdict as a sentence, and as an item of the list of its `group`."""

    text: str
    short: str
    group: str = ""


@dataclass(frozen=True)
class Comparison:
    """The base revision, `old`, against the working tree, `new`.

    `worse` and `better` are what differs by more than chance, and limits of the policy that are
    broken for the first time; `broken` are those that the base breaks, too. `unknown` says why
    there can't be a verdict, `loosened` which limits of the policy allow more than the base's.
    Names in these texts are not escaped.
    """

    base: str  # as the user named it
    commit: str
    head: str  # the commit that is checked out
    verdict: Verdict
    worse: list[Reason]
    better: list[Reason]
    broken: list[str]
    unknown: list[str]
    loosened: list[str]
    old: Evidence
    new: Evidence
    sets: Mapping[str, SetChange]  # on the images that both sides were tested on
    changes: Differences
    consistency: Consistency
    rebuild: str  # how results of the same inputs relate; empty if inputs changed
    policy: Gate


def compare(project: Project, revision: str | None, policy: Gate) -> Comparison:
    """Compare the working tree with `revision`, by default the commit where it left main.

    Raises:
        DigitsError: the revision is unknown, or there is no pipeline.
        DataError: the working tree's metrics or its table of misread images is missing or damaged.
    """
    base, commit = _base(project, revision)
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(consistency.check, project)  # DVC takes seconds
        old = evidence.read(project, commit, base)
        new = evidence.read(project)
        if not new.sets:
            missing = "reports/metrics.json: not found; run 'digits run' to make it"
            raise DataError(new.problems[0] if new.problems else missing)
        judged = judgement.judge(new, old if old.metrics else None, policy)
        before = judgement.judge(old, None, policy) if old.sets else None
        changes = differences.find(project, commit, old, new)
        checked = checking.result()
    worse, broken = _worse(judged, before, old, new)
    better = _significant(judged.sets, "better")
    unknown = [*checked.problems, *_unknown(judged, old)]
    return Comparison(
        base=base,
        commit=commit,
        head=git.resolve(project, "HEAD"),
        verdict=_verdict(checked, worse, better, unknown, old, new, judged.sets),
        worse=worse,
        better=better,
        broken=broken,
        unknown=unknown,
        loosened=judgement.loosened(old.params, policy),
        old=old,
        new=new,
        sets=judged.sets,
        changes=changes,
        consistency=checked,
        rebuild=_rebuild(project, commit, checked),
        policy=policy,
    )


def _base(project: Project, revision: str | None) -> tuple[str, str]:
    """The name and the commit hash of the revision to compare with."""
    if revision is None:
        for branch in _MAIN_BRANCHES:
            if commit := git.merge_base(project, branch):
                return branch, commit
        revision = "HEAD"
    return revision, git.resolve(project, revision)


def _rebuild(project: Project, commit: str, checked: Consistency) -> str:
    if not checked.ok:
        return ""
    try:
        verified = verification.verify(project, commit, checked)
    except DigitsError:  # nothing is built here
        return ""
    return "" if verified.changed_inputs else verified.summary()


# verdict


def _verdict(
    checked: Consistency,
    worse: Sequence[Reason],
    better: Sequence[Reason],
    unknown: Sequence[str],
    old: Evidence,
    new: Evidence,
    sets: Mapping[str, SetChange],
) -> Verdict:
    if worse and checked.ok:
        return "regression"
    if unknown:
        return "cannot judge"
    if not old.metrics:
        return "no results before"
    if better:
        return "better"
    same = all(one.outcome == "same" for one in sets.values())
    return "same" if same and old.weights == new.weights else "no change"


def _worse(
    judged: Judgement, before: Judgement | None, old: Evidence, new: Evidence
) -> tuple[list[Reason], list[str]]:
    """What is worse than before, and the limits that both sides break."""
    worse = _significant(judged.sets, "worse")
    rates = [evidence.figure(one.metrics, "corrupted", "mean_error") for one in (old, new)]
    for one in judged.findings:
        if one.check == "corruption" and one.status == "worse":
            short = " → ".join(percent(rate) for rate in rates if rate is not None)
            worse.append(Reason(one.text, f"error under MNIST-C ({short})"))
    failed = _failed(judged)
    known = _failed(before) if before else failed  # without figures before, no limit is new
    for key in [key for key in failed if key not in known]:
        text = f"a limit of the policy is broken: {failed[key]}"
        worse.append(Reason(text, key[1] or failed[key], "limits broken:"))
    if old.validation.get("success") is True and new.validation.get("success") is not True:
        text = "data validation succeeded before and fails now"
        worse.append(Reason(text, text))
    return worse, [text for key, text in failed.items() if key in known]


def _failed(judged: Judgement) -> dict[tuple[str, str], str]:
    """Every limit that is broken → the sentence on it; validation has a sentence of its own."""
    failed = [one for one in judged.findings if one.status == "fail" and one.check != "data"]
    return {(one.check, one.subject): one.text for one in failed}


def _unknown(judged: Judgement, old: Evidence) -> list[str]:
    texts = [one.text for one in judged.findings if one.status == "unknown"]
    if old.metrics and TEST not in judged.sets and not texts:
        texts.append(f"this tree and '{old.name}' were not tested on the same images")
    return list(dict.fromkeys(texts))


def _significant(
    sets: Mapping[str, SetChange], outcome: Literal["better", "worse"]
) -> list[Reason]:
    """What changed by more than chance: the test set, batches, digits."""
    found = []
    for name, one in sets.items():
        if one.outcome == outcome:
            what = "the test set" if name == TEST else f"batch '{name}'"
            found.append(_reason(f"accuracy on {what}", one, what))
    for one in sets.values():
        for digit, change in one.digits.items():
            if change.outcome == outcome:
                found.append(_reason(f"recall of digit {digit}", change, str(digit), "digits"))
    return found


def _reason(what: str, change: SetChange | DigitChange, short: str, group: str = "") -> Reason:
    old, new, one = percent(change.old), percent(change.new), change.difference
    direction = "rose" if change.new > change.old else "fell"
    return Reason(
        f"{what} {direction} by more than chance, from {old} to {new} "
        f"({sides(one)}; {p_value(one.p_value)})",
        short if group else f"{short} ({old} → {new})",
        group,
    )


def sides(one: Difference) -> str:
    """How many images changed sides: `3 newly wrong, 5 newly right of 10,000`."""
    wrong, right = len(one.newly_wrong), len(one.newly_right)
    return f"{wrong:,} newly wrong, {right:,} newly right of {one.n:,}"


def p_value(value: float) -> str:
    """A p-value with its relation: `p = 0.03`, `p < 0.0001`."""
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"
