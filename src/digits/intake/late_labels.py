"""Labels that arrive after a batch was checked: was the accuracy estimated well?

build/monitor has two files for each batch that was checked: <batch>.json with the verdict, and
<batch>.csv with the digit read in each picture that was looked at. Labels are attached to these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digits.core import files
from digits.core.errors import DataError
from digits.core.project import Project
from digits.data import mnist
from digits.drift import detector, workspace
from digits.intake import inbox, readers

_KEY = "labelled"


@dataclass(frozen=True)
class Comparison:
    """The estimate for a batch beside the truth; accuracies 0–1.

    Attributes:
        n: pictures with a label, of those that were looked at.
        accuracy, low, high: as measured, with the exact 95 % interval by chance.
        estimated_accuracy, estimated_low, estimated_high: as estimated before.
        error: estimated less measured.
        covered: whether the measured accuracy is in the estimated interval.
        lowest_tolerated: accuracy.
        harmful: whether `high` is below that.
        in_sample_share: of the pictures, those that the model was trained on.
    """

    batch: str
    n: int
    accuracy: float
    low: float
    high: float
    estimated_accuracy: float
    estimated_low: float
    estimated_high: float
    error: float
    covered: bool
    lowest_tolerated: float
    harmful: bool
    in_sample_share: float


def attach(project: Project, batch: str, path: Path) -> Comparison:
    """Attach labels to a batch that was checked, and compare the estimate with them.

    Args:
        batch: its name, as in the inbox.
        path: a CSV with columns filename and label, or for an array an IDX file of all its labels.

    Raises:
        DataError: no such batch was checked, the labels don't match its pictures, or none is 0–9.
    """
    document, table = _document(project, batch), _table(project, batch)
    labels = _labels(path, table["name"].tolist(), document)
    known = ~np.isnan(labels)
    if not known.any():
        raise DataError(f"{path}: has no label for any picture of {batch}")
    right = table["digit"].to_numpy()[known] == labels[known]
    low, high = detector.interval(int(right.sum()), len(right))
    accuracy, estimate = round(float(right.mean()), 6), document["estimated_accuracy"]
    limits = document["accuracy_low"], document["accuracy_high"]
    comparison = Comparison(
        batch=batch,
        n=len(right),
        accuracy=accuracy,
        low=low,
        high=high,
        estimated_accuracy=estimate,
        estimated_low=limits[0],
        estimated_high=limits[1],
        error=round(estimate - accuracy, 6),
        covered=limits[0] <= accuracy <= limits[1],
        lowest_tolerated=round(document["reference_accuracy"] - document["tolerance"], 6),
        harmful=detector.loses(high, document["reference_accuracy"], document["tolerance"]),
        in_sample_share=document["in_sample_share"],
    )
    table["label"] = pd.array(np.where(known, labels, np.nan), dtype="Int64")
    files.write_table(inbox.results(project) / f"{batch}.csv", table)
    kept = {**document, "accuracy": accuracy, _KEY: vars(comparison)}
    files.write_json(inbox.results(project) / f"{batch}.json", kept)
    workspace.add_measured(project, batch, document, accuracy)
    return comparison


def comparisons(project: Project) -> list[Comparison]:
    """All comparisons so far, by name of the batch."""
    documents = (files.read_json(path) for path in sorted(inbox.results(project).glob("*.json")))
    return [Comparison(**one[_KEY]) for one in documents if one.get(_KEY)]


def old_results(project: Project, since: datetime) -> list[Path]:
    """Files in build/monitor of batches without labels, if all of a batch's are older than `since`.

    Estimates beside the truth are kept: they tell how far estimates can be trusted.
    """
    batches: dict[str, list[Path]] = {}
    for path in sorted(inbox.results(project).glob("*.*")):
        batches.setdefault(path.stem, []).append(path)
    old: list[Path] = []
    for paths in batches.values():
        if max(path.stat().st_mtime for path in paths) < since.timestamp() and not any(
            path.suffix == ".json" and files.read_json(path).get(_KEY) for path in paths
        ):
            old += paths
    return old


def trust(compared: Sequence[Comparison]) -> dict[str, Any]:
    """How far the estimates can be trusted: number of batches, mean absolute error, coverage."""
    outside = [one for one in compared if one.in_sample_share == 0] or list(compared)
    return {
        "batches": len(outside),
        "mean_absolute_error": round(float(np.mean([abs(one.error) for one in outside])), 6),
        "covered": sum(one.covered for one in outside),
    }


def _document(project: Project, batch: str) -> dict[str, Any]:
    names = sorted(path.stem for path in inbox.results(project).glob("*.csv"))
    if batch not in names:
        checked = f"checked so far: {', '.join(names)}" if names else "none was checked so far"
        raise DataError(f"{batch}: no such batch; {checked}")
    return dict(files.read_json(inbox.results(project) / f"{batch}.json"))


def _table(project: Project, batch: str) -> pd.DataFrame:
    """The pictures that were looked at: `name`, `digit`, `confidence`."""
    path = inbox.results(project) / f"{batch}.csv"
    try:
        return pd.read_csv(path, dtype={"name": str, "digit": int}, keep_default_na=False)
    except (ValueError, OSError) as exc:
        raise DataError(f"{path}: damaged ({exc}); check the batch again") from exc


def _labels(path: Path, names: list[str], document: dict[str, Any]) -> np.ndarray:
    """A label for each name, NaN where there is none, float `(n,)`.

    Raises:
        DataError: labels and pictures don't match, or a label isn't 0–9.
    """
    if readers.is_idx(path):
        labels = _of_array(mnist.read_idx(path), path, names, document)
    else:
        refused = [one["file"] for one in document["refused"]]
        everything = document["tested"] == document["n"]
        table = readers.read_labels(path, [*names, *refused], strict=everything)
        found = [table.get(name, (None, ""))[0] for name in names]
        labels = np.array([np.nan if label is None else label for label in found], float)
    wrong = np.flatnonzero(~np.isnan(labels) & ~np.isin(labels, range(10)))
    if len(wrong):
        raise DataError(
            f"{path}: {len(wrong):,} labels aren't 0–9, e.g. {labels[wrong[0]]:.0f} of "
            f"{names[wrong[0]]}"
        )
    return labels


def _of_array(
    values: np.ndarray, path: Path, names: list[str], document: dict[str, Any]
) -> np.ndarray:
    """The labels of the rows of an array that were looked at, whose names end in '#row'."""
    total = document["pictures"]
    rows = np.array([int(row) if row.isdecimal() else -1 for row in _after_hash(names)])
    if values.shape != (total,) or rows.min() < 0 or rows.max() >= total:
        raise DataError(
            f"{path}: labels have shape {values.shape}, expected one for each of the {total:,} "
            "rows of an array"
        )
    return values[rows].astype(float)


def _after_hash(names: list[str]) -> list[str]:
    return [name.rpartition("#")[2] for name in names]
