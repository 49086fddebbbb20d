"""This tree against another revision: what changed, and did anything get worse.

Only what git tracks is read, so a fresh clone without DVC's cache can be compared. Nothing here
prints: `digits.cli.compare` shows a `Comparison` on a terminal or as Markdown.
"""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from digits.core.errors import DataError, DigitsError, ParameterError
from digits.core.project import Project
from digits.versioning import dvc, git

MAIN = ("origin/main", "main")
_METRICS = "reports/metrics.json"
_MISTAKES = "reports/mistakes.csv"
_VALIDATION = "reports/validation.json"
_DRIFT = "reports/drift.json"
_PER_DIGIT = "test.per_digit."
_DIGIT_FIGURES = ("recall", "f1")
_ROUNDING = 1e-12  # 0.997 - 0.996 is a little more than 0.001
_LESS_IS_BETTER = ("error", "errors", "loss", "differing")

Outcome = Literal["same", "better", "worse", "regression", "changed"]


@dataclass(frozen=True)
class Row:
    """One metric of both sides; `tolerance` is None where any change is allowed."""

    name: str
    old: float | None
    new: float | None
    change: float | None
    tolerance: float | None
    outcome: Outcome


@dataclass(frozen=True)
class Significance:
    """McNemar's exact test on the same test images; all ids are indices into the test set."""

    newly_wrong: list[int]
    newly_right: list[int]
    p_value: float


@dataclass(frozen=True)
class Change:
    """A value of both sides: a parameter, a batch's drift verdict; None is absent."""

    name: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Comparison:
    """All that differs between `base` and this tree."""

    base: str  # as a person named it
    commit: str
    head: str  # the commit that this tree is checked out from
    comparable: bool  # False: the base has no metrics yet
    regressions: list[str]  # why the verdict is negative; empty when it isn't
    metrics: list[Row]
    digits: list[Row]
    significance: Significance | None
    not_tested: str  # why there is no significance, else empty
    parameters: list[Change]
    data: list[Change]
    drift: list[Change]
    validation: Change | None
    code: list[str]
    plots: list[str]
    stale: dict[str, list[str]]  # stages whose figures don't belong to the files in the tree


@dataclass(frozen=True)
class Reports:
    """What one side says of itself, as git tracks it."""

    metrics: dict[str, Any] | None
    mistakes: str | None
    validation: dict[str, Any]
    drift: dict[str, Any]
    data: dict[str, Any]
    lock: dict[str, Any]


def compare(project: Project, revision: str | None, tolerance: Mapping[str, float]) -> Comparison:
    """This working tree against `revision`, by default against where it left main.

    Args:
        tolerance: metric → by how much it may get worse before that is a regression.

    Raises:
        DigitsError: the revision is unknown, or this tree has no metrics.
        DataError: a report is damaged.
    """
    name, commit = _base(project, revision)
    old, new = _reports(project, commit), _reports(project, None)
    if new.metrics is None:
        raise DataError(f"{_METRICS}: not found or empty; run 'dvc repro' to make it")
    metrics = dvc.metrics_diff(project, commit, _METRICS) if old.metrics is not None else {}
    judged = judge(metrics, tolerance) if old.metrics is not None else []
    rows = [row for row in judged if not row.name.startswith(_PER_DIGIT)]
    validation = _validation(old, new)
    significance, not_tested = _significance(old, new)
    return Comparison(
        base=name,
        commit=commit,
        head=git.resolve(project, "HEAD"),
        comparable=old.metrics is not None,
        regressions=_reasons(rows, validation),
        metrics=rows,
        digits=per_digit(metrics),
        significance=significance,
        not_tested=not_tested,
        parameters=_parameters(dvc.params_diff(project, commit)),
        data=_differences(old.data, new.data),
        drift=_differences(_drift_verdicts(old.drift), _drift_verdicts(new.drift)),
        validation=validation,
        code=_changed_files(project, commit, "src", "flows"),
        plots=_changed_files(project, commit, "reports/plots"),
        stale=dvc.stale(project),
    )


