"""Pictures that are no digits, or digits of other scripts, in MNIST's form."""

import os
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from digits.images import glyphs

_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_NAMES = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf")
_SIDE = 64
_VARIANTS = 12  # of each character

ARABIC = "٠١٢٣٤٥٦٧٨٩"
LETTERS = "ABCDEFGHJK"


def printed(characters: str, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One slanted, shifted picture for each label: uint8 `(n, 28, 28)`."""
    shapes = [[_draw(character, rng) for _ in range(_VARIANTS)] for character in characters]
    return np.stack([shapes[label][rng.integers(_VARIANTS)] for label in labels])


def clothes(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A filled shape for each label, like the outline of a garment: uint8 `(n, 28, 28)`."""
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
