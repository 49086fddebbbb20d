"""Compare the working tree with another revision: what changed, and is anything worse?

Only files that git tracks are read, so a fresh clone without DVC's cache can be compared.
`digits.cli.compare` shows the result.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from digits.core.errors import DataError, ParameterError
from digits.core.project import Project
from digits.versioning import dvc, git

_MAIN_BRANCHES = ("origin/main", "main")
_METRICS = "reports/metrics.json"
_MISTAKES = "reports/mistakes.csv"
_PER_DIGIT = "test.per_digit."
_ROUNDING = 1e-12  # 0.997 - 0.996 is slightly more than 0.001
_LOWER_IS_BETTER = ("error", "errors", "loss", "differing")  # how such metrics' names end

Outcome = Literal["same", "better", "worse", "regression", "changed"]


@dataclass(frozen=True)
class MetricChange:
    """A metric on both sides; `tolerance` is None if it may change by any amount."""

    name: str
    old: float | None
    new: float | None
    change: float | None
    tolerance: float | None
    outcome: Outcome


@dataclass(frozen=True)
class Significance:
    """McNemar's exact test; images are given by their index in the test set."""

    newly_wrong: list[int]
    newly_right: list[int]
    p_value: float


@dataclass(frozen=True)
class Change:
    """A parameter or another value on both sides; None where it is missing."""

    name: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Comparison:
    """Everything that differs between the base revision and the working tree."""

    base: str  # as the user named it
    commit: str
    head: str  # the commit that is checked out
    comparable: bool  # False if the base has no metrics yet
    regressions: list[str]  # the reasons for a negative verdict
    metrics: list[MetricChange]
    digits: list[MetricChange]
    significance: Significance | None
    not_tested: str  # why there is no significance, else empty
    parameters: list[Change]
    data: list[Change]
    drift: list[Change]
    validation: Change | None
    code: list[str]
    plots: list[str]
    stale: dict[str, list[str]]  # stages whose outputs don't match the tree → what changed


def compare(project: Project, revision: str | None, tolerance: Mapping[str, float]) -> Comparison:
    """Compare the working tree with `revision`, by default the commit where it left main.

    Args:
        tolerance: metric → by how much it may get worse before that is a regression.

    Raises:
        DigitsError: the revision is unknown.
        DataError: the working tree has no metrics, or a report is damaged.
        ParameterError: a tolerance names an unknown metric.
    """
    base, commit = _base(project, revision)
    sides = (commit, None)  # None is the working tree
    old, new = (git.read_mapping(project, _METRICS, side) for side in sides)
    if not new:
        raise DataError(f"{_METRICS}: not found or empty; run 'dvc repro' to make it")
    diff = dvc.metrics_diff(project, commit, _METRICS) if old else {}
    judged = judge(diff, tolerance) if old else []
    metrics = [metric for metric in judged if not metric.name.startswith(_PER_DIGIT)]
    regressions = [_describe(metric) for metric in metrics if metric.outcome == "regression"]
    before, now = (
        git.read_mapping(project, "reports/validation.json", side).get("success") for side in sides
    )
    if before is True and now is not True:
        regressions.append("data validation succeeded before and fails now")
    significance, not_tested = _significance(project, commit, old, new)
    params = dvc.params_diff(project, commit).items()
    return Comparison(
        base=base,
        commit=commit,
        head=git.resolve(project, "HEAD"),
        comparable=bool(old),
        regressions=regressions,
        metrics=metrics,
        digits=per_digit(diff),
        significance=significance,
        not_tested=not_tested,
        parameters=_differences(
            {name: values.get("old") for name, values in params},
            {name: values.get("new") for name, values in params},
        ),
        data=_differences(*(_data_version(project, side) for side in sides)),
        drift=_differences(*(_drift_verdicts(project, side) for side in sides)),
        validation=None if before == now else Change("success", before, now),
        code=_changed_files(project, commit, "src", "flows"),
        plots=_changed_files(project, commit, "reports/plots"),
        stale=dvc.stale(project),
    )


def judge(metrics: Mapping[str, Any], tolerance: Mapping[str, float]) -> list[MetricChange]:
    """Judge each metric of `dvc.metrics_diff`; those with a tolerance come first.

    A metric with a tolerance that is missing now is a regression, so that a limit can't be escaped
    by removing its metric.

    Raises:
        ParameterError: a tolerance names a metric that neither side has.
    """
    for name in tolerance:
        if name not in metrics:
            known = ", ".join(sorted(metric for metric in metrics if _PER_DIGIT not in metric))
            raise ParameterError(
                f"'compare.tolerance.{name}' in params.yaml: unknown metric; known are {known}"
            )
    names = [*tolerance, *sorted(set(metrics) - set(tolerance))]
    return [_metric_change(name, metrics[name], tolerance.get(name)) for name in names]


def per_digit(metrics: Mapping[str, Any]) -> list[MetricChange]:
    """Each digit's recall and F1 score that changed, the largest change first."""
    changes = [
        _metric_change(name.removeprefix(_PER_DIGIT), values, None)
        for name, values in metrics.items()
        if name.startswith(_PER_DIGIT) and name.endswith(("recall", "f1"))
    ]
    changed = [change for change in changes if change.outcome != "same"]
    return sorted(changed, key=lambda change: (-abs(change.change or 0.0), change.name))


