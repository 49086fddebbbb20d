"""Reading pictures and labels: from picture files, or from arrays in IDX, NumPy .npz or CSV files.

The files are untrusted: sizes that they claim are checked before memory is allocated. Pictures are
decoded later, by `digits.images.decoding`.
"""

import csv
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from digits.core.errors import DataError, PictureError
from digits.data import handwriting, mnist
from digits.images import decoding, glyphs

_MAX_ARRAY = 1 << 30  # bytes of an array
_MAX_SIDE = 4096  # px of a picture in an array
_MAX_CSV = 1 << 30  # bytes of a CSV file with pixels
_CSV_ROWS = 10_000  # read at once
_READ_AT_ONCE = 1000  # images of a compressed array
_MAX_LABELS = 64 << 20  # bytes of a table of labels
_PIXELS = glyphs.SIZE**2

_Header = tuple[tuple[int, ...], np.dtype]  # shape and type of an array
_NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class Picture:
    """One picture, not yet decoded.

    Attributes:
        name: path below the given folder, or file name and row of an array.
        data: the file's bytes; for a row of an array, those of a PGM file.
        label: any integer, as given; None without a label.
        problem: why the picture can't be used; `data` is empty then.
        total: pictures where this one comes from; more than were loaded, if some were drawn.
    """

    name: str
    data: bytes
    suffix: str
    label: int | None = None
    writer: str = ""
    problem: str = ""
    total: int = 1


def picture_files(path: Path) -> list[Path]:
    """The picture files at a path: the file itself, or those below a folder, sorted.

    Below a folder, files count if they have a picture's suffix, aren't hidden and aren't symbolic
    links to something outside the folder.
    """
    if not path.is_dir():
        return [path]
    root = path.resolve()
    return sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in decoding.SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and file.is_file()
        and file.resolve().is_relative_to(root)
    )


def read_bytes(file: Path) -> bytes:
    """The bytes of a picture file.

    Raises:
        PictureError: it can't be read, or is too large.
    """
    try:
        if not file.is_file():
            raise PictureError("not a file" if file.exists() else "file not found")
        size = file.stat().st_size
        if size > decoding.MAX_BYTES:
            raise PictureError(f"{size:,} bytes, expected at most {decoding.MAX_BYTES:,}")
        return file.read_bytes()
    except OSError as exc:
        raise PictureError(f"can't be read ({exc.strerror})") from exc


def load(
    path: Path, labels: Path | None = None, writer: str = "", at_most: int | None = None
) -> Iterator[Picture]:
    """Yield the pictures at a path with their labels and writers, in order.

    Args:
        path: a folder of pictures, a picture, an IDX file, an .npz file with `images` and
            optionally `labels`, or a CSV with 28 × 28 pixels per row, optionally after a label.
        labels: for pictures a CSV with columns filename, label and optionally writer; for an array
            an IDX file. Without it, folders named 0 to 9 label the pictures in them.
        writer: the writer of pictures for which `labels` names none.
        at_most: of more pictures as many are drawn at random, and others aren't kept in memory.

    Raises:
        DataError: nothing is at the path, its format is none of these, or labels and pictures
            don't match.
    """
    if not path.exists():
        raise DataError(f"{path}: file or folder not found")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in decoding.SUFFIXES:
        yield from _load_files(path, labels, writer, at_most)
    elif suffix == ".npz":
        yield from _load_array(path, _read_npz(path, at_most), labels, writer)
    elif suffix == ".csv":
        yield from _load_array(path, _read_csv(path, at_most), labels, writer)
    elif is_idx(path):
        yield from _load_array(path, _read_idx(path, at_most), labels, writer)
    else:  # a picture, to judge by its content
        yield from _load_files(path, labels, writer, at_most)


def _drawn(count: int, at_most: int | None) -> np.ndarray:
    """Which of `count` pictures to load, ascending: all, or as many as allowed, at random."""
    if at_most is None or count <= at_most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, at_most, replace=False))


# picture files


