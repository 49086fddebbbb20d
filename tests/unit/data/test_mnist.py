"""IDX files survive a round trip; damaged and hostile ones are refused."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as strategies
from small import write_idx

from digits.core import files, params
from digits.core.errors import DataError, ParameterError
from digits.data import mnist

ROOT = Path(__file__).parents[3]
IMAGES = strategies.arrays(np.uint8, strategies.array_shapes(max_dims=3, min_side=0, max_side=6))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data/mnist with five training and three test digits."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "mnist"
    for prefix, count in (("train", 5), ("t10k", 3)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8))
    return folder


@given(array=IMAGES)
def test_an_array_survives_a_round_trip(
    array: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("idx") / "array"
    write_idx(path, array)
    again = mnist.read_idx(path)
    assert again.dtype == np.uint8
    assert np.array_equal(again, array)


def test_a_file_has_the_header_of_the_format() -> None:
    expected = bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3])
    assert mnist.idx_bytes(np.array([[1, 2, 3]], dtype=np.uint8)) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x08", "not an IDX file"),
        (b"\x1f\x8b\x08\x00rest", "starts with '1f8b0800', expected '00000801'"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00\x00\x00\x00", "not an IDX file of unsigned bytes"),
        (b"\x00\x00\x08\x00", "not an IDX file"),
        (b"\x00\x00\x08\x04" + bytes(16), "not an IDX file"),
        (b"\x00\x00\x08\x03\x00\x00", "header is cut off: expected 12 .*, got 2"),
        (b"\x00\x00\x08\x01" + struct.pack(">I", 3) + b"ab", "10 bytes, expected 11"),
        (b"\x00\x00\x08\x01" + struct.pack(">I", 1) + b"ab", "10 bytes, expected 9"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "claims shape .* at most 1,073,741,824"),
        # 2^64 values in all: a product that would wrap around in 64 bits
        (b"\x00\x00\x08\x03" + struct.pack(">3I", 2**31, 2**31, 4), "claims shape"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"hostile: .*{message}"):
        mnist.read_idx(path)


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: file not found; run 'digits fetch'"):
        mnist.read_idx(tmp_path / "absent")


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((1, 1, 1, 1), np.uint8)])
def test_arrays_that_idx_cannot_hold_are_refused(array: np.ndarray) -> None:
    with pytest.raises(DataError, match="an IDX file holds uint8 with 1 to 3 dimensions, got"):
        mnist.idx_bytes(array)


def test_each_split_has_its_own_images_and_labels(folder: Path) -> None:
    counts: dict[mnist.SplitName, int] = {"train": 5, "test": 3}
    for split, count in counts.items():
        images, labels = mnist.load(folder, split)
        assert images.shape == (count, 28, 28)
        assert labels.tolist() == list(range(count))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "train-images-idx3-ubyte",
            np.zeros((5, 8, 8), np.uint8),
            r"\(5, 8, 8\), expected \(n, 28",
        ),
        ("train-images-idx3-ubyte", np.zeros(5, np.uint8), r"shape is \(5,\), expected \(n, 28"),
        ("train-labels-idx1-ubyte", np.zeros(4, np.uint8), r"shape is \(4,\), expected \(5,\)"),
        ("train-labels-idx1-ubyte", np.zeros((5, 1), np.uint8), r"\(5, 1\), expected \(5,\)"),
    ],
)
def test_images_and_labels_must_belong_together(
    folder: Path, name: str, array: np.ndarray, message: str
) -> None:
    write_idx(folder / name, array)
    with pytest.raises(DataError, match=f"{name}: .*{message}"):
        mnist.load(folder, "train")


def test_verify_names_every_file_that_is_missing_or_altered(folder: Path) -> None:
    sums = {path.name: files.sha256(path) for path in folder.iterdir()}
    assert mnist.verify(folder, sums) == []

    (folder / "t10k-labels-idx1-ubyte").unlink()
    altered = folder / "train-labels-idx1-ubyte"
    altered.write_bytes(altered.read_bytes()[:-1] + b"\x09")
    got = files.sha256(altered)

    assert sorted(mnist.verify(folder, sums)) == [
        "data/mnist/t10k-labels-idx1-ubyte: missing; run 'digits fetch'",
        f"data/mnist/train-labels-idx1-ubyte: SHA-256 is {got}, expected {sums[altered.name]}; "
        "delete it and run 'digits fetch'",
    ]


@pytest.mark.parametrize(("key", "value"), [("../../evil", "0" * 64), ("file", "abc")])
def test_params_yaml_pins_plain_file_names_and_complete_checksums(
    tmp_path: Path, key: str, value: str
) -> None:
    text = (
        (ROOT / "params.yaml")
        .read_text()
        .replace("  sha256:", f"  sha256:\n    {key}: '{value}'\n   #", 1)
    )
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParameterError, match=f"fetch.sha256.{key}"):
        params.load(tmp_path / "params.yaml")
