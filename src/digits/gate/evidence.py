"""What a revision says of its model: the reports that git tracks, read as untrusted files."""

import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from digits.core.errors import DataError
from digits.core.project import Project
from digits.versioning import dvc, git
from digits.versioning.dvc import DataVersion

TEST = "test"
_DIGITS = [str(digit) for digit in range(10)]


@dataclass(frozen=True)
class Misread:
    """An image that a model gets wrong: its digit, what was read, how surely (0–1).

    `cell` is its place in the contact sheet of its kind, counted from 0.
    """

    label: int
    prediction: int
    confidence: float
    cell: int


@dataclass(frozen=True)
class ImageSet:
    """Labelled images that a model was tested on: the test set, or a batch of handwriting.

    `counts` is the number of images of each digit. `in_sample`
    is the number of images that the model was trained or chosen on. Sets with the same `digest`
    hold the same images.
    """

    name: str
    n: int
    digest: str
    counts: Mapping[int, int]
    in_sample: int
    misread: Mapping[int, Misread]  # by index in the set

    @property
    def accuracy(self) -> float:
        """The share of the images that are read correctly, 0–1."""
        return 1 - len(self.misread) / self.n

    def recall(self, digit: int) -> float:
        """The share of a digit's images that are read correctly, 0–1; 0 if it has none."""
        n = self.counts.get(digit, 0)
        wrong = sum(row.label == digit for row in self.misread.values())
        return 1 - wrong / n if n else 0.0


@dataclass(frozen=True)
class Evidence:
    """The reports of a revision; `commit` is None for the working tree.

    `problems` says why a report can't be used. Without metrics, `sets` is empty.
    """

    name: str
    commit: str | None
    metrics: Mapping[str, Any]
    card: Mapping[str, Any]
    drift: Mapping[str, Any]
    validation: Mapping[str, Any]
    params: Mapping[str, Any]
    data: DataVersion | None
    sets: Mapping[str, ImageSet]
    problems: list[str] = field(default_factory=list)

    @property
    def weights(self) -> dict[str, str]:
        """Weights file → SHA-256."""
        found = self.card.get("weights")
        return found if isinstance(found, dict) else {}


def read(project: Project, commit: str | None = None, name: str = "") -> Evidence:
    """The evidence of a commit, by default of the working tree.

    Args:
        name: what people call it; default: the abbreviated commit, or "working tree".
    """
    problems: list[str] = []

    def mapping(path: str) -> Mapping[str, Any]:
        try:
            return git.read_mapping(project, path, commit)
        except DataError as exc:
            problems.append(str(exc))
            return {}

    documents = {
        key: mapping(project.relative(path))
        for key, path in (
            ("metrics", project.metrics),
            ("card", project.model_card),
            ("drift", project.drift_report),
            ("validation", project.validation_report),
            ("params", project.params),
        )
    }
    sets = {}
    try:
        sets = {one.name: one for one in _sets(project, commit, documents["metrics"])}
    except DataError as exc:
        problems.append(str(exc))
    return Evidence(
        name=name or (commit[:7] if commit else "working tree"),
        commit=commit,
        data=dvc.find_data_version(project, commit),
        sets=sets,
        problems=problems,
        **documents,
    )


def at(document: Any, *path: str) -> Any:
    """What nested mappings hold under these keys; None if there is nothing."""
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def figure(document: Any, *path: str) -> float | None:
    """A finite number in nested mappings; None if there is none."""
    return _finite(at(document, *path))


def pair(document: Any, *path: str) -> tuple[float, float] | None:
    """The two numbers, such as an interval's ends, in nested mappings; None if there are none."""
    ends = at(document, *path)
    if not isinstance(ends, list) or len(ends) != 2:
        return None
    low, high = map(_finite, ends)
    return None if low is None or high is None else (low, high)


def _finite(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the range of floats
        return None


def _sets(project: Project, commit: str | None, metrics: Mapping[str, Any]) -> Iterator[ImageSet]:
    """The test set and every labelled batch.

    Raises:
        DataError: a table of misread images is missing, damaged or contradicts the metrics.
    """
    if not metrics:
        return
    path = project.relative(project.mistakes)
    test = _misread(path, git.read_text(project, path, commit))
    yield _set(path, TEST, metrics.get(TEST), test.get("", {}))
    batches = metrics.get("batches") or {}
    if not isinstance(batches, dict):
        raise DataError("reports/metrics.json: 'batches' is not a mapping")
    if batches:
        path = project.relative(project.batch_mistakes)
        table = _misread(path, git.read_text(project, path, commit))
        for name, figures in batches.items():
            yield _set(path, name, figures, table.get(name, {}))


def _set(path: str, name: str, figures: Any, misread: dict[int, Misread]) -> ImageSet:
    try:
        n, errors = int(figures["n"]), round(figures["n"] * (1 - figures["accuracy"]))
        digits = figures.get("per_digit") or {}
        counts = {int(digit): int(digits[digit]["n"]) for digit in _DIGITS if digit in digits}
        digest, in_sample = str(figures.get("digest", "")), int(figures.get("in_sample", 0))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as exc:
        raise DataError(f"reports/metrics.json: '{name}' lacks figures ({exc!r})") from exc
    if not n or len(misread) != errors or any(not 0 <= index < n for index in misread):
        raise DataError(
            f"{path} lists {len(misread)} misread images of '{name}', reports/metrics.json says "
            f"{errors} of {n}; run 'dvc repro evaluate'"
        )
    wrong = Counter(row.label for row in misread.values())
    if counts and (sum(counts.values()) != n or any(wrong[d] > counts[d] for d in counts)):
        raise DataError(
            f"reports/metrics.json: the digits of '{name}' don't add up; run 'dvc repro evaluate'"
        )
    return ImageSet(name, n, digest, counts, in_sample, misread)


def _misread(path: str, text: str | None) -> dict[str, dict[int, Misread]]:
    """Batch ("" for the test set) → index → misread image."""
    if text is None:
        raise DataError(f"{path}: not found; run 'dvc repro evaluate'")
    table: dict[str, dict[int, Misread]] = {}
    try:
        for cell, row in enumerate(csv.DictReader(text.splitlines())):
            found = Misread(
                int(row["label"]), int(row["prediction"]), float(row["confidence"]), cell
            )
            table.setdefault(row.get("batch") or "", {})[int(row["index"])] = found
    except (KeyError, TypeError, ValueError, csv.Error) as exc:
        raise DataError(f"{path}: damaged ({exc!r}); run 'dvc repro evaluate'") from exc
    return table
