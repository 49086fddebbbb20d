"""Splits on disk: a round trip, their scale and their digest."""

from pathlib import Path

import numpy as np
import pytest
from conftest import write_splits

from digits.core.errors import DataError
from digits.core.project import Project
from digits.data import dataset
from digits.data.dataset import Dataset, Split

SIZES = {"train": 30, "val": 10, "test": 10}


@pytest.fixture
def project(tmp_path: Path, real_digits: tuple[np.ndarray, np.ndarray]) -> Project:
    write_splits(Project(tmp_path).splits, real_digits, SIZES)
    return Project(tmp_path)


def test_a_dataset_holds_the_splits_that_were_written(
    project: Project, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    data = Dataset.read(project)
    assert [len(split.images) for split in (data.train, data.val, data.test)] == [30, 10, 10]
    np.testing.assert_array_equal(data.val.images, real_digits[0][30:40])
    np.testing.assert_array_equal(data.test.labels, real_digits[1][40:50])


def test_the_scale_is_mean_and_deviation_of_the_pixels(tmp_path: Path) -> None:
    dataset.write_scale(tmp_path, np.array([[[0, 255]]], dtype=np.uint8))
    assert dataset.read_scale(tmp_path) == (0.5, 0.5)


def test_the_digest_changes_with_every_named_file_alone(project: Project) -> None:
    before = {name: dataset.digest(project.splits, [name]) for name in dataset.NAMES}
    val = Split.read(project.splits, "val")
    Split(np.array(val.images), np.array(val.labels)[::-1]).write(project.splits, "val")
    after = {name: dataset.digest(project.splits, [name]) for name in dataset.NAMES}
    assert [name for name in dataset.NAMES if before[name] != after[name]] == ["val"]


def test_a_missing_split_is_named(project: Project) -> None:
    (project.splits / "test-labels.npy").unlink()
    with pytest.raises(DataError, match=r"test-labels\.npy: not found"):
        Dataset.read(project)
