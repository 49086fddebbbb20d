"""What a path holds: picture files, or an array of pictures as IDX, NumPy .npz or CSV, with labels.

Files come from outside: what they claim is checked against limits before memory is given to it.
Pictures are only read here, not decoded; `digits.images.glyphs` does that.
"""

import csv
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from digits.core.errors import DataError, PictureError
from digits.data import handwriting, mnist
from digits.images import decoding, glyphs

ARRAY_SUFFIXES = (".npz", ".csv")
_MAX_VALUES = 1 << 30  # bytes of an array
_MAX_SIDE = 4096  # px of a picture in an array
_MAX_TEXT = 1 << 30  # bytes of a CSV file
_MAX_LABELS = 64 << 20  # bytes of a table of labels
_PIXELS = glyphs.SIZE**2


@dataclass(frozen=True)
class Picture:
    """One picture as it came.

    Attributes:
        name: the file's path below the folder that was given, or its row in an array.
        data: the bytes of the file; of a row, those of a PGM file.
        label: what somebody said it shows; any whole number, None if nobody said.
        problem: why it can't be used; `data` is empty then.
    """

    name: str
    data: bytes
    suffix: str
    label: int | None = None
    writer: str = ""
    problem: str = ""


def find(path: Path) -> list[Path]:
    """The picture files at a path: the file itself, or those below a folder, sorted.

    Below a folder only files with a picture's suffix count; hidden ones, and symbolic links that
    lead out of the folder, don't.
    """
    if not path.is_dir():
        return [path]
    root = path.resolve()
    found = []
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file = Path(folder, name)
            if name.startswith(".") or file.suffix.lower() not in decoding.SUFFIXES:
                continue
            if file.is_file() and file.resolve().is_relative_to(root):
                found.append(file)
    return sorted(found)


def read_bytes(file: Path) -> bytes:
    """A picture file's bytes.

    Raises:
        PictureError: it can't be read, or is larger than a picture may be.
    """
    try:
        if not file.is_file():
            raise PictureError("not a file" if file.exists() else "no such file")
        size = file.stat().st_size
        if size > decoding.MAX_BYTES:
            raise PictureError(f"{size:,} bytes, at most {decoding.MAX_BYTES:,} are read")
        return file.read_bytes()
    except OSError as exc:
        raise PictureError(f"can't be read ({exc.strerror})") from exc


