"""What differs between two revisions apart from accuracy: parameters, data, code, curves, …

Everything is read from files that git tracks, as untrusted.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from digits.core.project import Project
from digits.gate.evidence import TEST, Evidence, figure
from digits.versioning import dvc, git

_CODE = ("src", "flows", "dvc.yaml", "requirements.lock", "pyproject.toml")
_NPY_HEADER = 128  # bytes before the labels, one byte each
_MAX_EPOCHS = 1_000
_SHOWN = (  # prefixes of metrics that are shown elsewhere
    *("batches.", "corrupted.", "test.per_digit."),
    *("test.accuracy", "test.calibration_error", "test.errors", "test.f1"),
)
CURVES = ("val/accuracy", "val/loss", "train/accuracy", "train/loss")


@dataclass(frozen=True)
class Change:
    """A value on both sides; None where it is missing."""

    name: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Differences:
    """What changed.

    `parameters` are those that a stage uses, `policy` those of the gate; `unused` counts others.
    `code` are changed files that a stage depends on, `other_code` the rest of the code. `confusion`
    has pairs "4 read as 9" that became more or less frequent, `corruptions` the error rates under
    MNIST-C, `metrics` all other figures, `curves` one value per epoch for each of `CURVES`.
    """

    parameters: list[Change]
    policy: list[Change]
    unused: int
    data: list[Change]
    counts: list[Change]
    drift: dict[str, Change]
    validation: list[Change]
    code: list[str]
    other_code: list[str]
    plots: list[str]
    confusion: list[Change]
    corruptions: list[Change]
    metrics: list[Change]
    curves: dict[str, Change]


def find(project: Project, commit: str, old: Evidence, new: Evidence) -> Differences:
    """Everything that differs from a commit.

    Raises:
        DataError: a dvc.lock is damaged.
    """
    locks = [_stages(project, side) for side in (commit, None)]
    used = [dict(_used(lock)) for lock in locks]
    params = [dict(dvc.flatten(one.params)) for one in (old, new)]
    others = [one for one in _changed(*params) if one.name not in used[0].keys() | used[1].keys()]
    policy = [one for one in others if one.name.startswith("gate.")]
    code, other_code = _code(project, commit, locks)
    return Differences(
        parameters=_changed(*used),
        policy=policy,
        unused=len(others) - len(policy),
        data=_changed(*({} if one.data is None else vars(one.data) for one in (old, new))),
        counts=_changed(*(dict(_counts(*side)) for side in zip((old, new), locks, strict=True))),
        drift=_drift(old, new),
        validation=_changed(*(dict(_expectations(one.validation)) for one in (old, new))),
        code=code,
        other_code=other_code,
        plots=git.changed_files(project, commit, "reports/plots"),
        confusion=_confusion(old, new),
        corruptions=_corruptions(old, new),
        metrics=_changed(*(_metrics(one) for one in (old, new))),
        curves={
            name: Change(name, *(_curve(project, name, side) for side in (commit, None)))
            for name in CURVES
        },
    )


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    changes = [Change(name, old.get(name), new.get(name)) for name in dict.fromkeys([*new, *old])]
    return [change for change in changes if change.old != change.new]


# parameters and code


def _stages(project: Project, commit: str | None) -> dict[str, Mapping[str, Any]]:
    stages = git.read_mapping(project, "dvc.lock", commit).get("stages")
    if not isinstance(stages, dict):
        return {}
    return {str(name): stage for name, stage in stages.items() if isinstance(stage, dict)}


def _used(stages: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The parameters that the stages ran with."""
    for stage in stages.values():
        files = stage.get("params")
        for values in files.values() if isinstance(files, dict) else ():
            yield from dvc.flatten(values if isinstance(values, dict) else {})


def _code(
    project: Project, commit: str, locks: Sequence[Mapping[str, Mapping[str, Any]]]
) -> tuple[list[str], list[str]]:
    """Changed files of code that stages depend on, and others."""
    deps = {path for stages in locks for stage in stages.values() for path in _dependencies(stage)}
    changed = git.changed_files(project, commit, *_CODE)
    used = [path for path in changed if any(_below(path, dep) for dep in deps)]
    return used, [path for path in changed if path not in set(used)]


