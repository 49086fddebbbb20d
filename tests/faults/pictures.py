"""Pictures that are no digits, or digits of other scripts, in MNIST's form."""

import gzip
import os
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.interpolate import make_interp_spline

from digits.images import glyphs

_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_NAMES = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf")
_SIDE = 64
_VARIANTS = 12  # of each character

_FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package of this name
_STEPS = 12  # straight lines between two points of a stroke

ARABIC = "٠١٢٣٤٥٦٧٨٩"
LETTERS = "ABCDEFGHJK"

# The pen's way through each digit, in tenths of a square; the pen is lifted between tuples.
_DEVANAGARI: tuple[tuple[tuple[tuple[float, float], ...], ...], ...] = (
    (((5, 2), (8, 5), (5, 8), (2, 5), (5, 2)),),
    (((4, 5), (3, 3), (5, 1), (7, 3), (6, 5), (4, 5), (5, 7), (7, 9)),),
    (((3, 2), (5, 1), (7, 3), (5, 5), (3, 5), (5, 6), (7, 9)),),
    (((3, 2), (5, 1), (6, 3), (4, 4), (6, 5), (6, 7), (4, 6), (5, 8), (7, 9)),),
    (((2, 1), (5, 5), (7, 7), (5, 9), (3, 7), (5, 5), (8, 1)),),
    (((3, 1), (3, 4), (5, 5), (7, 4), (7, 1)), ((7, 1), (7, 5), (5, 5), (6, 7), (8, 9))),
    (((7, 2), (4, 1), (4, 3), (6, 4), (3, 5), (4, 7), (6, 6), (5, 8), (7, 9)),),
    (((3, 2), (2, 6), (5, 9), (8, 6), (7, 4), (5, 5), (6, 6)),),
    (((6, 1), (3, 4), (3, 7), (5, 9), (8, 8)),),
    (((6, 4), (7, 2), (4, 1), (3, 4), (6, 4), (3, 5), (4, 7), (7, 9)),),
)


def printed(characters: str, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One slanted, shifted picture for each label: uint8 `(n, 28, 28)`."""
    shapes = [[_draw(character, rng) for _ in range(_VARIANTS)] for character in characters]
    return np.stack([shapes[label][rng.integers(_VARIANTS)] for label in labels])


def devanagari(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each label's digit as a pen would write it, no two alike: uint8 `(n, 28, 28)`."""
    return np.stack([_write(_DEVANAGARI[label], rng) for label in labels])


def clothes(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fashion-MNIST where Debian's `dataset-fashion-mnist` is installed, else outlines.

    Returns:
        One picture for each label, uint8 `(n, 28, 28)`: of that kind of clothes.
    """
    images, kinds = (_FASHION / f"train-{n}-ubyte.gz" for n in ("images-idx3", "labels-idx1"))
    if not images.is_file():
        return _outlines(labels, rng)
    pictures = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16)
    of_kind = np.frombuffer(gzip.decompress(kinds.read_bytes()), np.uint8, offset=8)
    rows = [rng.choice(np.flatnonzero(of_kind == label)) for label in labels]
    return pictures.reshape(-1, 28, 28)[np.array(rows)]


def _outlines(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A filled shape for each label, like the outline of a garment."""
    images = np.zeros((len(labels), 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        left, right = 4 + label % 5, 23 - label // 2
        image[4:24, left:right] = rng.integers(120, 256, (20, right - left))
        image[4 : 6 + label, left + 3 : right - 3] = 0
    return images


def kannada() -> tuple[np.ndarray, np.ndarray] | None:
    """Kannada digits and their labels, where DIGITS_HANDWRITING is a folder that has them."""
    file = Path(os.environ.get("DIGITS_HANDWRITING", "")) / "kannada_mnist_test.npz"
    if not file.is_file():
        return None
    with np.load(file, allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"].astype(np.uint8)


def _draw(character: str, rng: np.random.Generator) -> np.ndarray:
    font = ImageFont.truetype(str(_FONTS / _NAMES[rng.integers(len(_NAMES))]), 44)
    picture = Image.new("L", (_SIDE, _SIDE))
    ImageDraw.Draw(picture).text((14, 4), character, fill=255, font=font)
    slant, turn = rng.uniform(-0.25, 0.25), rng.uniform(-8, 8)
    picture = picture.rotate(turn, resample=Image.Resampling.BILINEAR)
    matrix = (1, slant, -slant * _SIDE / 2, 0, 1, 0)
    size = (_SIDE, _SIDE)
    picture = picture.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return glyphs.extract(np.asarray(picture)).image


def _write(strokes: tuple[tuple[tuple[float, float], ...], ...], rng: np.random.Generator):
    """Smooth strokes through shaken points, in a pen of random width."""
    picture = Image.new("L", (_SIDE, _SIDE))
    pen, width = ImageDraw.Draw(picture), int(rng.integers(3, 7))
    slant = rng.uniform(-0.3, 0.3)
    for stroke in strokes:
        points = np.array(stroke, dtype=float) + rng.normal(0, 0.35, (len(stroke), 2))
        points[:, 0] += slant * (5 - points[:, 1])
        steps = np.linspace(0, len(points) - 1, _STEPS * (len(points) - 1))
        curve = make_interp_spline(np.arange(len(points)), points, k=2)(steps)
        line = [tuple(point) for point in curve * _SIDE / 10]
        pen.line(line, fill=255, width=width, joint="curve")
    return glyphs.extract(np.asarray(picture)).image
