"""Reading folders, tables of labels, arrays, and files with false claims about their size."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import write_idx

from digits.core.errors import DataError, PictureError
from digits.data import handwriting, mnist
from digits.images import decoding
from digits.intake import readers

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1])


def save(path: Path, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(IMAGES[number]).save(path)


def grey(picture: readers.Picture) -> np.ndarray:
    return decoding.decode(picture.data)[0]


def test_picture_files_below_a_folder_are_sorted(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.PNG", "a.jpg", ".hidden.png", ".git/x.png"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    pictures = [path.relative_to(tmp_path).as_posix() for path in readers.picture_files(tmp_path)]
    assert pictures == ["a.jpg", "b/10.PNG", "b/2.png"]


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    save(tmp_path / "secret" / "x.png")
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "file.png").symlink_to(tmp_path / "secret" / "x.png")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "again.png").symlink_to("a.png")
    assert [path.name for path in readers.picture_files(tmp_path / "in")] == ["a.png", "again.png"]


def test_folders_named_by_a_digit_label_their_pictures(tmp_path: Path) -> None:
    for name in ("7/a.png", "set/0/b.png", "misc/c.png", "d.png", "17/e.png"):
        save(tmp_path / name)
    pictures = {picture.name: picture.label for picture in readers.load(tmp_path)}
    assert pictures == {
        "7/a.png": 7,
        "set/0/b.png": 0,
        "misc/c.png": None,
        "d.png": None,
        "17/e.png": None,
    }
    for path in (tmp_path / "7", tmp_path / "7" / "a.png"):  # only folders below the given path
        assert [picture.label for picture in readers.load(path)] == [None]


def test_a_table_gives_labels_and_writers(tmp_path: Path) -> None:
    for name in ("in/x/a.png", "in/b.png", "in/c.png"):
        save(tmp_path / name)
    table = tmp_path / "labels.csv"
    table.write_text("\ufefffilename,label,writer\na.png,5,anna\nb.png,,\n", encoding="utf-8")
    pictures = {p.name: (p.label, p.writer) for p in readers.load(tmp_path / "in", table, "else")}
    assert pictures == {"x/a.png": (5, "anna"), "b.png": (None, "else"), "c.png": (None, "else")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,digit\na.png,1\n", r"columns are \['file', 'digit'\], expected filename and label"),
        ("filename,label\nz.png,1\n", "line 2: 'z.png' matches none of the pictures"),
        ("filename,label\na.png,1\na.png,2\n", "line 3: 'a.png' has a label already"),
        ("filename,label\nb.png,1\n", "line 2: 'b.png' matches several pictures"),
        ("filename,label\na.png,one\n", "line 2: label is 'one', expected a digit, 0–9"),
        (f"filename,label\na.png,{10**30}\n", "line 2: label is '10*', expected a digit"),
        ("filename,label\na.png\n", "line 2: expected filename and label"),
        ('filename,label\n"a.png,1\n', "not a UTF-8 CSV table"),
    ],
)
def test_a_table_that_does_not_match_the_pictures_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    for name in ("in/a.png", "in/1/b.png", "in/2/b.png"):
        save(tmp_path / name)
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        list(readers.load(tmp_path / "in", table))


def test_a_file_that_is_too_large_has_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with (tmp_path / "b.png").open("wb") as file:
        file.truncate(decoding.MAX_BYTES + 1)  # sparse
    good, bad = readers.load(tmp_path)
    assert not good.problem
    assert (bad.name, bad.data) == ("b.png", b"")
    assert "20,971,521 bytes, expected at most 20,971,520" in bad.problem
    with pytest.raises(PictureError, match="file not found"):
        readers.read_bytes(tmp_path / "none.png")


@pytest.mark.parametrize("form", ["idx", "npz", "csv", "csv with header"])
def test_each_row_of_an_array_is_a_picture_with_its_label(tmp_path: Path, form: str) -> None:
    path, labels = tmp_path / f"batch.{form[:3]}", None
    if form == "idx":
        path = tmp_path / "images-idx3-ubyte"
        labels = tmp_path / "labels-idx1-ubyte"
        write_idx(path, IMAGES)
        write_idx(labels, LABELS.astype(np.uint8))
    elif form == "npz":
        np.savez_compressed(path, images=IMAGES, labels=LABELS)
    else:
        rows = np.column_stack([LABELS, IMAGES.reshape(4, -1)])
        header = ",".join(["label", *(f"p{i}" for i in range(784))]) if "header" in form else ""
        np.savetxt(path, rows, fmt="%d", delimiter=",", header=header, comments="")
    pictures = list(readers.load(path, labels, "w"))
    assert [picture.label for picture in pictures] == LABELS.tolist()
    assert {picture.writer for picture in pictures} == {"w"}
    assert pictures[2].name == f"{path.name}#2"
    np.testing.assert_array_equal([grey(picture) for picture in pictures], IMAGES)


def test_arrays_need_no_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES)
    np.savetxt(tmp_path / "a.csv", IMAGES.reshape(4, -1), fmt="%d", delimiter=",")
    for name in ("a.npz", "a.csv"):
        assert [p.label for p in readers.load(tmp_path / name)] == [None] * 4


def claim(path: Path, shape: tuple[int, ...], kind: str = "|u1") -> None:
    """An .npz file whose array claims a shape that it has no data for."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", buffer.getvalue())


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        ((10**9, 28, 28), "|u1", "more than 1,073,741,824 bytes"),
        ((1, 10**6, 28), "|u1", "expected sides of 1 to 4096 px"),
        ((5, 28, 28), "<f8", r"images are float64 \(5, 28, 28\), expected uint8"),
        ((5, 784), "|u1", r"images are uint8 \(5, 784\), expected uint8 \(n, height, width\)"),
        ((0, 28, 28), "|u1", "images have shape"),
        ((5, 28, 28), "|u1", "not an .npz file of plain arrays"),
    ],
)
def test_an_array_with_false_or_excessive_claims_is_refused(
    tmp_path: Path, shape: tuple[int, ...], kind: str, message: str
) -> None:
    claim(tmp_path / "a.npz", shape, kind)
    with pytest.raises(DataError, match=message):
        list(readers.load(tmp_path / "a.npz"))


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="images are object"):
        list(readers.load(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", images=IMAGES, labels=np.array([None] * 4, dtype=object))
    with pytest.raises(DataError, match="labels are object"):
        list(readers.load(tmp_path / "b.npz"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "1,2,3\n", "3 columns, expected 784 pixels per line"),
        ("a.csv", ",".join(["300"] * 784) + "\n", "expected 784 pixels per line, 0–255"),
        ("a.csv", ",".join(["1"] * 784) + "\n" + ",".join(["x"] * 784) + "\n", "expected 784"),
        ("a.csv", ",".join(["1"] * 784) + "\n" + ",".join(["1"] * 790) + "\n", "expected 784"),
        ("a.npz", "no zip", "not an .npz file"),
        ("images-idx3-ubyte", "\x00\x00\x08\x03\x00\x00", "header is cut off"),
    ],
)
def test_the_error_for_a_damaged_array_is_one_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        list(readers.load(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_the_number_of_labels_must_be_that_of_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS[:3])
    with pytest.raises(DataError, match=r"labels are int64 \(3,\), expected integers \(4,\)"):
        list(readers.load(tmp_path / "a.npz"))
    write_idx(tmp_path / "labels", LABELS[:3].astype(np.uint8))
    write_idx(tmp_path / "images", IMAGES)
    with pytest.raises(DataError, match=r"labels have shape \(3,\), expected \(4,\)"):
        list(readers.load(tmp_path / "images", tmp_path / "labels"))


def test_an_empty_or_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"contains no pictures; expected \.png"):
        list(readers.load(tmp_path))
    with pytest.raises(DataError, match="file or folder not found"):
        list(readers.load(tmp_path / "none"))


@pytest.mark.parametrize("form", ["npz", "compressed", "idx", "csv", "folder"])
def test_of_many_pictures_some_are_drawn_and_the_total_is_known(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2500, 28, 28), np.uint8)
    labels = np.arange(2500) % 10
    path = tmp_path / "many.npz"
    if form == "npz":
        np.savez(path, images=images, labels=labels)
    elif form == "compressed":
        np.savez_compressed(path, images=images, labels=labels)
    elif form == "idx":
        path = tmp_path / "many"
        path.write_bytes(mnist.idx_bytes(images))
    elif form == "csv":
        path = tmp_path / "many.csv"
        table = np.column_stack([labels, images.reshape(2500, -1)])
        np.savetxt(path, table, "%d", delimiter=",")
    else:
        path = tmp_path / "many"
        path.mkdir()
        images = images[:60]
        for i, image in enumerate(images):
            (path / f"{i}.pgm").write_bytes(handwriting.pgm(image))
    pictures = list(readers.load(path, at_most=40))
    assert len({picture.name for picture in pictures}) == len(pictures) == 40
    assert {picture.total for picture in pictures} == {len(images)}
    for picture in pictures:
        number = int(picture.name.removesuffix(".pgm").rpartition("#")[2])
        assert picture.data.endswith(images[number].tobytes())
        assert picture.label == (None if form in ("idx", "folder") else number % 10)


def test_a_fortran_ordered_array_that_some_are_drawn_from_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.asfortranarray(np.zeros((50, 28, 28), np.uint8)))
    assert len(list(readers.load(tmp_path / "a.npz"))) == 50
    with pytest.raises(DataError, match="'images' is in Fortran's order"):
        list(readers.load(tmp_path / "a.npz", at_most=10))