def judge(metrics: Mapping[str, Any], tolerance: Mapping[str, float]) -> list[Row]:
    """One row a metric, those with a tolerance first.

    A metric with a tolerance that is gone is a regression: nobody gets rid of a bound by getting
    rid of its metric.

    Raises:
        ParameterError: a tolerance names a metric that neither side has.
    """
    for name in tolerance:
        if name not in metrics:
            known = ", ".join(sorted(one for one in metrics if _PER_DIGIT not in one))
            raise ParameterError(
                f"'compare.tolerance.{name}' in params.yaml: no such metric; there are {known}"
            )
    names = [*tolerance, *sorted(set(metrics) - set(tolerance))]
    return [_row(name, metrics[name], tolerance.get(name)) for name in names]


def per_digit(metrics: Mapping[str, Any]) -> list[Row]:
    """Each digit's recall and F1 where they changed, the largest change first."""
    rows = [
        _row(name.removeprefix(_PER_DIGIT), value, None)
        for name, value in metrics.items()
        if name.startswith(_PER_DIGIT) and name.endswith(_DIGIT_FIGURES)
    ]
    changed = [row for row in rows if row.outcome != "same"]
    return sorted(changed, key=lambda row: (-abs(row.change or 0.0), row.name))


def mcnemar(old: set[int], new: set[int]) -> Significance:
    """The exact test of whether two models err equally often on the same images.

    Only images that one got right and the other wrong count; were both equally good, each would
    fall either way like a fair coin (McNemar 1947, exact form: two-sided binomial test).

    Args:
        old: ids of the images that the old model gets wrong.
        new: ids of those that the new model gets wrong.
    """
    from scipy.stats import binomtest

    wrong, right = sorted(new - old), sorted(old - new)
    discordant = len(wrong) + len(right)
    p_value = float(binomtest(len(wrong), discordant, 0.5).pvalue) if discordant else 1.0
    return Significance(wrong, right, p_value)


# both sides


def _base(project: Project, revision: str | None) -> tuple[str, str]:
    if revision is not None:
        return revision, git.resolve(project, revision)
    for branch in MAIN:
        if found := git.merge_base(project, branch):
            return branch, found
    return "HEAD", git.resolve(project, "HEAD")


def _reports(project: Project, commit: str | None) -> Reports:
    """One side's reports; the working tree's without a commit."""
    metrics = _json(project, commit, _METRICS)
    return Reports(
        metrics=metrics or None,
        mistakes=_text(project, commit, _MISTAKES),
        validation=_json(project, commit, _VALIDATION),
        drift=_json(project, commit, _DRIFT),
        data=_data_version(project, commit),
        lock=_yaml(project, commit, "dvc.lock"),
    )


def _data_version(project: Project, commit: str | None) -> dict[str, Any]:
    """The pinned version of data/, by the names in data.dvc; empty without a data.dvc."""
    version = dvc.find_data_version(project, commit)
    if version is None:
        return {}
    return {"md5": version.md5, "nfiles": version.files, "size": version.size}


def _text(project: Project, commit: str | None, path: str) -> str | None:
    if commit is not None:
        return git.show(project, commit, path)
    file = project.root / path
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None


def _json(project: Project, commit: str | None, path: str) -> dict[str, Any]:
    try:
        document = json.loads(_text(project, commit, path) or "{}")
    except ValueError as exc:
        raise DataError(f"{_at(path, commit)}: not valid JSON ({exc})") from exc
    return _mapping(document, path, commit)


