"""Taking in new handwriting: parse, set aside what can't be used, validate, check for drift, keep.

A batch is kept as a whole or not at all: labelled and accepted, it makes a new version of data/;
accepted without labels it waits in build/handwriting; refused, nothing changes. What can't be read
is copied to build/quarantine/<name>/ with reasons.csv, and the rest goes on.
"""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.core import files, locking, params
from digits.core.errors import DataError, PictureError
from digits.core.project import Project
from digits.data import handwriting
from digits.data.handwriting import Entry
from digits.drift.detector import REFERENCE, DriftDetector
from digits.images import decoding, glyphs
from digits.intake import readers
from digits.versioning import dvc

if TYPE_CHECKING:
    import pandas as pd

    from digits.drift.detector import DriftResult

_MAX_BATCH = 2 << 30  # bytes of pictures in one batch, which are in memory together
_MAX_QUARANTINE = 200 << 20  # bytes of refused files that are copied

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Inspected:
    """What can be used of a batch, and what can't.

    Attributes:
        images: uint8 `(n, 28, 28)`, in MNIST's form.
        labels: int64 `(n,)`, as given, or None if a picture has none.
        entries: the pictures as they came; a label that is no digit is left out of them.
        refused: name and reason of each picture that can't be read or holds no ink.
    """

    images: np.ndarray
    labels: np.ndarray | None
    entries: list[Entry]
    refused: list[tuple[str, str]]


@dataclass(frozen=True)
class Intake:
    """What became of a batch.

    Attributes:
        accepted: valid, and without drift or with drift that was accepted.
        validation: as `expectations.validate_batch` returns it.
        drift: None if there is nothing to compare with; `drift_skipped` says why.
        kept: where the batch lies now, relative to the project; None if it was refused.
        data_version: DVC's hash of data/ with the batch; None if it is not part of data/.
    """

    name: str
    n: int
    labelled: bool
    accepted: bool
    refused: list[tuple[str, str]]
    validation: dict[str, Any]
    drift: "DriftResult | None"
    drift_skipped: str | None
    kept: str | None
    data_version: str | None

    def as_dict(self) -> dict[str, Any]:
        """For reports: plain types."""
        return vars(self) | {
            "refused": [{"name": name, "reason": reason} for name, reason in self.refused],
            "drift": self.drift.as_dict() if self.drift else None,
        }


def inspect(
    path: Path, labels: Path | None = None, writer: str = "", on_picture: Progress | None = None
) -> Inspected:
    """Read the pictures at a path and bring them to MNIST's form.

    Args:
        path, labels, writer: as for `pictures.load`.
        on_picture: called with the number of pictures done.

    Raises:
        DataError: there is nothing that can be read, or too much.
    """
    images: list[np.ndarray] = []
    known: list[int | None] = []
    entries: list[Entry] = []
    refused: list[tuple[str, str]] = []
    total = 0
    for number, picture in enumerate(readers.load(path, labels, writer), 1):
        try:
            images.append(_image(picture))
            known.append(picture.label)
            entries.append(_entry(picture, path))
        except PictureError as exc:
            refused.append((picture.name, str(exc).removeprefix(f"{picture.name}: ")))
        total += len(picture.data)
        if total > _MAX_BATCH:
            raise DataError(f"{path}: more than {_MAX_BATCH >> 20:,} MiB of pictures; split it")
        if on_picture:
            on_picture(number)
    if not images:
        raise DataError(f"{path}: no picture can be used; {refused[0][0]}: {refused[0][1]}")
    complete = None not in known
    return Inspected(
        np.stack(images), np.array(known, dtype=np.int64) if complete else None, entries, refused
    )


def take_in(
    project: Project,
    path: Path,
    name: str,
    labels: Path | None = None,
    *,
    writer: str = "",
    accept_drift: bool = False,
    on_picture: Progress | None = None,
) -> Intake:
    """Take a batch in, or say why not; data/ changes only if it is labelled and accepted.

    Raises:
        DataError: the name is no name or taken, data/ isn't complete, or nothing can be read.
        BusyError: the pipeline is running.
    """
    _check_target(project, name)
    inspected = inspect(path, labels, writer, on_picture)
    _quarantine(project.quarantine / name, path, inspected.refused)
    report = _validate(project, inspected)
    found, skipped = _drift(project, inspected) if report["success"] else (None, "data is invalid")
    accepted = bool(report["success"]) and (accept_drift or not (found and found.drift))
    kept, version = None, None
    if accepted and inspected.labels is not None:
        kept, version = project.handwriting / name, _keep(project, name, inspected.entries)
    elif accepted:
        kept = project.build / "handwriting" / name
        handwriting.write(kept, inspected.entries)
    return Intake(
        name=name,
        n=len(inspected.images),
        labelled=inspected.labels is not None,
        accepted=accepted,
        refused=inspected.refused,
        validation=report,
        drift=found,
        drift_skipped=skipped,
        kept=project.relative(kept) if kept else None,
        data_version=version,
    )


