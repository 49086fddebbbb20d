"""Is what is committed what this commit produces? The working tree's results against HEAD's.

The tree holds what this machine built, HEAD what somebody committed. If the inputs are the same,
the bytes should be, too: `train.arithmetic: portable` gives equal bytes on every x86-64 CPU with
AVX. Elsewhere (GPU, ARM, `fast`) results differ in rounding and are equivalent if they pass the
rule below, whose thresholds are constants of this module.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from digits.core import files
from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.gate import evidence, paired
from digits.gate.changes import compare_sets
from digits.gate.evidence import TEST, Evidence, ImageSet
from digits.versioning import consistency, dvc, git
from digits.versioning.consistency import Consistency, listed

MIN_AGREEMENT = 0.995  # share of test images with the same prediction; two seeds agree on 0.997
MIN_P_VALUE = 0.05  # of McNemar's test
RESTORE = "git checkout -- dvc.lock reports"
_METRICS = ("accuracy", "precision", "recall", "f1")
_NEUTRAL = {"train.arithmetic"}  # parameters that change rounding alone

Verdict = Literal["same", "equivalent", "different"]


@dataclass(frozen=True)
class Verification:
    """The verdict, and why.

    `changed_inputs` are parameters, data and code that differ from the commit's: then its results
    can't be expected. `agreement` (0–1) and `p_value` are None where nothing had to be compared.
    """

    verdict: Verdict
    commit: str
    reasons: list[str]
    changed_inputs: list[str] = field(default_factory=list)
    changed_outputs: list[str] = field(default_factory=list)
    agreement: float | None = None
    p_value: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields, for `--json`."""
        return asdict(self)

    def summary(self) -> str:
        """One or two sentences on how the tree's results relate to the commit's."""
        commit = self.commit[:7]
        if self.verdict == "same":
            return f"Rebuilt: the same bytes as commit {commit}."
        if self.changed_inputs:
            return f"New results: {listed(self.changed_inputs)} differ from commit {commit}."
        if self.verdict == "equivalent":
            return (
                f"The figures equal those of commit {commit} within chance, but not byte for byte: "
                "this machine (GPU, ARM) or 'train.arithmetic: fast' rounds differently. There is "
                f"nothing to commit; '{RESTORE}' restores the committed results."
            )
        return f"Different from commit {commit}: {self.reasons[0]}."


def verify(
    project: Project, revision: str = "HEAD", checked: Consistency | None = None
) -> Verification:
    """Compare what is built in the working tree with what is committed at a revision.

    Args:
        checked: the tree's consistency, if it is known already.

    Raises:
        DigitsError: the revision is unknown, or one of the two has no results.
    """
    commit = git.resolve(project, revision)
    new, old = _lock(project, None), _lock(project, commit)
    _require_weights(project)
    if problems := (checked or consistency.check(project)).problems:
        return Verification("different", commit, problems)
    inputs = _differing(_inputs(old), _inputs(new))
    outputs = _differing(_outputs(old), _outputs(new))
    outputs += [
        path
        for path in git.changed_files(project, commit, *_outputs(new))
        if not any(path == out or path.startswith(f"{out}/") for out in outputs)
    ]
    if inputs:
        reason = f"the inputs are not those of the commit: {listed(inputs)}"
        return Verification("different", commit, [reason], inputs, outputs)
    if not outputs:
        return Verification("same", commit, ["every output has the bytes that are committed"])
    return _equivalence(project, commit, outputs)


