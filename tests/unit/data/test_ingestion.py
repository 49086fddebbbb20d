"""Ingestion: MNIST and batches of handwriting become one array and one index."""

from pathlib import Path

import numpy as np
import pytest
from small import write_mnist

from digits.core.errors import DataError
from digits.core.params import Ingest
from digits.data import handwriting, ingestion
from digits.data.handwriting import Entry
from digits.images import features

PARAMS = Ingest(ink_level=128)


@pytest.fixture
def mnist_folder(tmp_path: Path, real_digits: tuple[np.ndarray, np.ndarray]) -> Path:
    images, labels = real_digits
    write_mnist(tmp_path / "mnist", images[:20], labels[:20], test=5)
    return tmp_path / "mnist"


def test_images_and_index_have_a_row_for_each_picture(
    tmp_path: Path, mnist_folder: Path, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    entries = [
        Entry(handwriting.pgm(255 - real_digits[0][20]), ".pgm", 0, "ada", "scan"),
        Entry(handwriting.pgm(real_digits[0][21]), ".pgm", None, "", "scan"),
    ]
    handwriting.write(tmp_path / "handwriting" / "post", entries)
    ingested = ingestion.ingest(mnist_folder, tmp_path / "handwriting", PARAMS)
    np.testing.assert_array_equal(ingested.images, real_digits[0][:22])
    index = ingested.index
    assert index["id"].tolist() == list(range(22))
    assert index["split"].tolist() == ["train"] * 15 + ["test"] * 5 + ["handwriting"] * 2
    assert index["batch"].tolist() == ["mnist"] * 20 + ["post"] * 2
    assert index["source"].tolist() == ["mnist"] * 20 + ["scan"] * 2
    assert index["label"].isna().tolist() == [False] * 21 + [True]
    assert index["writer"].tolist() == [""] * 20 + ["ada", ""]
    measured = features.measure(real_digits[0][:22], 128)
    np.testing.assert_array_equal(index[measured.columns], measured)


def test_an_empty_batch_is_refused(tmp_path: Path, mnist_folder: Path) -> None:
    handwriting.write(tmp_path / "handwriting" / "post", [])
    with pytest.raises(DataError, match="post: the batch is empty; delete it"):
        ingestion.ingest(mnist_folder, tmp_path / "handwriting", PARAMS)


def test_a_picture_without_ink_is_named(tmp_path: Path, mnist_folder: Path) -> None:
    blank = Entry(handwriting.pgm(np.zeros((30, 30), np.uint8)), ".pgm", 0, "", "blank.png")
    handwriting.write(tmp_path / "handwriting" / "post", [blank])
    with pytest.raises(DataError, match=r"blank\.png: no ink found"):
        ingestion.ingest(mnist_folder, tmp_path / "handwriting", PARAMS)
