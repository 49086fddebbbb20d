"""Decoding: transparency, 16 bits, and files that are too large, damaged or of another format."""

import io

import numpy as np
import pytest
from PIL import Image

from digits.core.errors import PictureError
from digits.images import decoding


@pytest.fixture(scope="module")
def digit(real_digits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A real 2, uint8 (28, 28)."""
    images, labels = real_digits
    return np.array(images[np.flatnonzero(labels == 2)[3]])


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_transparent_pixels_become_paper_that_contrasts_with_the_ink(digit: np.ndarray) -> None:
    for ink in (0, 255):
        image = Image.merge("LA", [Image.new("L", (28, 28), ink), Image.fromarray(digit)])
        grey, _ = decoding.decode(encode(image))
        np.testing.assert_array_equal(grey, digit if ink else 255 - digit)


def test_sixteen_bits_are_scaled_to_eight(digit: np.ndarray) -> None:
    image = Image.fromarray(digit.astype(np.uint16) * 257)
    np.testing.assert_array_equal(decoding.decode(encode(image))[0], digit)


def test_too_many_pixels_or_bytes_are_not_decoded() -> None:
    data = encode(Image.new("1", (8000, 6000)))
    assert len(data) < 100_000
    with pytest.raises(
        PictureError, match=r"b\.png: 8000 × 6000 pixels, expected at most 40,000,000"
    ):
        decoding.decode(data, "b.png")
    with pytest.raises(PictureError, match="bytes, expected at most 20,971,520"):
        decoding.decode(b"\0" * (decoding.MAX_BYTES + 1))


@pytest.mark.parametrize("cut", [10, 60, 200])
def test_a_truncated_file_is_refused(digit: np.ndarray, cut: int) -> None:
    data = encode(Image.fromarray(np.tile(digit, (4, 4))), "JPEG")
    with pytest.raises(PictureError, match="expected PNG, JPEG"):
        decoding.decode(data[:cut])


def test_a_format_that_is_not_listed_is_refused() -> None:
    data = encode(Image.new("RGB", (20, 20)), "PDF")
    with pytest.raises(PictureError, match="not a picture in a supported format"):
        decoding.decode(data)