def _load_files(
    path: Path, labels: Path | None, writer: str, at_most: int | None
) -> Iterator[Picture]:
    root = path if path.is_dir() else path.parent
    files = {file.relative_to(root).as_posix(): file for file in picture_files(path)}
    if not files:
        raise DataError(f"{path}: contains no pictures; expected {', '.join(decoding.SUFFIXES)}")
    table = read_labels(labels, list(files)) if labels else {}
    names = list(files)
    for number in _drawn(len(names), at_most):
        name = names[number]
        file = files[name]
        label, named_writer = table.get(name, (None if labels else _folder_label(name), ""))
        try:
            data, problem = read_bytes(file), ""
        except PictureError as exc:
            data, problem = b"", str(exc)
        suffix, total = file.suffix.lower(), len(names)
        yield Picture(name, data, suffix, label, named_writer or writer, problem, total)


def _folder_label(name: str) -> int | None:
    folder = PurePosixPath(name).parent.name
    return int(folder) if folder in tuple("0123456789") else None


def read_labels(
    path: Path, pictures: list[str], strict: bool = True
) -> dict[str, tuple[int | None, str]]:
    """Picture → label and writer. The table may leave out the folders of unique file names.

    Args:
        path: a CSV with columns filename, label and optionally writer.
        strict: a name that none of the pictures has is an error, instead of being skipped.

    Raises:
        DataError: the table is damaged, ambiguous, or names a picture twice.
    """
    by_file_name: dict[str, list[str]] = {}
    for name in pictures:
        by_file_name.setdefault(name.rpartition("/")[2], []).append(name)
    known, labels = set(pictures), {}
    for number, row in _label_rows(path):
        where = f"{path}: line {number}"
        name = row["filename"].replace("\\", "/").removeprefix("./")
        matches = [name] if name in known else by_file_name.get(name, [])
        if not matches and not strict:
            continue
        if len(matches) != 1:
            problem = "matches several pictures" if matches else "matches none of the pictures"
            raise DataError(f"{where}: '{name}' {problem}; correct the table")
        if matches[0] in labels:
            raise DataError(f"{where}: '{name}' has a label already; list each picture once")
        text = row["label"].strip()
        try:
            label = int(np.int64(text)) if text else None
        except (ValueError, OverflowError) as exc:
            raise DataError(f"{where}: label is {text!r}, expected a digit, 0–9") from exc
        labels[matches[0]] = label, (row.get("writer") or "").strip()
    return labels


def _label_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and columns of each row."""
    try:
        if path.stat().st_size > _MAX_LABELS:
            raise DataError(f"{path}: larger than {_MAX_LABELS >> 20} MiB; not read")
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


# arrays


@dataclass(frozen=True)
class _Array:
    """Rows of an array: their numbers, images and own labels, if any; and how many there are."""

    rows: np.ndarray
    images: np.ndarray
    labels: np.ndarray | None
    total: int


def _load_array(path: Path, array: _Array, labels: Path | None, writer: str) -> Iterator[Picture]:
    """Yield the images with the labels in the IDX file `labels`, else with the array's own."""
    own = array.labels
    if labels:
        values = mnist.read_idx(labels)
        if values.shape != (array.total,):
            raise DataError(
                f"{labels}: labels have shape {values.shape}, expected ({array.total},)"
            )
        own = values[array.rows]
    for place, (number, image) in enumerate(zip(array.rows, array.images, strict=True)):
        label, picture = None if own is None else int(own[place]), handwriting.pgm(image)
        name = f"{path.name}#{number}"
        yield Picture(name, picture, ".pgm", label, writer, total=array.total)


def is_idx(path: Path) -> bool:
    """Whether a file is an IDX file of bytes, by its first bytes."""
    with path.open("rb") as file:
        return file.read(3) == b"\x00\x00\x08"


def _read_idx(path: Path, at_most: int | None) -> _Array:
    images = mnist.read_idx(path, mapped=True)
    _check_images(path, (images.shape, images.dtype))
    rows = _drawn(len(images), at_most)
    if len(rows) < len(images):  # by the map, all of the file would count as memory in use
        with path.open("rb") as file:
            file.seek(-images.size, os.SEEK_END)
            return _Array(rows, _read_rows(file, images.shape, rows), None, len(images))
    return _Array(rows, images, None, len(images))


