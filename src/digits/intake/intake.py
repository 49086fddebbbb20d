"""Adding a batch of handwriting: parse, quarantine, validate, check for drift, store.

A batch is stored as a whole or not at all. Accepted with labels, it becomes part of a new version
of data/; accepted without labels, it is stored in build/handwriting; rejected, nothing is stored.
Unreadable pictures are copied to build/quarantine/<name>/, with reasons.csv; the others are used.
"""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.core import files, locking, params
from digits.core.errors import DataError, PictureError
from digits.core.project import Project
from digits.data import handwriting
from digits.data.handwriting import Entry
from digits.drift.detector import REFERENCE, DriftDetector, DriftResult
from digits.images import decoding, glyphs
from digits.intake import judging, readers
from digits.validation import readings
from digits.validation.readings import Readings
from digits.versioning import dvc

if TYPE_CHECKING:
    import pandas as pd

_MAX_BATCH = 2 << 30  # bytes of pictures in one batch, all in memory at once
_MAX_QUARANTINE = 200 << 20  # bytes of refused pictures to copy
_EXAMPLES = 5  # pictures without a label that an error names
_NO_DIGIT = (
    "no digit that the model or the witness can read; check it, and add it again if it is one"
)

Progress = Callable[[int], None]  # gets the number of pictures done


@dataclass(frozen=True)
class ParsedBatch:
    """The usable pictures of a batch, and those that were refused.

    Attributes:
        images: uint8 `(n, 28, 28)`, in MNIST's form.
        labels: int64 `(n,)`, as given; None if any picture has none.
        entries: the original pictures; labels other than 0–9 are None.
        refused: name and reason of each picture that can't be read or has no ink.
        names: of the usable pictures, as in the folder or array.
        unlabelled: those without a label.
        total: pictures at the path; more than usable and refused ones, if some were drawn.
    """

    images: np.ndarray
    labels: np.ndarray | None
    entries: list[Entry]
    refused: list[tuple[str, str]]
    names: list[str]
    unlabelled: list[str]
    total: int

    def check_labels(self, path: Path) -> None:
        """Labels are for all pictures or for none.

        Raises:
            DataError: some have none; the message counts them.
        """
        missing, n = len(self.unlabelled), len(self.images)
        if 0 < missing < n:
            examples = ", ".join(self.unlabelled[:_EXAMPLES])
            raise DataError(
                f"{path}: {missing:,} of {n:,} pictures have no label, e.g. {examples}; label "
                "these, remove them, or add the pictures without any labels"
            )

    def without(self, rejected: np.ndarray, reason: str, path: Path) -> "ParsedBatch":
        """The batch with some pictures, bool `(n,)`, among the refused.

        Raises:
            DataError: no picture is left.
        """
        if rejected.all():
            raise DataError(f"{path}: no usable picture; {self.names[0]}: {reason}")
        kept = np.flatnonzero(~rejected)
        refused = [(self.names[row], reason) for row in np.flatnonzero(rejected)]
        return replace(
            self,
            images=self.images[kept],
            labels=None if self.labels is None else self.labels[kept],
            entries=[self.entries[row] for row in kept],
            names=[self.names[row] for row in kept],
            refused=self.refused + refused,
        )


@dataclass(frozen=True)
class IntakeResult:
    """The result of adding a batch.

    Attributes:
        accepted: valid, unless what is invalid are readings and these were accepted; and without
            drift, unless drift was accepted.
        validation: as returned by `expectations.validate_batch`.
        drift: None if drift was not checked, for the reason in `drift_skipped`.
        shares: if digits' shares have drifted, which digit's most.
        kept: where the batch is stored, relative to the project; None if it was rejected.
        data_version: DVC's hash of data/ with the batch; None if the batch isn't part of data/.
    """

    name: str
    n: int
    labelled: bool
    accepted: bool
    refused: list[tuple[str, str]]
    validation: dict[str, Any]
    drift: DriftResult | None
    drift_skipped: str | None
    shares: str | None
    kept: str | None
    data_version: str | None

    def as_dict(self) -> dict[str, Any]:
        """The result as plain types, for JSON."""
        return vars(self) | {
            "refused": [{"name": name, "reason": reason} for name, reason in self.refused],
            "drift": self.drift.as_dict() if self.drift else None,
        }


