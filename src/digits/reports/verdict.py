"""The first part of the report page: may it ship, why, and what else should be known?

The verdict is that of `digits gate`, judged anew on every call. Only what the models did in clean
processes is taken from its last run, so that equal files give an equal page.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.formatting import percent
from digits.gate import evidence
from digits.gate.evidence import Evidence
from digits.gate.judgement import Finding, Judgement, Status
from digits.gate.pictures import Tile
from digits.registry import decision
from digits.registry.record import Batch
from digits.reports import gate
from digits.reports.sources import Sources, without_folder

_Z = 1.959964  # standard normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class Verdict:
    """The gate's judgement; its findings include notes, which don't decide.

    `challenger` is None if it can't be read. `tiles` are the images that changed sides.
    """

    judgement: Judgement
    challenger: Evidence | None
    tiles: Mapping[str, list[Tile]]
    next: str = ""  # what to do, by `commands`; empty if nothing
    commands: Sequence[str] = ()

    @property
    def reasons(self) -> list[Finding]:
        """What decided, as findings; a reason that is none of them has no check."""
        found = {finding.text: finding for finding in self.judgement.findings}
        return [found.get(text, Finding("", "pass", text)) for text in self.judgement.reasons]

    @property
    def others(self) -> list[Finding]:
        """Everything else that was checked, what weighs most first."""
        return gate.others(self.judgement)

    def before(self, name: str) -> float | None:
        """The champion's accuracy, 0–1, on the same images of a set; None if that is not known."""
        change = self.judgement.sets.get(name)
        return change.old if change else None


def read(project: Project, sources: Sources) -> Verdict:
    """Judge the working tree; if that is impossible, the verdict says why."""
    known = gate.known_trials(project)
    try:
        decided = decision.decide(project, trial=False, known=known)
    except DigitsError as exc:
        reason = without_folder(project, str(exc))
        judgement = Judgement("cannot judge", "working tree", None, [reason], [], {})
        notes = list(_notes(sources))
        return Verdict(replace(judgement, findings=notes), _evidence(project), {})
    judged = decided.judgement
    checks = {finding.check for finding in judged.findings}
    notes = [] if "belongs together" in checks else list(_together(project, decided))
    notes += [note for note in _notes(sources) if note.check not in checks]
    findings = [
        replace(one, text=without_folder(project, one.text)) for one in [*judged.findings, *notes]
    ]
    reasons = [without_folder(project, reason) for reason in judged.reasons]
    judgement = replace(judged, reasons=reasons, findings=findings)
    return Verdict(judgement, decided.challenger, decided.tiles, *_next(judgement))


def _evidence(project: Project) -> Evidence | None:
    try:
        return evidence.read(project)
    except DigitsError:
        return None


def _next(judgement: Judgement) -> tuple[str, list[str]]:
    """What to do now, and by which commands."""
    if judgement.verdict == "promote":
        commands = ["digits models register", "digits models promote VERSION"]
        return "To release it, commit and merge it, then run", commands
    stale = any(finding.check == "belongs together" for finding in judgement.findings)
    if judgement.verdict == "cannot judge" and stale:
        return "To bring the results up to date, run", ["digits run"]
    return "", []


# what the gate doesn't say


def _together(project: Project, decided: decision.Decision) -> Iterator[Finding]:
    """What the results belong to, and whether the weights were tried out."""
    if not decided.challenger.weights:
        return
    here = any((project.root / path).is_file() for path in decided.challenger.weights)
    weights = "have the model card's SHA-256" if here else "are not on this disk"
    text = f"made from the data, code and parameters that are here, by dvc.lock; weights {weights}"
    yield Finding("belongs together", "pass", text)
    if not decided.tried:
        text = "not tried out: memory, speed and size are not judged; run 'digits gate'"
        yield Finding("clean process", "warning", text)


def _notes(sources: Sources) -> Iterator[Finding]:
    yield _validation(sources.validation)
    yield _generalisation(sources.metrics)
    yield _drift(sources.record.batches)


def _validation(report: Mapping[str, Any]) -> Finding:
    results = report.get("expectations", [])
    if "success" not in report:
        return Finding("data", "warning", "the data was not validated; run 'dvc repro validate'")
    failed = [result for result in results if not result.get("success")]
    if report["success"] and not failed:
        return Finding("data", "pass", f"all {len(results)} expectations on the data are met")
    return Finding("data", "fail", f"{len(failed)} of {len(results)} expectations are not met")


def _generalisation(metrics: Mapping[str, Any]) -> Finding:
    """Compare validation with test accuracy: two proportions, normal approximation."""
    check = "generalisation"
    val, test = metrics.get("val", {}), metrics.get("test", {})
    if not all(split.get(key) for split in (val, test) for key in ("n", "accuracy")):
        text = "validation and test accuracy are not known; run 'dvc repro evaluate'"
        return Finding(check, "warning", text)
    gap = val["accuracy"] - test["accuracy"]
    pooled = (val["accuracy"] * val["n"] + test["accuracy"] * test["n"]) / (val["n"] + test["n"])
    margin = _Z * math.sqrt(pooled * (1 - pooled) * (1 / val["n"] + 1 / test["n"]))
    relation = "lower" if gap > 0 else "higher"
    agree = abs(gap) <= margin
    what = "agree" if agree else f"differ: on test it is {relation}"
    status: Status = "pass" if agree else "warning"
    return Finding(
        check,
        status,
        f"validation accuracy {percent(val['accuracy'])} and test accuracy "
        f"{percent(test['accuracy'])} {what}; up to {100 * margin:.2f} points are sampling error",
    )


def _drift(batches: Mapping[str, Batch]) -> Finding:
    checked = {name: batch for name, batch in batches.items() if batch.drift_checked}
    if not checked:
        text = "no batch of handwriting was checked; add one with 'digits add PATH --name NAME'"
        return Finding("drift", "warning", text)
    total = "1 batch" if len(checked) == 1 else f"{len(checked):,} batches"
    drifted = [name for name, batch in checked.items() if batch.drift]
    if not drifted:
        return Finding("drift", "pass", f"no drift in {total} of handwriting")
    verb = "differs" if len(drifted) == 1 else "differ"
    names = ", ".join(drifted)
    text = f"{names} {verb} from the training data ({len(drifted)} of {total})"
    return Finding("drift", "warning", text)