def _read_csv(path: Path, at_most: int | None) -> _Array:
    """The images, and the labels if the table has a column for them, else None."""
    import pandas as pd

    if path.stat().st_size > _MAX_CSV:
        raise DataError(f"{path}: larger than {_MAX_CSV >> 20} MiB; split it")
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline(100_000).strip().split(",")
    header = None if all(cell.strip().isdigit() for cell in first) else 0
    expected = f"expected {_PIXELS} pixels per line, 0–255, optionally after a label"
    if len(first) not in (_PIXELS, _PIXELS + 1):
        raise DataError(f"{path}: {len(first)} columns, {expected}")
    images, labels = [], []
    try:
        with pd.read_csv(path, header=header, dtype=np.int64, chunksize=_CSV_ROWS) as chunks:
            for chunk in chunks:
                values = chunk.to_numpy()
                pixels = values[:, -_PIXELS:]
                if values.shape[1] != len(first) or pixels.min() < 0 or pixels.max() > 255:
                    raise DataError(f"{path}: {expected}")
                images.append(pixels.astype(np.uint8).reshape(-1, glyphs.SIZE, glyphs.SIZE))
                labels.append(values[:, 0])
    except ValueError as exc:  # includes pandas' parser errors
        raise DataError(f"{path}: {' '.join(str(exc).split())}; {expected}") from exc
    total = sum(map(len, images))
    if not total:
        raise DataError(f"{path}: {expected}")
    rows = _drawn(total, at_most)
    own = np.concatenate(labels)[rows] if len(first) > _PIXELS else None
    return _Array(rows, np.concatenate(images)[rows], own, total)


def _read_npz(path: Path, at_most: int | None) -> _Array:
    """The arrays `images` and `labels`, the latter None if missing."""
    try:
        with zipfile.ZipFile(path) as archive:
            images, labels = (_npy_header(archive, name) for name in ("images", "labels"))
            if images is None:
                raise DataError(f"{path}: contains no array 'images'")
            _check_images(path, images)
            if labels and (labels[1].kind not in "iu" or labels[0] != images[0][:1]):
                raise DataError(
                    f"{path}: labels are {labels[1]} {labels[0]}, expected integers {images[0][:1]}"
                )
            rows = _drawn(images[0][0], at_most)
            if len(rows) < images[0][0]:
                with archive.open("images.npy") as member:
                    _, fortran, _ = _NPY_HEADERS[np.lib.format.read_magic(member)](member)
                    if fortran:
                        raise ValueError("'images' is in Fortran's order")
                    chosen = _read_rows(member, images[0], rows)
            else:
                with np.load(path, allow_pickle=False) as arrays:
                    chosen = arrays["images"]
        own = None
        if labels:
            with np.load(path, allow_pickle=False) as arrays:
                own = arrays["labels"].astype(np.int64)[rows]
        return _Array(rows, chosen, own, images[0][0])
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as exc:
        raise DataError(f"{path}: not an .npz file of plain arrays ({exc})") from exc


def _read_rows(file: IO[bytes], shape: tuple[int, ...], rows: np.ndarray) -> np.ndarray:
    """Some rows of a uint8 array in C's order that begins where the file is, piece by piece.

    Raises:
        EOFError: it is cut off.
    """
    size = shape[1] * shape[2]
    chosen = np.empty((len(rows), *shape[1:]), np.uint8)
    for start in range(0, shape[0], _READ_AT_ONCE):
        count = min(_READ_AT_ONCE, shape[0] - start)
        data = file.read(count * size)
        if len(data) != count * size:
            raise EOFError("the array is cut off")
        first, last = np.searchsorted(rows, (start, start + count))
        piece = np.frombuffer(data, np.uint8).reshape(count, *shape[1:])
        chosen[first:last] = piece[rows[first:last] - start]
    return chosen


def _npy_header(archive: zipfile.ZipFile, name: str) -> _Header | None:
    """The header of an array in an .npz file, None if the array is missing; reads no values."""
    if f"{name}.npy" not in archive.namelist():
        return None
    with archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        if version not in _NPY_HEADERS:
            raise ValueError(f"'{name}' has NumPy format {version}, expected 1 or 2")
        shape, _, dtype = _NPY_HEADERS[version](member)
    return shape, dtype


def _check_images(path: Path, header: _Header) -> None:
    shape, dtype = header
    if dtype != np.uint8 or len(shape) != 3:
        raise DataError(f"{path}: images are {dtype} {shape}, expected uint8 (n, height, width)")
    count, height, width = shape
    if not (count and 0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        raise DataError(f"{path}: images have shape {shape}, expected sides of 1 to {_MAX_SIDE} px")
    if count * height * width > _MAX_ARRAY:
        raise DataError(f"{path}: {shape} are more than {_MAX_ARRAY:,} bytes of images; split it")
