"""Faults of batches of new handwriting, and of the files that they come in."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digits.core.errors import DataError
from digits.core.project import Project
from digits.data import handwriting, mnist
from digits.intake import intake
from digits.intake.judging import Readers
from digits.validation import checks
from faults import datasets, pictures
from faults.datasets import Arrays, Finding

Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], Arrays]


@dataclass(frozen=True)
class ArrayFault:
    """A fault of an .npz file; `says` must be in a message."""

    name: str
    change: Change
    says: str


@dataclass(frozen=True)
class FileFault:
    """A fault of files: `write` puts them into a folder and returns batch and labels."""

    name: str
    write: Callable[[Path, Arrays], tuple[Path, Path | None]]
    says: str


def check(project: Project, readers: Readers, path: Path, labels: Path | None = None) -> list[str]:
    """A line on each broken expectation, or on why the batch can't be read."""
    try:
        batch = intake.parse(path, labels)
        batch.check_labels(labels or path)
    except DataError as exc:
        return [str(exc)]
    report = intake.validate(project, batch, readers.read(batch.images))
    lines = [checks.describe(row) for row in report["expectations"] if not row["success"]]
    refused = [
        f"{len(batch.refused)} of {len(batch.images) + len(batch.refused)} quarantined: {r}"
        for _, r in batch.refused[:1]
    ]
    return lines + refused


def judge(fault: ArrayFault | FileFault, lines: list[str]) -> Finding:
    """Whether the messages name the fault, and count something."""
    named = [line for line in lines if fault.says in line]
    counted = any(any(character.isdigit() for character in line) for line in named)
    return Finding(lines, bool(named), counted, fault.says)


def save(path: Path, arrays: Arrays) -> Path:
    """Write an .npz file of images and labels."""
    np.savez(path, images=arrays[0], labels=arrays[1].astype(np.int64))
    return path


def array_faults(test_image: np.ndarray) -> list[ArrayFault]:
    """Faults of images and labels; `test_image` is one of MNIST's test set."""
    contradict, unsure = "model and witness contradict", "don't read alike and surely"
    found = [
        ArrayFault(
            "labels beyond 9",
            lambda i, la, r: (i, np.where(np.arange(len(la)) < 5, 11, la)),
            "every label is a digit",
        ),
        ArrayFault(
            "labels shifted by one",
            lambda i, la, r: (i, datasets.shift(la, r)),
            "all labels shifted",
        ),
        ArrayFault(
            "labels misaligned by a row",
            lambda i, la, r: (i, datasets.misalign(la, r)),
            "label of the",
        ),
        ArrayFault("two classes exchanged", lambda i, la, r: (i, datasets.swap(la, r)), contradict),
        ArrayFault(
            "5 % of labels permuted",
            lambda i, la, r: (i, datasets.permute(la, r, 0.05)),
            contradict,
        ),
        ArrayFault(
            "10 % of labels permuted",
            lambda i, la, r: (i, datasets.permute(la, r, 0.1)),
            contradict,
        ),
        ArrayFault(
            "rotated by 90°", lambda i, la, r: (np.rot90(i, 1, (1, 2)), la), "turned by 90°"
        ),
        ArrayFault("mirrored", lambda i, la, r: (i[:, :, ::-1], la), "mirrored"),
        ArrayFault("blank images", lambda i, la, r: (_with(i, 0), la), "no ink found"),
        ArrayFault("constant images", lambda i, la, r: (_with(i, 200), la), "no ink found"),
        ArrayFault("exact copies", lambda i, la, r: (_with(i, i[20]), la), "exact copy of another"),
        ArrayFault(
            "a test image", lambda i, la, r: (_with(i, test_image), la), "MNIST's test images"
        ),
        ArrayFault(
            "letters", lambda i, la, r: (pictures.printed(pictures.LETTERS, la, r), la), unsure
        ),
        ArrayFault(
            "Arabic digits",
            lambda i, la, r: (pictures.printed(pictures.ARABIC, la, r), la),
            contradict,
        ),
        ArrayFault("Devanagari digits", lambda i, la, r: (pictures.devanagari(la, r), la), unsure),
        ArrayFault("clothes", lambda i, la, r: (pictures.clothes(la, r), la), unsure),
    ]
    if kannada := pictures.kannada():
        found.append(
            ArrayFault(
                "Kannada digits",
                lambda i, la, r: (kannada[0][: len(i)], kannada[1][: len(i)]),
                unsure,
            )
        )
    return found


def file_faults() -> list[FileFault]:
    """Faults of files and tables."""
    return [
        FileFault("IDX cut off", _idx(lambda data: data[:-7]), "bytes, expected"),
        FileFault(
            "IDX header counts too many",
            _idx(lambda data: data[:4] + struct.pack(">I", 9999) + data[8:]),
            "9999",
        ),
        FileFault(
            "IDX labels of another length",
            _idx(lambda data: data, labels=5),
            "labels have shape (5,)",
        ),
        FileFault(
            "labels for half of the pictures",
            _table(lambda names, la: _rows(names[::2], la)),
            "pictures have no label",
        ),
        FileFault(
            "empty labels",
            _table(lambda names, la: _rows(names, ["" if n % 3 else x for n, x in enumerate(la)])),
            "pictures have no label",
        ),
        FileFault(
            "label NaN", _table(lambda names, la: _rows(names, ["NaN", *la[1:]])), "label is 'NaN'"
        ),
        FileFault(
            "a column missing",
            _table(lambda names, la: "filename\n" + "\n".join(names)),
            "expected filename and label",
        ),
        FileFault(
            "wrong encoding",
            _table(lambda names, la: _rows(names, la) + "schön.pgm,3\n", "latin-1"),
            "not a UTF-8 CSV table",
        ),
        FileFault(
            "a file named twice",
            _table(lambda names, la: _rows([*names, names[0]], [*la, la[0]])),
            "has a label already",
        ),
    ]


def _with(images: np.ndarray, value: np.ndarray | int) -> np.ndarray:
    images = images.copy()
    images[:3] = value
    return images


def _rows(names: list[str], labels: list[str]) -> str:
    rows = zip(names, labels, strict=False)
    return "filename,label\n" + "".join(f"{name},{label}\n" for name, label in rows)


def _idx(change: Callable[[bytes], bytes], labels: int | None = None):
    def write(folder: Path, arrays: Arrays) -> tuple[Path, Path | None]:
        path, table = folder / "images-idx3-ubyte", folder / "labels-idx1-ubyte"
        path.write_bytes(change(mnist.idx_bytes(arrays[0])))
        table.write_bytes(mnist.idx_bytes(arrays[1][:labels].astype(np.uint8)))
        return path, table

    return write


def _table(text: Callable[[list[str], list[str]], str], encoding: str = "utf-8"):
    def write(folder: Path, arrays: Arrays) -> tuple[Path, Path | None]:
        names = [f"{number:03d}.pgm" for number in range(40)]
        for name, image in zip(names, arrays[0], strict=False):
            (folder / name).write_bytes(handwriting.pgm(image))
        table = folder / "labels.csv"
        table.write_text(text(names, [str(label) for label in arrays[1][:40]]), encoding=encoding)
        return folder, table

    return write