def parse(
    path: Path,
    labels: Path | None = None,
    writer: str = "",
    on_picture: Progress | None = None,
    at_most: int | None = None,
) -> ParsedBatch:
    """Read the pictures at a path and convert them to MNIST's form.

    Args:
        path, labels, writer, at_most: as for `readers.load`.

    Raises:
        DataError: no picture is usable, or there are too many.
    """
    images: list[np.ndarray] = []
    digits: list[int | None] = []
    entries: list[Entry] = []
    refused: list[tuple[str, str]] = []
    names: list[str] = []
    size, total = 0, 0
    for number, picture in enumerate(readers.load(path, labels, writer, at_most), 1):
        total = picture.total
        try:
            images.append(_image(picture))
            digits.append(picture.label)
            entries.append(_entry(picture, path))
            names.append(picture.name)
        except PictureError as exc:
            refused.append((picture.name, str(exc).removeprefix(f"{picture.name}: ")))
        size += len(picture.data)
        if size > _MAX_BATCH:
            raise DataError(f"{path}: more than {_MAX_BATCH >> 20:,} MiB of pictures; split it")
        if on_picture:
            on_picture(number)
    if not images:
        raise DataError(f"{path}: no usable picture; {refused[0][0]}: {refused[0][1]}")
    unlabelled = [name for name, digit in zip(names, digits, strict=True) if digit is None]
    labels_ = None if unlabelled else np.array(digits, dtype=np.int64)
    return ParsedBatch(np.stack(images), labels_, entries, refused, names, unlabelled, total)


def add(
    project: Project,
    path: Path,
    name: str,
    labels: Path | None = None,
    *,
    writer: str = "",
    accept_drift: bool = False,
    accept_labels: bool = False,
    on_picture: Progress | None = None,
) -> IntakeResult:
    """Check a batch, and store it if it is accepted; data/ changes only if it is labelled, too.

    Raises:
        DataError: the name is invalid or in use, data/ isn't complete, no picture is usable, or
            only some have labels.
        BusyError: the pipeline is running.
    """
    _check_target(project, name)
    batch = parse(path, labels, writer, on_picture)
    batch.check_labels(labels or path)
    reading = judging.Readers.load(project)
    seen = reading.read(batch.images)
    report = validate(project, batch, seen)
    valid = all(
        e["success"] or (accept_labels and e["suite"] == readings.SUITE)
        for e in report["expectations"]
    )
    if report["success"]:
        batch = batch.without(seen.no_digit(batch.labels), _NO_DIGIT, path)
    _quarantine(project.quarantine / name, path, batch.refused)
    drift, skipped = _check_drift(project, batch) if valid else (None, "data is invalid")
    accepted = valid and (accept_drift or not drift or drift.verdict == "none")
    folder, version = None, None
    if accepted and batch.labels is not None:
        folder = project.handwriting / name
        version = _store(project, folder, batch.entries)
    elif accepted:
        folder = project.build / "handwriting" / name
        handwriting.write(folder, batch.entries)
    return IntakeResult(
        name=name,
        n=len(batch.images),
        labelled=batch.labels is not None,
        accepted=accepted,
        refused=batch.refused,
        validation=report,
        drift=drift,
        drift_skipped=skipped,
        shares=_shares(project, batch, drift, reading),
        kept=project.relative(folder) if folder else None,
        data_version=version,
    )


def _image(picture: readers.Picture) -> np.ndarray:
    if picture.problem:
        raise PictureError(picture.problem)
    return glyphs.read(picture.data, picture.name).image


def _entry(picture: readers.Picture, path: Path) -> Entry:
    label = picture.label if picture.label in range(10) else None
    origin = picture.name if path.is_file() else f"{path.resolve().name}/{picture.name}"
    return Entry(picture.data, picture.suffix, label, picture.writer, origin)


