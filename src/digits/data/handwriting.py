"""Batches of handwriting on disk: one archive and one index table per batch.

data/handwriting/<name>/pictures.tar holds the original picture files, so that an improved
normalisation can process old batches again; index.csv describes each picture. This module neither
decodes pictures nor decides which are accepted.
"""

import csv
import hashlib
import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digits.core import files
from digits.core.errors import DataError

_TAR, _INDEX = "pictures.tar", "index.csv"
_COLUMNS = ["id", "file", "label", "writer", "sha256", "origin"]
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_MAX_PICTURE = 20 << 20  # bytes
_MAX_ENTRIES = 1_000_000  # ids have six digits
_MAX_TEXT = 4096  # characters, the longest path on Linux
# control characters and lone surrogates, which file names may contain: written as escapes
_UNWRITABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_LABELS = {str(digit): digit for digit in range(10)}


@dataclass(frozen=True)
class Entry:
    """One picture of a batch.

    Attributes:
        picture: the bytes of the original file.
        suffix: of that file, lower case, with its dot.
        label: the digit it shows, None if unknown.
        writer: who wrote it, "" if unknown.
        origin: a file name or address from which a person can trace it.
    """

    picture: bytes
    suffix: str
    label: int | None
    writer: str
    origin: str


def check_name(name: str) -> str:
    """Return `name` if it is valid for a batch.

    Raises:
        DataError: it isn't 1 to 63 lower-case letters, digits and hyphens, the first no hyphen.
    """
    if not _NAME.fullmatch(name):
        raise DataError(
            f"batch name {name!r}: expected 1 to 63 of a-z, 0-9 and '-', starting with a letter "
            "or digit"
        )
    return name


def names(handwriting: Path) -> list[str]:
    """The sorted names of the batches in data/handwriting; empty if the folder is missing.

    Raises:
        DataError: a folder's name isn't valid for a batch.
    """
    if not handwriting.is_dir():
        return []
    folders = (path.name for path in handwriting.iterdir() if path.is_dir())
    return sorted(check_name(name) for name in folders if not name.startswith("."))


def pgm(image: np.ndarray) -> bytes:
    """Encode a grey picture, uint8 `(height, width)`, as a binary PGM file (P5)."""
    if image.dtype != np.uint8 or image.ndim != 2:
        raise DataError(f"a PGM holds uint8 (height, width), got {image.dtype} {image.shape}")
    height, width = image.shape
    return f"P5\n{width} {height}\n255\n".encode("ascii") + image.tobytes()