def mcnemar(old: set[int], new: set[int]) -> Significance:
    """Test whether two models are equally often wrong on the same images.

    Only images that exactly one model gets right count. If both models were equally good, either
    outcome would have probability 1/2 (McNemar 1947; exact form: two-sided binomial test).

    Args:
        old: indices of the images that the old model gets wrong.
        new: indices of the images that the new model gets wrong.
    """
    from scipy.stats import binomtest

    wrong, right = sorted(new - old), sorted(old - new)
    discordant = len(wrong) + len(right)
    p_value = float(binomtest(len(wrong), discordant).pvalue) if discordant else 1.0
    return Significance(wrong, right, p_value)


# both sides


def _base(project: Project, revision: str | None) -> tuple[str, str]:
    """The name and the commit hash of the revision to compare with."""
    if revision is None:
        for branch in _MAIN_BRANCHES:
            if commit := git.merge_base(project, branch):
                return branch, commit
        revision = "HEAD"
    return revision, git.resolve(project, revision)


def _data_version(project: Project, commit: str | None) -> dict[str, Any]:
    version = dvc.find_data_version(project, commit)
    return {"md5": version.md5, "nfiles": version.files, "size": version.size} if version else {}


def _drift_verdicts(project: Project, commit: str | None) -> dict[str, Any]:
    batches = git.read_mapping(project, "reports/drift.json", commit).get("batches")
    if not isinstance(batches, dict):
        return {}
    return {name: batch.get("drift") for name, batch in batches.items() if isinstance(batch, dict)}


def _changed_files(project: Project, commit: str, *folders: str) -> list[str]:
    names = git.run(project, "diff", "--name-only", "--relative", "-z", commit, "--", *folders)
    return sorted(filter(None, names.split("\0")))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    changes = [Change(name, old.get(name), new.get(name)) for name in sorted({*old, *new})]
    return [change for change in changes if change.old != change.new]


# metrics


def _metric_change(name: str, values: Mapping[str, Any], tolerance: float | None) -> MetricChange:
    old, new = _finite(values.get("old")), _finite(values.get("new"))
    change = None if old is None or new is None else new - old
    return MetricChange(name, old, new, change, tolerance, _outcome(name, old, new, tolerance))


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def _outcome(name: str, old: float | None, new: float | None, tolerance: float | None) -> Outcome:
    if old is None:
        return "same" if new is None else "changed"
    if new is None:
        return "changed" if tolerance is None else "regression"
    if old == new:
        return "same"
    if name == "n" or name.endswith(".n"):
        return "changed"
    loss = new - old if name.endswith(_LOWER_IS_BETTER) else old - new
    if tolerance is not None and loss > tolerance + _ROUNDING:
        return "regression"
    return "better" if loss < 0 else "worse"


def _describe(metric: MetricChange) -> str:
    """A regression in words."""
    if metric.new is None:
        return f"{metric.name} was {metric.old:.4f} and is not a number now"
    return (
        f"{metric.name} went from {metric.old:.4f} to {metric.new:.4f}; "
        f"it may get worse by {metric.tolerance:g} at most"
    )


# significance


def _significance(
    project: Project, commit: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[Significance | None, str]:
    """McNemar's test, given both sides' metrics, or the reason why it can't be made."""
    if not old:
        return None, "the base has no metrics"
    tests = [_test_metrics(old), _test_metrics(new)]
    if tests[0].get("n") != tests[1].get("n") or not _same_test_set(project, commit):
        return None, "the two sides were not tested on the same images"
    try:
        old_mistakes = _mistakes(project, commit, tests[0])
        return mcnemar(old_mistakes, _mistakes(project, None, tests[1])), ""
    except DataError as exc:
        return None, str(exc)


def _test_metrics(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    test = metrics.get("test")
    return test if isinstance(test, dict) else {}


def _same_test_set(project: Project, commit: str) -> bool:
    old, new = _test_files(project, commit), _test_files(project, None)
    if old and old == new:
        return True  # even if data/ has changed: it may have new training data
    return _data_version(project, commit) == _data_version(project, None)


def _test_files(project: Project, commit: str | None) -> dict[str, str]:
    """The test set's files in dvc.lock: path → MD5."""
    stages = git.read_mapping(project, "dvc.lock", commit).get("stages") or {}
    deps = (stages.get("evaluate") or {}).get("deps") or []
    digests = {dep.get("path", ""): dep.get("md5", "") for dep in deps}
    return {
        path: md5 for path, md5 in digests.items() if path.startswith("build/") and "test" in path
    }


def _mistakes(project: Project, commit: str | None, test: Mapping[str, Any]) -> set[int]:
    """The indices of all misclassified test images.

    Raises:
        DataError: the list is missing or damaged, or its length doesn't match the accuracy.
    """
    rows = csv.DictReader((git.read_text(project, _MISTAKES, commit) or "").splitlines())
    try:
        indices = {int(row["index"]) for row in rows}
        expected = round(test["n"] * (1 - test["accuracy"]))
    except (KeyError, TypeError, ValueError, csv.Error) as exc:
        raise DataError(f"{_MISTAKES} is missing or damaged on one side") from exc
    if len(indices) != expected:
        raise DataError(
            f"{_MISTAKES} lists {len(indices)} mistakes on one side, expected {expected}"
        )
    return indices