def _equivalence(project: Project, commit: str, outputs: list[str]) -> Verification:
    """Whether results with other bytes differ by no more than chance."""
    mine, theirs = evidence.read(project), evidence.read(project, commit)
    # reports that aren't what the commit's own dvc.lock records were written by somebody else
    damaged = [*consistency.check(project, commit).problems, *theirs.problems, *mine.problems]
    if not damaged and (TEST not in mine.sets or mine.sets.keys() != theirs.sets.keys()):
        damaged.append("other sets of images were tested")
    if damaged:
        reasons = [f"what is committed doesn't belong together: {one}" for one in damaged]
        return Verification("different", commit, reasons, [], outputs)
    reasons = list(_differing_figures(mine, theirs))
    old, new = theirs.sets[TEST], mine.sets[TEST]
    agreement = 1 - _disagreeing(old, new) / old.n
    p_value = paired.mcnemar(
        len(new.misread.keys() - old.misread.keys()), len(old.misread.keys() - new.misread.keys())
    )
    if agreement < MIN_AGREEMENT:
        reasons.append(f"{agreement:.2%} equal predictions, at least {MIN_AGREEMENT:.1%} expected")
    if p_value < MIN_P_VALUE:
        reasons.append(f"McNemar's test: p = {p_value:.3g}, at least {MIN_P_VALUE} expected")
    verdict: Verdict = "different" if reasons else "equivalent"
    if not reasons:
        reasons = [
            f"{agreement:.2%} of the predictions are equal, McNemar's p = {p_value:.2g}, and "
            f"{', '.join(_METRICS)} lie within the committed intervals"
        ]
    return Verification(verdict, commit, reasons, [], outputs, round(agreement, 6), p_value)


def _differing_figures(mine: Evidence, theirs: Evidence) -> Iterator[str]:
    """Figures on the test set outside the committed intervals, and batches read otherwise."""
    for metric in _METRICS:
        value = evidence.figure(mine.metrics, TEST, metric)
        interval = evidence.pair(theirs.metrics, TEST, f"{metric}_interval")
        if value is None or interval is None:
            yield f"{metric} or its committed interval is missing"
        elif not interval[0] <= value <= interval[1]:
            low, high = interval
            yield f"{metric} is {value:.4f}, outside the committed {low:.4f}–{high:.4f}"
    changes = compare_sets(theirs, mine, 1 - MIN_P_VALUE)
    for name in mine.sets:
        if name not in changes:
            yield f"'{name}' has other images"
        elif name != TEST and changes[name].outcome in ("better", "worse"):
            old, new = changes[name].old, changes[name].new
            yield f"accuracy on batch '{name}' is {new:.4f}, committed is {old:.4f}"


def _disagreeing(old: ImageSet, new: ImageSet) -> int:
    """How many images got another prediction; what isn't misread is read as its label."""

    def read(one: ImageSet, index: int) -> int | None:
        return one.misread[index].prediction if index in one.misread else None

    return sum(read(old, index) != read(new, index) for index in {*old.misread, *new.misread})


def _require_weights(project: Project) -> None:
    card = files.read_json(project.model_card)
    if missing := [name for name in card["weights"] if not (project.root / name).is_file()]:
        raise DigitsError(f"{missing[0]}: not found; run 'digits run' to build it")


def _lock(project: Project, commit: str | None) -> dict[str, Any]:
    """The stages of dvc.lock, in the tree or at a commit."""
    stages = git.read_mapping(project, "dvc.lock", commit).get("stages")
    if not stages:
        where = f"commit {commit[:7]}" if commit else "the working tree"
        raise DigitsError(f"{where} has no results (dvc.lock); run 'digits run' and commit them")
    return dict(stages)


def _outputs(stages: Mapping[str, Any]) -> dict[str, Any]:
    return {
        out["path"]: out.get("md5") for stage in stages.values() for out in stage.get("outs", ())
    }


def _inputs(stages: Mapping[str, Any]) -> dict[str, Any]:
    """What no stage makes: path or parameter → digest or value."""
    made = _outputs(stages)
    found: dict[str, Any] = {}
    for name, stage in stages.items():
        for dep in stage.get("deps", ()):
            if not any(dep["path"] == path or dep["path"].startswith(f"{path}/") for path in made):
                found[dep["path"]] = dep.get("md5")
        for values in stage.get("params", {}).values():
            found |= dict(dvc.flatten(values))
        found[f"command of {name}"] = stage.get("cmd")
    return {key: value for key, value in found.items() if key not in _NEUTRAL}


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