def _yaml(project: Project, commit: str | None, path: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(_text(project, commit, path) or "{}")
    except yaml.YAMLError as exc:
        raise DataError(f"{_at(path, commit)}: not valid YAML") from exc
    return _mapping(document, path, commit)


def _mapping(document: Any, path: str, commit: str | None) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise DataError(f"{_at(path, commit)}: expected a mapping, got {type(document).__name__}")
    return document


def _at(path: str, commit: str | None) -> str:
    return f"{path} at {commit[:7]}" if commit else path


def _changed_files(project: Project, commit: str, *folders: str) -> list[str]:
    arguments = ("diff", "--name-only", "--relative", "-z", commit, "--", *folders)
    return sorted(filter(None, git.run(project, *arguments).split("\0")))


# verdicts


def _row(name: str, values: Mapping[str, Any], tolerance: float | None) -> Row:
    old, new = _number(values.get("old")), _number(values.get("new"))
    change = None if old is None or new is None else new - old
    return Row(name, old, new, change, tolerance, _outcome(name, old, new, tolerance))


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and math.isfinite(value) else None


def _outcome(name: str, old: float | None, new: float | None, tolerance: float | None) -> Outcome:
    if old is None:
        return "same" if new is None else "changed"
    if new is None:
        return "changed" if tolerance is None else "regression"
    if old == new:
        return "same"
    if name == "n" or name.endswith(".n"):
        return "changed"
    loss = new - old if name.endswith(_LESS_IS_BETTER) else old - new
    if tolerance is not None and loss > tolerance + _ROUNDING:
        return "regression"
    return "better" if loss < 0 else "worse"


def _reasons(rows: list[Row], validation: Change | None) -> list[str]:
    reasons = [_reason(row) for row in rows if row.outcome == "regression"]
    if validation and validation.old is True and validation.new is not True:
        reasons.append("the data's validation succeeded before and fails now")
    return reasons


def _reason(row: Row) -> str:
    if row.new is None:
        return f"{row.name} was {row.old:.4f} and is no number now"
    return (
        f"{row.name} went from {row.old:.4f} to {row.new:.4f}; "
        f"{row.tolerance:g} is the most it may get worse"
    )


def _validation(old: Reports, new: Reports) -> Change | None:
    before, after = old.validation.get("success"), new.validation.get("success")
    return None if before == after else Change("success", before, after)


def _drift_verdicts(report: Mapping[str, Any]) -> dict[str, Any]:
    batches = report.get("batches")
    if not isinstance(batches, dict):
        return {}
    return {name: one.get("drift") for name, one in batches.items() if isinstance(one, dict)}


def _parameters(diff: Mapping[str, Any]) -> list[Change]:
    old = {name: values.get("old") for name, values in diff.items()}
    return _differences(old, {name: values.get("new") for name, values in diff.items()})


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    names = sorted({*old, *new})
    changes = [Change(name, old.get(name), new.get(name)) for name in names]
    return [change for change in changes if change.old != change.new]


# the paired test


def _significance(old: Reports, new: Reports) -> tuple[Significance | None, str]:
    if old.metrics is None or new.metrics is None:
        return None, "there is no figure to compare with"
    if not _same_test_set(old, new):
        return None, "the two sides were not tested on the same images"
    try:
        return mcnemar(_mistakes(old), _mistakes(new)), ""
    except DigitsError as exc:
        return None, str(exc)


def _same_test_set(old: Reports, new: Reports) -> bool:
    if _test(old).get("n") != _test(new).get("n"):
        return False
    images = _test_images(old.lock)
    if images and images == _test_images(new.lock):
        return True  # `data/` may have got new training data
    return old.data == new.data


def _test(reports: Reports) -> dict[str, Any]:
    test = (reports.metrics or {}).get("test")
    return test if isinstance(test, dict) else {}


def _test_images(lock: Mapping[str, Any]) -> dict[str, str]:
    """The digests of the test set's files, as far as `evaluate` reads them file by file."""
    stage = (lock.get("stages") or {}).get("evaluate") or {}
    files = {one.get("path", ""): one.get("md5", "") for one in stage.get("deps") or []}
    return {
        path: md5 for path, md5 in files.items() if path.startswith("build/") and "test" in path
    }


def _mistakes(reports: Reports) -> set[int]:
    """The ids of the misclassified test images; all of them or an error."""
    try:
        rows = list(csv.DictReader(io.StringIO(reports.mistakes or "")))
        found = {int(row["index"]) for row in rows}
        expected = round(_test(reports)["n"] * (1 - _test(reports)["accuracy"]))
    except (KeyError, TypeError, ValueError, csv.Error) as exc:
        raise DataError(f"{_MISTAKES} is missing or damaged on one side") from exc
    if len(found) != expected:
        raise DataError(f"{_MISTAKES} lists {len(found)} mistakes on one side, expected {expected}")
    return found
