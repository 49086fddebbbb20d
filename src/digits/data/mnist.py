"""MNIST's four raw IDX files: reading, encoding, verifying. `digits.fetch` downloads them.

The format is described by LeCun, Cortes and Burges: two zero bytes, a type code, the number of
dimensions, each dimension as a big-endian 32-bit integer, then the values.
"""

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from digits.core import files
from digits.core.errors import DataError

SplitName = Literal["train", "test"]

_SIDE = 28  # pixels, both ways
_PREFIX: dict[SplitName, str] = {"train": "train", "test": "t10k"}
_MAGIC = b"\x00\x00\x08"  # unsigned bytes, the only type that MNIST uses
_MAX_DIMENSIONS = 3
_MAX_VALUES = 1 << 30  # 1 GiB; MNIST's largest file has 47 MB


def read_idx(path: Path, mapped: bool = False) -> np.ndarray:
    """The uint8 array in an IDX file; its length is checked before memory is allocated.

    Args:
        mapped: map the file into memory instead of reading it.

    Raises:
        DataError: the file is missing, not an IDX file of unsigned bytes, too large, or its length
            doesn't match its header.
    """
    if not path.is_file():
        raise DataError(f"{path}: file not found; run 'digits fetch'")
    with path.open("rb") as file:
        shape = _read_shape(file, path)
        count = math.prod(shape)
        length, expected = os.fstat(file.fileno()).st_size, file.tell() + count
        if length != expected:
            raise DataError(f"{path}: {length:,} bytes, expected {expected:,} for shape {shape}")
        if mapped and count:
            return np.memmap(path, np.uint8, mode="r", offset=file.tell(), shape=shape)
        return np.fromfile(file, dtype=np.uint8, count=count).reshape(shape)


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
            f"{path}: header is cut off: expected {4 * magic[3]} bytes of dimensions, "
            f"got {len(header)}"
        )
    shape: tuple[int, ...] = struct.unpack(f">{magic[3]}I", header)
    if math.prod(shape) > _MAX_VALUES:
        raise DataError(f"{path}: claims shape {shape}; expected at most {_MAX_VALUES:,} values")
    return shape


def idx_bytes(array: np.ndarray) -> bytes:
    """Encode a uint8 array of one to three dimensions as an IDX file."""
    if array.dtype != np.uint8 or not 1 <= array.ndim <= _MAX_DIMENSIONS:
        raise DataError(
            f"an IDX file holds uint8 with 1 to {_MAX_DIMENSIONS} dimensions, "
            f"got {array.dtype} with {array.ndim}"
        )
    header = _MAGIC + struct.pack(f">B{array.ndim}I", array.ndim, *array.shape)
    return header + array.tobytes()


def load(folder: Path, split: SplitName) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 `(n, 28, 28)`, 0–255, and labels, uint8 `(n,)`, of one split.

    The `validate` stage checks that labels are 0–9; this function doesn't.

    Raises:
        DataError: a file is missing or damaged, or images and labels differ in number.
    """
    images_path = folder / f"{_PREFIX[split]}-images-idx3-ubyte"
    labels_path = folder / f"{_PREFIX[split]}-labels-idx1-ubyte"
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.shape[1:] != (_SIDE, _SIDE):
        raise DataError(f"{images_path}: shape is {images.shape}, expected (n, {_SIDE}, {_SIDE})")
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"{labels_path}: shape is {labels.shape}, expected ({len(images)},): "
            f"one label for each image in {images_path.name}"
        )
    return images, labels


def verify(folder: Path, expected: Mapping[str, str]) -> list[str]:
    """One line for each file in `folder` that is missing or altered, with what to do about it.

    Args:
        folder: usually data/mnist.
        expected: file name → SHA-256 (hex); section `fetch` of params.yaml.
    """
    lines = []
    for name, sha256 in expected.items():
        if line := problem(folder / name, sha256):
            remedy = "delete it and run" if (folder / name).exists() else "run"
            lines.append(f"{line}; {remedy} 'digits fetch'")
    return lines


def problem(path: Path, expected: str) -> str | None:
    """Why a file isn't the one with the SHA-256 `expected`; None if it is."""
    shown = Path(*path.parts[-3:]).as_posix()  # data/mnist/<name>
    if not path.is_file():
        return f"{shown}: missing"
    if (got := files.sha256(path)) != expected:
        return f"{shown}: SHA-256 is {got}, expected {expected}"
    return None