def _image(picture: readers.Picture) -> np.ndarray:
    if picture.problem:
        raise PictureError(picture.problem)
    return glyphs.normalise(decoding.decode(picture.data, picture.name), picture.name)


def _entry(picture: readers.Picture, path: Path) -> Entry:
    label = picture.label if picture.label in range(10) else None
    origin = picture.name if path.is_file() else f"{path.resolve().name}/{picture.name}"
    return Entry(picture.data, picture.suffix, label, picture.writer, origin)


def _check_target(project: Project, name: str) -> None:
    handwriting.check_name(name)
    if (project.handwriting / name).exists():
        raise DataError(
            f"{project.relative(project.handwriting / name)}: there is such a batch already; "
            "choose another --name"
        )
    if not project.data_pointer.is_file() or not project.mnist.is_dir():
        raise DataError("data/ is not complete; run 'digits fetch', then add the batch")
    changed = dvc.run(project, "status", "--json", project.data_pointer.name).strip()
    if changed != "{}":
        raise DataError("data/ isn't the version that data.dvc names; run 'digits fetch' first")


def _quarantine(folder: Path, path: Path, refused: list[tuple[str, str]]) -> None:
    """Copies of the refused files, and why; replaces what was there of this name."""
    shutil.rmtree(folder, ignore_errors=True)
    if not refused:
        return
    import pandas as pd

    root, left = path if path.is_dir() else path.parent, _MAX_QUARANTINE
    with files.replacing_folder(folder) as temporary:
        rows = []
        for number, (name, reason) in enumerate(refused):
            source, copy = root / name, ""
            size = source.stat().st_size if source.is_file() else 0
            if 0 < size <= min(left, decoding.MAX_BYTES):
                copy, left = f"{number:06d}{source.suffix.lower()}", left - size
                shutil.copyfile(source, temporary / copy)
            rows.append({"name": name, "reason": reason, "copy": copy})
        files.write_table(temporary / "reasons.csv", pd.DataFrame(rows))


def _validate(project: Project, inspected: Inspected) -> dict[str, Any]:
    from digits.validation import expectations

    return expectations.validate_batch(_index(project, inspected), inspected.images)


def _index(project: Project, inspected: Inspected) -> "pd.DataFrame":
    import pandas as pd

    table = pd.DataFrame(
        {
            "id": [entry.origin for entry in inspected.entries],
            "sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in inspected.images],
        }
    )
    if inspected.labels is not None:
        table["label"] = inspected.labels
    ingested = project.ingested / "index.parquet"
    if ingested.is_file():
        known = pd.read_parquet(ingested, columns=["split", "sha256"])
        table["in_test"] = table["sha256"].isin(known.loc[known["split"].eq("test"), "sha256"])
    return table


def _drift(project: Project, inspected: Inspected) -> "tuple[DriftResult | None, str | None]":
    """The verdict, or why there is none."""
    if not (project.reference / REFERENCE).is_file() or not project.model_card.is_file():
        return None, "no model and reference window yet; run 'dvc repro'"
    least = params.load(project.params).drift.min_count
    if len(inspected.images) < least:
        return None, f"fewer than {least} pictures ('drift.min_count' in params.yaml)"
    detector = DriftDetector.load(project.root)
    return detector.check(inspected.images, inspected.labels), None


def _keep(project: Project, name: str, entries: list[Entry]) -> str:
    """Write the batch into data/ and have DVC make it a version; all of it or nothing."""
    folder, pointer = project.handwriting / name, project.data_pointer.read_bytes()
    with locking.exclusive(project.state / "run.lock", f"digits add {name}"):
        try:
            handwriting.write(folder, entries)
            dvc.run(project, "add", "--quiet", project.data.name)
        except BaseException:  # Ctrl-C too
            shutil.rmtree(folder, ignore_errors=True)
            project.data_pointer.write_bytes(pointer)
            raise
    return dvc.data_version(project).md5