def _check_target(project: Project, name: str) -> None:
    handwriting.check_name(name)
    if (project.handwriting / name).exists():
        raise DataError(
            f"{project.relative(project.handwriting / name)}: already exists; choose another name"
        )
    if not project.data_pointer.is_file() or not project.mnist.is_dir():
        raise DataError("data/ is not complete; run 'digits fetch', then add the batch")
    status = dvc.run(project, "status", "--json", project.data_pointer.name).strip()
    if status != "{}":
        raise DataError("data/ isn't the version that data.dvc pins; run 'digits fetch' first")


def _quarantine(folder: Path, path: Path, refused: list[tuple[str, str]]) -> None:
    """Copy the refused files to `folder` and list the reasons there; replaces the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    if not refused:
        return
    import pandas as pd

    root, free = path if path.is_dir() else path.parent, _MAX_QUARANTINE
    rows = []
    with files.replacing_folder(folder) as temporary:
        for number, (name, reason) in enumerate(refused):
            source, copy = root / name, ""
            size = source.stat().st_size if source.is_file() else 0
            if 0 < size <= min(free, decoding.MAX_BYTES):
                copy, free = f"{number:06d}{source.suffix.lower()}", free - size
                shutil.copyfile(source, temporary / copy)
            rows.append({"name": name, "reason": reason, "copy": copy})
        files.write_table(temporary / "reasons.csv", pd.DataFrame(rows))


def validate(project: Project, batch: ParsedBatch, seen: Readings) -> dict[str, Any]:
    """Check a batch against the expectations, as `expectations.validate_batch` returns them."""
    from digits.validation import expectations

    bounds = params.load(project.params).validate_
    index = _index(project, batch)
    judged = readings.suite(index["id"], batch.images, batch.labels, seen, bounds)
    more = [judged] if judged.expectations else []
    return expectations.validate_batch(index, batch.images, more)


def _index(project: Project, batch: ParsedBatch) -> "pd.DataFrame":
    """One row per image: id, sha256, label, and whether it is one of MNIST's test images."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "id": [entry.origin for entry in batch.entries],
            "sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in batch.images],
        }
    )
    if batch.labels is not None:
        table["label"] = batch.labels
    ingested = project.ingested / "index.parquet"
    if ingested.is_file():
        known = pd.read_parquet(ingested, columns=["split", "sha256"])
        table["in_test"] = table["sha256"].isin(known.loc[known["split"].eq("test"), "sha256"])
    return table


def _check_drift(project: Project, batch: ParsedBatch) -> tuple[DriftResult | None, str | None]:
    """The drift result, or None and why drift can't be checked."""
    if not (project.reference / REFERENCE).is_file() or not project.model_card.is_file():
        return None, "no model and reference window yet; run 'dvc repro'"
    detector = DriftDetector.load(project.root)
    return detector.check(batch.images, batch.labels), None


def _shares(
    project: Project, batch: ParsedBatch, drift: DriftResult | None, reading: judging.Readers
) -> str | None:
    """Which digit's share is farthest from the reference, if shares have drifted."""
    if not drift or drift.views["digits"] >= drift.alpha:
        return None
    labels = reading.digits(batch.images) if batch.labels is None else batch.labels
    return judging.unusual_shares(project, labels)


def _store(project: Project, folder: Path, entries: list[Entry]) -> str:
    """Write the batch to `folder` in data/ and return the new version; undone if it fails."""
    pointer = project.data_pointer.read_bytes()
    with locking.exclusive(project.state / "run.lock", f"digits add {folder.name}"):
        try:
            handwriting.write(folder, entries)
            dvc.run(project, "add", "--quiet", project.data.name)
        except BaseException:  # includes Ctrl-C
            shutil.rmtree(folder, ignore_errors=True)
            project.data_pointer.write_bytes(pointer)
            raise
    return dvc.data_version(project).md5
