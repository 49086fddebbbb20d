"""Files of the preprocess stage: images and labels of each split, and their scale."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digits.core import files
from digits.core.project import Project

NAMES = ("train", "val", "test")
_ARRAYS = ("images", "labels")
_IDS = "ids"
_SCALE = "scale.json"


@dataclass(frozen=True)
class Split:
    """Images uint8 `(n, 28, 28)` and their labels uint8 `(n,)`."""

    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def read(cls, folder: Path, name: str) -> "Split":
        """Read a split, memory-mapped.

        Raises:
            DataError: a file is missing or damaged.
        """
        return cls(*map(files.read_array, _files(folder, name)))

    def write(self, folder: Path, name: str) -> None:
        """Write the files that `read` reads."""
        for path, array in zip(_files(folder, name), (self.images, self.labels), strict=True):
            files.write_array(path, array)


@dataclass(frozen=True)
class Dataset:
    """All three splits, with `scale` as in `read_scale` and `digest` as in `digest`."""

    train: Split
    val: Split
    test: Split
    scale: tuple[float, float]
    digest: str

    @classmethod
    def read(cls, project: Project) -> "Dataset":
        """Read the splits that the preprocess stage wrote.

        Raises:
            DataError: a file is missing or damaged.
        """
        folder = project.splits
        return cls(
            **{name: Split.read(folder, name) for name in NAMES},
            scale=read_scale(folder),
            digest=digest(folder, NAMES),
        )


def read_ids(folder: Path, name: str) -> np.ndarray:
    """The ids of a split's images, int64 `(n,)`: their rows in the index of build/ingested.

    Raises:
        DataError: the file is missing or damaged.
    """
    return files.read_array(folder / f"{name}-{_IDS}.npy")


def write_ids(folder: Path, name: str, ids: np.ndarray) -> None:
    """Write the file that `read_ids` reads."""
    files.write_array(folder / f"{name}-{_IDS}.npy", ids)


def read_scale(folder: Path) -> tuple[float, float]:
    """Mean and standard deviation of the training pixels, 0–1.

    Raises:
        DataError: the file is missing or damaged.
    """
    scale = files.read_json(folder / _SCALE)
    return scale["mean"], scale["std"]


def write_scale(folder: Path, images: np.ndarray) -> None:
    """Measure and write mean and standard deviation of training images."""
    mean, std = (round(float(value) / 255, 6) for value in (images.mean(), images.std()))
    files.write_json(folder / _SCALE, {"mean": mean, "std": std})


def digest(folder: Path, names: Iterable[str]) -> str:
    """One SHA-256 over all files of the named splits and of the scale."""
    paths = [*(path for name in names for path in _files(folder, name)), folder / _SCALE]
    sums = " ".join(map(files.sha256, paths))
    return hashlib.sha256(sums.encode()).hexdigest()


def _files(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}-{array}.npy" for array in _ARRAYS]
