"""MNIST's four raw IDX files: their names and checksums, reading, writing, verifying.

Where they come from is decided in `digits.fetch`. The format is described on the page of LeCun,
Cortes and Burges: two zero bytes, a type code, the number of dimensions, then each dimension as a
big-endian 32-bit integer, then the values.
"""

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from digits.core import files
from digits.core.errors import DataError

Split = Literal["train", "test"]
Bytes = npt.NDArray[np.uint8]

# SHA-256 of the uncompressed files, the same from every source
FILES: Mapping[str, str] = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
SIDE = 28  # pixels, both ways

_PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
_MAGIC = b"\x00\x00\x08"  # unsigned bytes, the only type that MNIST uses
_MAX_DIMENSIONS = 3
_MAX_VALUES = 1 << 30  # 1 GiB; MNIST's largest file has 47 MB


def read_idx(path: Path) -> Bytes:
    """The array in an IDX file of unsigned bytes; nothing is allocated before its length fits.

    Raises:
        DataError: the file is missing, no IDX file of unsigned bytes, too large, or its length
            isn't what its header says.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; run 'digits fetch'")
    with path.open("rb") as file:
        shape = _read_shape(file, path)
        count = math.prod(shape)
        length, expected = os.fstat(file.fileno()).st_size, file.tell() + count
        if length != expected:
            raise DataError(
                f"{path}: is {length:,} bytes long, expected {expected:,} for shape {shape}"
            )
        values = np.fromfile(file, dtype=np.uint8, count=count)
    return values.reshape(shape)


def _read_shape(file: BinaryIO, path: Path) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) != 4 or magic[:3] != _MAGIC or not 1 <= magic[3] <= _MAX_DIMENSIONS:
        raise DataError(
            f"{path}: not an IDX file of unsigned bytes: it starts with '{magic.hex()}', "
            f"expected '00000801' to '0000080{_MAX_DIMENSIONS}'"
        )
    header = file.read(4 * magic[3])
    if len(header) != 4 * magic[3]:
        raise DataError(
            f"{path}: ends within its header; expected {4 * magic[3]} bytes of dimensions, "
            f"got {len(header)}"
        )
    shape: tuple[int, ...] = struct.unpack(f">{magic[3]}I", header)
    if math.prod(shape) > _MAX_VALUES:
        raise DataError(f"{path}: claims shape {shape}; expected at most {_MAX_VALUES:,} values")
    return shape


def idx(array: Bytes) -> bytes:
    """The IDX file of a uint8 array with one to three dimensions, as bytes."""
    if array.dtype != np.uint8 or not 1 <= array.ndim <= _MAX_DIMENSIONS:
        raise DataError(
            f"an IDX file holds uint8 with 1 to {_MAX_DIMENSIONS} dimensions, "
            f"got {array.dtype} with {array.ndim}"
        )
    header = _MAGIC + struct.pack(f">B{array.ndim}I", array.ndim, *array.shape)
    return header + np.ascontiguousarray(array).tobytes()


def write_idx(path: Path, array: Bytes) -> None:
    """Write a uint8 array with one to three dimensions as an IDX file, atomically."""
    content = idx(array)
    with files.replacing(path) as temporary:
        temporary.write_bytes(content)


def load(folder: Path, split: Split) -> tuple[Bytes, Bytes]:
    """Images, uint8 `(n, 28, 28)`, 0 to 255, and labels, uint8 `(n,)`, of one split.

    That labels are 0 to 9 is for the `validate` stage to say, not checked here.

    Raises:
        DataError: a file is missing or damaged, or the two don't belong together.
    """
    images_path = folder / f"{_PREFIX[split]}-images-idx3-ubyte"
    labels_path = folder / f"{_PREFIX[split]}-labels-idx1-ubyte"
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataError(f"{images_path}: shape is {images.shape}, expected (n, {SIDE}, {SIDE})")
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"{labels_path}: shape is {labels.shape}, expected ({len(images)},): "
            f"one label for each image in {images_path.name}"
        )
    return images, labels


def verify(folder: Path, expected: Mapping[str, str] = FILES) -> list[str]:
    """What is wrong with the files in `folder`, one line each; an empty list if nothing is.

    Args:
        folder: where the files are, usually data/mnist.
        expected: the SHA-256 (hex) that each file must have; params.yaml, section `fetch`.
    """
    found = {folder / name: problem(folder / name, expected[name]) for name in expected}
    return [f"{line}; {_cure(path)}" for path, line in found.items() if line]


def problem(path: Path, expected: str) -> str | None:
    """What is wrong with one file, or None if it is there and has the SHA-256 `expected`."""
    shown = Path(*path.parts[-3:]).as_posix()  # data/mnist/<name>
    if not path.is_file():
        return f"{shown}: missing"
    if (got := files.sha256(path)) != expected:
        return f"{shown}: SHA-256 is {got}, expected {expected}"
    return None


def _cure(path: Path) -> str:
    return "delete it and run 'digits fetch'" if path.exists() else "run 'digits fetch'"
