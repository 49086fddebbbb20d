"""Any picture → MNIST's form: photos, thin and thick ink, shadows, ruled lines, specks."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digits.core.errors import PictureError
from digits.images import glyphs

HANDWRITING = Path(os.environ.get("DIGITS_HANDWRITING", "handwriting-for-development"))


@pytest.fixture(scope="module")
def digit(real_digits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A real 2, uint8 (28, 28)."""
    images, labels = real_digits
    return np.array(images[np.flatnonzero(labels == 2)[3]])


def photo(digit: np.ndarray, side: int = 300, ink: float = 0.6) -> np.ndarray:
    """A digit on light paper with noise, float (side, side); the ink is about 140 px high."""
    rng = np.random.default_rng(3)
    large = np.array(Image.fromarray(digit).resize((200, 200), Image.Resampling.BICUBIC))
    page = np.zeros((side, side))
    page[40:240, 60:260] = large / 255
    return 200 * (1 - ink * page) + rng.normal(0, 3, page.shape)


def as_picture(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Best correlation of two glyphs over shifts by a pixel."""
    shifted = [np.roll(other, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return max(float(np.corrcoef(one.ravel(), s.ravel())[0, 1]) for s in shifted)


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_normalising_a_glyph_again_changes_nothing(
    real_digits: tuple[np.ndarray, np.ndarray],
) -> None:
    for image in real_digits[0][::9]:
        assert glyphs.is_glyph(image)
        np.testing.assert_array_equal(glyphs.extract(image).image, image)
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(20, abs=1)


def test_black_on_white_is_inverted(digit: np.ndarray) -> None:
    np.testing.assert_array_equal(glyphs.extract(255 - digit).image, digit)


@pytest.mark.parametrize("polarity", ["dark on light", "light on dark"])
def test_a_photo_gives_the_digit_that_was_photographed(digit: np.ndarray, polarity: str) -> None:
    picture = as_picture(photo(digit))
    picture = picture if polarity == "dark on light" else 255 - picture
    assert alike(glyphs.extract(picture).image, digit) > 0.9


def test_the_edge_of_a_shadow_across_the_digit_changes_little(digit: np.ndarray) -> None:
    values = photo(digit)
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]]
    values[rows + columns > 290] *= 0.55
    assert alike(glyphs.extract(as_picture(values)).image, digit) > 0.88


def test_ruled_lines_are_removed(digit: np.ndarray) -> None:
    values = photo(digit)
    for line in (60, 130, 200, 270):
        values[line : line + 2] *= 0.7
    glyph = glyphs.extract(as_picture(values))
    assert alike(glyph.image, digit) > 0.85
    assert glyph.box[2] - glyph.box[0] < 200  # not the whole width


def test_a_bar_as_thick_as_the_other_strokes_is_not_a_ruled_line() -> None:
    picture = np.full((200, 120), 255, np.uint8)
    picture[20:26] = 0  # a tightly cropped 7, its bar from edge to edge
    for row in range(26, 190):
        left = 100 - (row - 26) // 3
        picture[row, left : left + 6] = 0
    glyph = glyphs.extract(picture)
    assert glyph.box == pytest.approx((0, 20, 120, 190), abs=2)


def test_the_centre_of_mass_is_where_mnist_has_it(
    real_digits: tuple[np.ndarray, np.ndarray],
) -> None:
    places = np.arange(28)
    for image in real_digits[0][:50]:
        small = np.asarray(Image.fromarray(image).resize((19, 19)))
        glyph = glyphs.extract(small).image.astype(float)
        across, down = glyph.sum(axis=0) @ places, glyph.sum(axis=1) @ places
        centre = np.array([across, down]) / glyph.sum()
        assert np.all((centre >= 13.5 - 0.05) & (centre <= 14.5 + 0.05))  # grey levels are rounded


def test_distant_specks_and_parts_cut_by_the_edge_are_removed(digit: np.ndarray) -> None:
    values = photo(digit)
    clean = glyphs.extract(as_picture(values))
    values[5:9, 5:9] = 60
    values[100:140, -12:] = 60  # something that the edge cuts
    glyph = glyphs.extract(as_picture(values))
    assert glyph.box == pytest.approx(clean.box, abs=2)
    assert alike(glyph.image, clean.image) > 0.98


def test_thin_strokes_become_as_thick_as_mnists() -> None:
    picture = np.zeros((160, 160), np.uint8)
    picture[30:130, 80] = 255
    picture[30, 50:81] = 255
    glyph = glyphs.extract(picture).image
    row = glyph[14].astype(int)
    assert 1.5 <= row.sum() / 255 <= 3.5


def test_a_blot_becomes_as_thin_as_a_stroke() -> None:
    picture = np.zeros((100, 100), np.uint8)
    picture[10:90, 30:70] = 255
    assert (glyphs.extract(picture).image[14] > 128).sum() < 9  # 10 px without thinning


def test_the_box_is_in_pixels_of_the_picture(digit: np.ndarray) -> None:
    picture = np.full((1300, 900), 235, np.uint8)
    picture[700:1000, 100:300] = 20
    assert glyphs.extract(picture).box == pytest.approx((100, 700, 300, 1000), abs=4)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_box_of_a_camera_picture_is_upright_and_full_size(orientation: int) -> None:
    upright = np.full((1600, 1200), 235, np.uint8)
    upright[900:1300, 200:500] = 20
    turns = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]  # as the sensor saw it
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(np.rot90(upright, turns)), "JPEG", exif=exif)
    assert glyphs.read(data).box == pytest.approx((200, 900, 500, 1300), abs=10)


@pytest.mark.parametrize(
    "picture",
    [
        np.full((28, 28), 255, np.uint8),
        np.full((300, 300), 180, np.uint8),
        np.random.default_rng(0).normal(180, 5, (300, 300)).astype(np.uint8),
        np.zeros((1, 1), np.uint8),
        np.zeros((1, 5000), np.uint8),
    ],
    ids=["white", "grey", "noise", "a pixel", "a line"],
)
def test_paper_without_ink_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(PictureError, match="card: no ink found; expected one digit"):
        glyphs.extract(picture, "card")


def test_any_shape_and_content_gives_a_glyph_or_an_error() -> None:
    rng = np.random.default_rng(5)
    for height, width in [(1, 2), (2, 500), (3, 3), (120, 1), (101, 101), (450, 30), (30, 1200)]:
        for values in (
            rng.integers(0, 256, (height, width)),
            rng.integers(0, 2, (height, width)) * 255,
        ):
            try:
                glyph = glyphs.extract(values.astype(np.uint8))
            except PictureError:
                continue
            left, top, right, bottom = glyph.box
            assert glyphs.is_glyph(glyph.image)
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height


@pytest.mark.parametrize("values", [np.zeros((3, 28, 28), np.uint8), np.zeros((28, 28))])
def test_arrays_other_than_grey_pictures_are_refused(values: np.ndarray) -> None:
    with pytest.raises(PictureError, match=r"expected uint8 \(height, width\), got"):
        glyphs.extract(values)


@pytest.mark.skipif(not HANDWRITING.is_dir(), reason="the development photos are missing")
def test_development_photos_become_clean_glyphs() -> None:
    """Glyphs of 226 photos have as much ink as MNIST's: none is lost or added."""
    with (HANDWRITING / "photos" / "labels.csv").open() as file:
        names = [row["filename"] for row in csv.DictReader(file)]
    images = [glyphs.read((HANDWRITING / "photos" / name).read_bytes()).image for name in names]
    ink = np.array([image.mean() / 255 for image in images])
    assert all(map(glyphs.is_glyph, images))
    assert 0.09 < ink.mean() < 0.15  # MNIST: 0.13
    assert ink.min() > 0.02
