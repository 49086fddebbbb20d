"""Raw files → one array of glyphs and an index table."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from digits.core.errors import DataError
from digits.core.params import Ingest
from digits.data import handwriting, mnist
from digits.images import features, glyphs


@dataclass(frozen=True)
class Ingested:
    """Glyphs uint8 `(n, 28, 28)` and an index with one row per glyph.

    The index has `id`, `split` (train, test, handwriting), `source`, `batch`, `label` (nullable
    Int8), `writer`, `sha256` of the glyph, and the columns of `features.measure`.
    """

    images: np.ndarray
    index: pd.DataFrame


def ingest(mnist_folder: Path, handwriting_folder: Path, params: Ingest) -> Ingested:
    """Read MNIST and every batch of handwriting.

    Raises:
        DataError: a file is missing or damaged.
    """
    parts = [_mnist(mnist_folder, split) for split in ("train", "test")]
    parts += [_batch(handwriting_folder / name) for name in handwriting.names(handwriting_folder)]
    images = np.concatenate([part.images for part in parts])
    index = pd.concat([part.index for part in parts], ignore_index=True)
    index.insert(0, "id", np.arange(len(index)))
    index["sha256"] = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    return Ingested(images, index.join(features.measure(images, params.ink_level)))


def _mnist(folder: Path, split: mnist.SplitName) -> Ingested:
    images, labels = mnist.load(folder, split)
    return Ingested(images, _index(split, "mnist", "mnist", labels.tolist(), [""] * len(labels)))


def _batch(folder: Path) -> Ingested:
    entries = list(handwriting.read(folder))
    if not entries:
        raise DataError(f"{folder}: the batch is empty; delete it")
    images = [glyphs.read(e.picture, e.origin).image for e in entries]
    labels, writers = [e.label for e in entries], [e.writer for e in entries]
    index = _index("handwriting", entries[0].origin, folder.name, labels, writers)
    return Ingested(np.stack(images), index)


def _index(
    split: str, source: str, batch: str, labels: list[int | None], writers: list[str]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "split": split,
            "source": source,
            "batch": batch,
            "label": pd.array(labels, dtype="Int8"),
            "writer": writers,
        }
    )