def load(path: Path, labels: Path | None = None, writer: str = "") -> Iterator[Picture]:
    """The pictures at a path, in order, with what is known of them.

    Args:
        path: a folder of pictures, a picture, an IDX file, an .npz file with `images` and perhaps
            `labels`, or a CSV of 28 × 28 pixels a row, with or without a label before them.
        labels: for pictures a CSV with the columns filename, label and perhaps writer; for an
            array an IDX file. Without it, folders named 0 to 9 label what is in them.
        writer: who wrote what no table names a writer for.

    Raises:
        DataError: there is nothing at the path, its form is none of these, or pictures and labels
            don't belong together.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if _is_array(path):
        yield from _rows(path, labels, writer)
    else:
        yield from _files(path, labels, writer)


def _is_array(path: Path) -> bool:
    if path.is_dir() or path.suffix.lower() in decoding.SUFFIXES:
        return False
    return path.suffix.lower() in ARRAY_SUFFIXES or _is_idx(path)


def _is_idx(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == b"\x00\x00\x08"


# files


def _files(path: Path, labels: Path | None, writer: str) -> Iterator[Picture]:
    root = path if path.is_dir() else path.parent
    files = {file.relative_to(root).as_posix(): file for file in find(path)}
    if not files:
        raise DataError(f"{path}: no pictures in it; expected {', '.join(decoding.SUFFIXES)}")
    table = _table(labels, list(files)) if labels else {}
    for name, file in files.items():
        label, by = table.get(name, (_folder_label(name) if not labels else None, ""))
        suffix = file.suffix.lower()
        try:
            yield Picture(name, read_bytes(file), suffix, label, by or writer)
        except PictureError as exc:
            yield Picture(name, b"", suffix, label, by or writer, str(exc))


def _folder_label(name: str) -> int | None:
    parts = name.split("/")
    folder = parts[-2] if len(parts) > 1 else ""
    return int(folder) if len(folder) == 1 and folder in "0123456789" else None


def _table(path: Path, names: list[str]) -> dict[str, tuple[int | None, str]]:
    """File → label and writer. Files may be named with or without their folders."""
    short: dict[str, list[str]] = {}
    for name in names:
        short.setdefault(name.rpartition("/")[2], []).append(name)
    known, found = set(names), {}
    for number, row in _table_rows(path):
        where = f"{path}: line {number}"
        name = row["filename"].replace("\\", "/").removeprefix("./")
        matches = [name] if name in known else short.get(name, [])
        if len(matches) != 1:
            problem = "stands for several pictures" if matches else "is none of the pictures"
            raise DataError(f"{where}: '{name}' {problem}; correct the table")
        if matches[0] in found:
            raise DataError(f"{where}: '{name}' has a label already; name each picture once")
        found[matches[0]] = (_label(row["label"], where), (row.get("writer") or "").strip())
    return found


def _table_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if path.is_file() and path.stat().st_size > _MAX_LABELS:
        raise DataError(f"{path}: larger than {_MAX_LABELS >> 20} MiB; not read")
    try:
        lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True)
        if not {"filename", "label"} <= set(lines.fieldnames or ()):
            raise DataError(
                f"{path}: columns are {lines.fieldnames}, expected filename and label in line 1"
            )
        for row in lines:
            if row["filename"] is None or row["label"] is None:
                raise DataError(f"{path}: line {lines.line_num}: expected filename and label")
            yield lines.line_num, row
    except OSError as exc:
        raise DataError(f"{path}: can't be read ({exc.strerror})") from exc
    except (csv.Error, UnicodeDecodeError) as exc:
        raise DataError(f"{path}: not a UTF-8 CSV table ({exc})") from exc


def _label(text: str, where: str) -> int | None:
    try:
        return int(text) if text.strip() else None
    except ValueError as exc:
        raise DataError(f"{where}: label is {text!r}, expected a digit, 0–9") from exc


# arrays


def _rows(path: Path, labels: Path | None, writer: str) -> Iterator[Picture]:
    read = {".npz": _npz, ".csv": _csv}.get(path.suffix.lower(), _idx)
    images, known = read(path)
    if labels:
        known = mnist.read_idx(labels).astype(np.int64)
    if known is not None and known.shape != (len(images),):
        raise DataError(
            f"{labels or path}: labels have shape {known.shape}, expected ({len(images)},): "
            "one an image"
        )
    for number, image in enumerate(images):
        label = None if known is None else int(known[number])
        yield Picture(f"{path.name}#{number}", handwriting.pgm(image), ".pgm", label, writer)


def _idx(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    images = mnist.read_idx(path)
    _check_images(path, images.shape, images.dtype)
    return images, None


def _csv(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    import pandas as pd

    if path.stat().st_size > _MAX_TEXT:
        raise DataError(f"{path}: larger than {_MAX_TEXT >> 20} MiB; split it")
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline(100_000).strip().split(",")
    header = None if all(cell.strip().isdigit() for cell in first) else 0
    expected = f"expected {_PIXELS} pixels a line, 0–255, or a label and {_PIXELS} pixels"
    if len(first) not in (_PIXELS, _PIXELS + 1):
        raise DataError(f"{path}: {len(first)} columns, {expected}")
    try:
        table = pd.read_csv(path, header=header, dtype=np.int64).to_numpy()
    except ValueError as exc:  # also pandas' own parser errors
        raise DataError(f"{path}: {' '.join(str(exc).split())}; {expected}") from exc
    pixels = table[:, -_PIXELS:]
    if table.shape[1] != len(first) or pixels.size == 0 or pixels.min() < 0 or pixels.max() > 255:
        raise DataError(f"{path}: {expected}")
    images = pixels.astype(np.uint8).reshape(-1, glyphs.SIZE, glyphs.SIZE)
    return images, table[:, 0] if len(first) > _PIXELS else None


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with zipfile.ZipFile(path) as archive:
            headers = _headers(path, archive)
            if "images" not in headers:
                raise DataError(f"{path}: holds {sorted(headers)}, expected 'images'")
            _check_images(path, *headers["images"])
            _check_labels(path, headers)
        with np.load(path, allow_pickle=False) as arrays:
            labels = arrays["labels"].astype(np.int64) if "labels" in headers else None
            return arrays["images"], labels
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as exc:
        raise DataError(f"{path}: not an .npz file of plain arrays ({exc})") from exc


def _headers(path: Path, archive: zipfile.ZipFile) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shape and type of each array, from the first bytes of its member; nothing is allocated."""
    headers = {}
    for name in ("images", "labels"):
        if f"{name}.npy" not in archive.namelist():
            continue
        with archive.open(f"{name}.npy") as member:
            version = np.lib.format.read_magic(member)
            if version == (1, 0):
                shape, _, kind = np.lib.format.read_array_header_1_0(member)
            elif version == (2, 0):
                shape, _, kind = np.lib.format.read_array_header_2_0(member)
            else:
                raise DataError(f"{path}: '{name}' has NumPy's format {version}, expected 1 or 2")
            headers[name] = shape, kind
    return headers


def _check_images(path: Path, shape: tuple[int, ...], kind: Any) -> None:
    if kind != np.uint8 or len(shape) != 3:
        raise DataError(f"{path}: images are {kind} {shape}, expected uint8 (n, height, width)")
    count, height, width = shape
    if not (count and 0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        raise DataError(f"{path}: images have shape {shape}, expected sides of 1 to {_MAX_SIDE} px")
    if count * height * width > _MAX_VALUES:
        raise DataError(f"{path}: {shape} are more than {_MAX_VALUES:,} bytes of images; split it")


def _check_labels(path: Path, headers: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
    if "labels" not in headers:
        return
    shape, kind = headers["labels"]
    if kind.kind not in "iu" or shape != headers["images"][0][:1]:
        raise DataError(f"{path}: labels are {kind} {shape}, expected whole numbers, one an image")
