"""A picture of one digit → MNIST's form. Training, prediction and drift all use this module.

MNIST's form (LeCun et al. 1998): uint8 28 × 28, white ink on black, the ink's longer side 20 px,
its centre of mass at the centre.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from digits.core.errors import PictureError
from digits.images import decoding
from digits.images.ink import find_ink, stroke_width

Box = tuple[int, int, int, int]

SIZE = 28  # px, the side of a glyph
_INK_SIDE = 20  # px, the ink's longer side
_FINE_SIDE = 60  # px; smaller ink is enlarged to this before its outline is drawn
_THIN, _THICK = 2.2, 4.0  # px; 30th and 95th percentile of MNIST's stroke widths, Crofton's formula
_TOLERANCE = 0.25  # px on each side of a stroke that are not worth correcting
_FRINGE = 0.1  # ink, 0–1, from which a pixel counts for the 20 px


@dataclass(frozen=True)
class Glyph:
    """One digit in MNIST's form, and its place in the picture.

    Attributes:
        image: uint8 `(28, 28)`.
        box: of the ink in the original picture, in px: left, top, right, bottom; right and
            bottom are the first column and row without ink.
    """

    image: np.ndarray
    box: Box


def read(data: bytes, name: str = "picture") -> Glyph:
    """The digit in a picture file; its box is in pixels of the upright picture.

    Args:
        data: the file's bytes.
        name: the picture's name in error messages.

    Raises:
        PictureError: the file is too large, of another format, damaged, or holds no ink.
    """
    grey, (width, height) = decoding.decode(data, name)
    glyph = extract(grey, name)
    return Glyph(glyph.image, _scaled(glyph.box, width / grey.shape[1], height / grey.shape[0]))


def extract(grey: np.ndarray, name: str = "picture") -> Glyph:
    """Bring a grey picture of one digit, of any size and polarity, to MNIST's form.

    A picture that is already in MNIST's form stays unchanged.

    Args:
        grey: uint8 `(height, width)`.
        name: the picture's name in error messages.

    Raises:
        PictureError: the picture holds no ink.
    """
    if grey.ndim != 2 or grey.dtype != np.uint8:
        raise PictureError(f"{name}: expected uint8 (height, width), got {grey.dtype} {grey.shape}")
    for image in (grey, 255 - grey):
        if is_glyph(image):
            return Glyph(image, _box(image > 0))
    reduced = decoding.reduce(grey)
    ink = find_ink(reduced)
    if not ink.any():
        raise PictureError(
            f"{name}: no ink found; expected one digit that stands out from its paper"
        )
    box = left, top, right, bottom = _box(ink > 0)
    image = _centred(_fitted(ink[top:bottom, left:right]))
    scale = grey.shape[1] / reduced.shape[1], grey.shape[0] / reduced.shape[0]
    return Glyph(image, _scaled(box, *scale))


def is_glyph(grey: np.ndarray) -> bool:
    """Whether a picture is already in MNIST's form: size, polarity, framing and centring."""
    if grey.shape != (SIZE, SIZE) or grey.max() < 128:
        return False
    left, top, right, bottom = _box(grey > 0)
    if abs(max(right - left, bottom - top) - _INK_SIDE) > 1:
        return False
    expected_top, expected_left = _position(grey[top:bottom, left:right])
    return max(abs(expected_top - top), abs(expected_left - left)) <= 1.5


def _fitted(ink: np.ndarray) -> np.ndarray:
    """Scale so that the longer side is 20 px and strokes are as wide as MNIST's; float 0–255."""
    fine = _with_usual_strokes(_enlarged(ink))
    left, top, right, bottom = _box(fine > _FRINGE)
    factor = _INK_SIDE / max(bottom - top, right - left)
    size = max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor))
    picture = Image.fromarray(fine[top:bottom, left:right])
    values = np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=np.float64)
    return np.clip(values * (255 / max(np.percentile(values, 95), 1e-9)), 0, 255)


def _enlarged(ink: np.ndarray) -> np.ndarray:
    """Float32 with a margin, the longer side at least about 60 px."""
    factor = _FINE_SIDE / max(ink.shape)
    padded = np.pad(ink, 1).astype(np.float32)
    if factor <= 1:
        return padded
    height, width = (round(side * factor) for side in padded.shape)
    scaled = Image.fromarray(padded).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(scaled), 0, 1)


def _with_usual_strokes(fine: np.ndarray) -> np.ndarray:
    """Thicken thin strokes and thin thick ones to the widths that are usual in MNIST."""
    mask = fine > 0.5
    if not mask.any():
        return fine
    pixel = max(mask.shape) / _INK_SIDE
    width = float(stroke_width(mask)) * 4 / np.pi
    missing, excess = (_THIN * pixel - width) / 2, (width - _THICK * pixel) / 2
    if missing > _TOLERANCE:
        distance = ndimage.distance_transform_edt(~np.pad(mask, int(missing) + 2))
        return np.clip(missing + 0.5 - distance, 0, 1).astype(np.float32)
    if excess > _TOLERANCE:
        thinned = np.clip(ndimage.distance_transform_edt(mask) - excess, 0, 1)
        return thinned.astype(np.float32) if (thinned > 0.5).any() else fine
    return fine


def _centred(ink: np.ndarray) -> np.ndarray:
    """Place on a black 28 × 28 ground with the centre of mass at the centre.

    That is up to a pixel right of and below the middle, as in MNIST, not half a pixel around it.
    """
    top, left = map(math.ceil, _position(ink))
    glyph = np.zeros((SIZE, SIZE), dtype=np.uint8)
    glyph[top : top + ink.shape[0], left : left + ink.shape[1]] = ink.round().astype(np.uint8)
    return glyph


def _position(ink: np.ndarray) -> tuple[float, float]:
    """Top and left at which the centre of mass is at the centre, as far as the ink fits."""
    total = float(ink.sum(dtype=np.float64))
    y = float(ink.sum(axis=1, dtype=np.float64) @ np.arange(ink.shape[0])) / total
    x = float(ink.sum(axis=0, dtype=np.float64) @ np.arange(ink.shape[1])) / total
    centre = (SIZE - 1) / 2
    return (
        min(max(centre - y, 0.0), float(SIZE - ink.shape[0])),
        min(max(centre - x, 0.0), float(SIZE - ink.shape[1])),
    )


def _box(mask: np.ndarray) -> Box:
    """Left, top, right and bottom of what is set."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _scaled(box: Box, x: float, y: float) -> Box:
    """The box in a picture that is `x` times as wide and `y` times as high."""
    left, top, right, bottom = box
    return round(left * x), round(top * y), round(right * x), round(bottom * y)