def write(folder: Path, entries: Iterable[Entry]) -> None:
    """Write a batch atomically, replacing the one in `folder`; same entries, same bytes.

    Raises:
        DataError: `read` would refuse an entry; nothing is written.
    """
    with (
        files.replacing_folder(folder) as temporary,
        tarfile.open(temporary / _TAR, "w:", format=tarfile.USTAR_FORMAT) as tar,
        (temporary / _INDEX).open("w", encoding="utf-8", newline="") as index,
    ):
        rows = csv.writer(index, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for number, entry in enumerate(entries):
            _check_entry(f"{folder}: entry {number}", number, entry)
            name = f"{number:06d}{entry.suffix}"
            member = tarfile.TarInfo(name)  # by default mtime, uid and gid 0, mode 0644
            member.size = len(entry.picture)
            tar.addfile(member, io.BytesIO(entry.picture))
            label = "" if entry.label is None else int(entry.label)
            digest = hashlib.sha256(entry.picture).hexdigest()
            writer, origin = _one_line(entry.writer), _one_line(entry.origin)
            rows.writerow([f"{number:06d}", name, label, writer, digest, origin])


def _one_line(text: str) -> str:
    return _UNWRITABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _check_entry(where: str, number: int, entry: Entry) -> None:
    if number >= _MAX_ENTRIES:
        raise DataError(f"{where}: a batch holds at most {_MAX_ENTRIES:,} pictures; split it")
    if len(entry.picture) > _MAX_PICTURE:
        raise DataError(
            f"{where}: has {len(entry.picture):,} bytes, expected at most {_MAX_PICTURE:,}"
        )
    if max(len(entry.writer), len(entry.origin)) > _MAX_TEXT:
        raise DataError(f"{where}: writer or origin has more than {_MAX_TEXT:,} characters")
    if entry.label is not None and entry.label not in range(10):
        raise DataError(f"{where}: label is {entry.label!r}, expected 0 to 9 or None")
    if not _SUFFIX.fullmatch(entry.suffix):
        raise DataError(f"{where}: suffix is {entry.suffix!r}, expected one like '.png'")


def read(folder: Path) -> Iterator[Entry]:
    """Iterate over the pictures of a batch, in order; nothing is unpacked to disk.

    Raises:
        DataError: during iteration: the batch is missing or damaged, or index and pictures
            don't match.
    """
    tar_path, index_path = folder / _TAR, folder / _INDEX
    for path in (tar_path, index_path):
        if not path.is_file():
            raise DataError(f"{path}: file not found; run 'digits fetch' or 'dvc pull'")
    try:
        with (
            tarfile.open(tar_path, "r:") as tar,
            index_path.open(encoding="utf-8", newline="") as index,
        ):
            yield from _read_entries(tar, tar_path, _rows(index, index_path))
    except tarfile.TarError as exc:
        raise DataError(f"{tar_path}: not a tar file ({exc}); fetch it again") from exc
    except (csv.Error, UnicodeDecodeError) as exc:
        raise DataError(f"{index_path}: not a UTF-8 CSV table ({exc}); fetch it again") from exc


def _rows(index: Iterable[str], path: Path) -> Iterator[dict[str, str]]:
    lines = csv.reader(index, strict=True)
    if (header := next(lines, [])) != _COLUMNS:
        raise DataError(f"{path}: columns are {header}, expected {_COLUMNS}")
    for number, values in enumerate(lines):
        where = f"{path}: row {number}"
        if number >= _MAX_ENTRIES:
            raise DataError(f"{where}: a batch holds at most {_MAX_ENTRIES:,} pictures")
        if len(values) != len(_COLUMNS):
            raise DataError(f"{where}: has {len(values)} values, expected {len(_COLUMNS)}")
        row = dict(zip(_COLUMNS, values, strict=True))
        if row["id"] != f"{number:06d}":
            raise DataError(f"{where}: id is {row['id']!r}, expected '{number:06d}'")
        suffix = row["file"].removeprefix(row["id"])
        if not row["file"].startswith(row["id"]) or not _SUFFIX.fullmatch(suffix):
            raise DataError(
                f"{where}: file is {row['file']!r}, expected one like '{row['id']}.png'"
            )
        if row["label"] not in _LABELS and row["label"]:
            raise DataError(f"{where}: label is {row['label']!r}, expected 0 to 9 or nothing")
        yield row


def _read_entries(
    tar: tarfile.TarFile, path: Path, rows: Iterator[dict[str, str]]
) -> Iterator[Entry]:
    for row in rows:
        if (member := tar.next()) is None:
            raise DataError(f"{path}: ends before {row['file']!r}, which {_INDEX} lists")
        picture = _read_member(tar, path, member, row)
        suffix, label = row["file"].removeprefix(row["id"]), _LABELS.get(row["label"])
        yield Entry(picture, suffix, label, row["writer"], row["origin"])
    if (extra := tar.next()) is not None:
        raise DataError(f"{path}: holds {extra.name!r}, which {_INDEX} does not list")


def _read_member(
    tar: tarfile.TarFile, path: Path, member: tarfile.TarInfo, row: dict[str, str]
) -> bytes:
    where = f"{path}: member {member.name!r}"
    if member.name != row["file"]:
        raise DataError(f"{where}: expected {row['file']!r}, as {_INDEX} lists")
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.pax_headers:
        raise DataError(f"{where}: not a regular file; expected ustar with regular files only")
    if not 0 <= member.size <= _MAX_PICTURE:
        raise DataError(f"{where}: has {member.size:,} bytes, expected at most {_MAX_PICTURE:,}")
    file = tar.extractfile(member)
    picture = file.read() if file else b""
    if (got := hashlib.sha256(picture).hexdigest()) != row["sha256"]:
        raise DataError(f"{where}: SHA-256 is {got}, expected {row['sha256']}; fetch it again")
    tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every header
    return picture


def uci_digits() -> list[Entry]:
    """The 1,797 real 8 × 8 digits by 43 writers that scikit-learn ships, white on black.

    Test set of Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI repository,
    1998, with ink rescaled from 0–16 to 0–255.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * 255 / 16).astype(np.uint8)
    return [
        Entry(pgm(image), ".pgm", int(label), writer="", origin="sklearn.datasets.load_digits")
        for image, label in zip(images, digits.target, strict=True)
    ]