def _dependencies(stage: Mapping[str, Any]) -> Iterator[str]:
    deps = stage.get("deps")
    for dep in deps if isinstance(deps, list) else ():
        if isinstance(dep, dict) and isinstance(dep.get("path"), str):
            yield dep["path"]


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


# data


def _counts(one: Evidence, stages: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The number of images of each split and batch; batches without labels, too."""
    deps = stages.get("train", {}).get("deps")
    for dep in deps if isinstance(deps, list) else ():
        if isinstance(dep, dict) and dep.get("path") == "build/splits/train-labels.npy":
            size = figure(dep, "size")
            yield "train", None if size is None else int(size) - _NPY_HEADER
    for split in ("val", TEST):
        yield split, figure(one.metrics, split, "n")
    for name in _batches(one):
        n = figure(one.metrics, "batches", name, "n")
        yield f"batch {name}", figure(one.drift, "batches", name, "n") if n is None else n


def _batches(one: Evidence) -> list[str]:
    """All batches of handwriting, with labels or without."""
    found = [document.get("batches") for document in (one.metrics, one.drift)]
    names = [name for batches in found if isinstance(batches, dict) for name in batches]
    return list(dict.fromkeys(names))


def _drift(old: Evidence, new: Evidence) -> dict[str, Change]:
    """Every batch's drift verdict (true, false or None), changed or not."""
    verdicts = []
    for one in (old, new):
        batches = one.drift.get("batches")
        known = batches.items() if isinstance(batches, dict) else ()
        verdicts.append({k: v.get("drift") if isinstance(v, dict) else None for k, v in known})
    names = dict.fromkeys([*_batches(new), *_batches(old)])
    return {name: Change(name, *(side.get(name) for side in verdicts)) for name in names}


def _expectations(report: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    rows = report.get("expectations")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict):
            yield str(row.get("says") or row.get("expectation")), row.get("success")


# results


def _confusion(old: Evidence, new: Evidence) -> list[Change]:
    """Pairs that became more or less frequent, the largest change first."""
    sides = [_pairs(one.metrics.get(TEST)) for one in (old, new)]
    changes = _changed(*sides) if all(sides) else []
    return sorted(changes, key=lambda one: (-abs(one.new - one.old), one.name))


def _pairs(test: Any) -> dict[str, int]:
    """The test set's images by what was written and what was read."""
    matrix = test.get("confusion") if isinstance(test, dict) else None
    if not isinstance(matrix, list) or len(matrix) != 10:
        return {}
    return {
        f"{true} read as {read}": count
        for true, row in enumerate(matrix)
        if isinstance(row, list) and len(row) == 10
        for read, count in enumerate(row)
        if true != read and isinstance(count, int)
    }


def _corruptions(old: Evidence, new: Evidence) -> list[Change]:
    """Each corruption's error rate, also where it is the same; the largest rise first."""
    sides = [dict(_rates(one.metrics.get("corrupted"))) for one in (old, new)]
    names = dict.fromkeys([*sides[1], *sides[0]])
    changes = [Change(name, *(side.get(name) for side in sides)) for name in names]
    return sorted(changes, key=lambda one: ((one.old or 0) - (one.new or 0), one.name))


def _rates(corrupted: Any) -> Iterator[tuple[str, float | None]]:
    for name in corrupted if isinstance(corrupted, dict) else ():
        if str(name).endswith("_error") and name != "mean_error":
            yield str(name).removesuffix("_error").replace("_", " "), figure(corrupted, name)


def _metrics(one: Evidence) -> dict[str, float]:
    """Every number that is not shown elsewhere."""
    numbers = dict(dvc.flatten(one.metrics))
    return {
        name: value
        for name, value in numbers.items()
        if not name.startswith(_SHOWN) and figure({"value": value}, "value") is not None
    }


def _curve(project: Project, name: str, commit: str | None) -> list[float]:
    """A metric after each epoch; empty if it isn't recorded."""
    path = f"{project.relative(project.training_curves)}/plots/metrics/{name}.tsv"
    rows = csv.DictReader((git.read_text(project, path, commit) or "").splitlines(), delimiter="\t")
    try:
        values = [float(row[name.partition("/")[2]]) for row in rows]
    except (KeyError, TypeError, ValueError, csv.Error):
        return []
    return values[:_MAX_EPOCHS] if all(map(math.isfinite, values)) else []
