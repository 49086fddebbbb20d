"""Made pictures that are no digits, in MNIST's form: what `harm` learns to tell from digits.

Six kinds, so that few real sets resemble none: characters of many scripts from Matplotlib's fonts,
random strokes, halves of different digits joined, turned and mirrored digits, filled outlines,
textures. Some look like digits, as some letters do. All arithmetic is the same on every CPU.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from digits.core.errors import PictureError
from digits.drift import distorted
from digits.images import glyphs

_SIDE = 64  # px of a drawing, before it is brought to MNIST's form
_INNER = 14, 50  # px, where strokes and corners of outlines may begin and end
_FONT_SIZE = 38
_FONTS = (
    *("DejaVuSans", "DejaVuSerif", "DejaVuSans-Oblique", "DejaVuSerif-Italic", "DejaVuSansMono"),
    *("DejaVuSans-Bold", "STIXGeneral", "STIXGeneralItalic"),
)
_LATIN = (0x41, 0x5B), (0x61, 0x7B)  # code points, the end excluded
_SCRIPTS = (  # in DejaVu Sans: Greek, Cyrillic, Armenian, Hebrew, Arabic, N'Ko, Lao, Georgian, …
    *((0x391, 0x3CA), (0x410, 0x450), (0x531, 0x557), (0x561, 0x588), (0x5D0, 0x5EB)),
    *((0x621, 0x63B), (0x641, 0x64B), (0x660, 0x66A), (0x6F0, 0x6FA), (0x7C0, 0x7EB)),
    *((0xE81, 0xE83), (0xE94, 0xE98), (0xE99, 0xEA0), (0xED0, 0xEDA), (0x10D0, 0x10F6)),
    *((0x1401, 0x1450), (0x2C00, 0x2C2F), (0x2D30, 0x2D66), (0x2200, 0x2280), (0x2100, 0x2139)),
)
_TURNED = (2, 3, 4, 5, 6, 7, 9)  # digits that mirrored or turned by 90° are none
_HALVES = (2, 3, 4, 5, 6, 7, 8, 9)  # halves of 0 and 1 make too many digits
_LATIN_SHARE = 0.5  # of the characters
_KINDS, _DRAWN = 10, 6  # kinds in turn; the first are drawn lines
_SHADED_SHARE = 0.7  # of shaded outlines and textures
_THIN_SHARE = 0.3  # of the pictures; as many are thickened
_SMOOTH = Image.Resampling.BILINEAR
_WOBBLE = 1.3  # px, standard deviation of the displacement at 5 × 5 points


def pictures(count: int, digits: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Pictures of all kinds in turn, uint8 `(count, 28, 28)`; each drawing is used twice.

    Args:
        digits: uint8 `(n, 28, 28)`, to cut, turn and mirror.
        labels: int `(n,)`, 0–9.
    """
    rng = np.random.default_rng(seed)
    fonts = [ImageFont.truetype(str(_font_folder() / f"{n}.ttf"), _FONT_SIZE) for n in _FONTS]
    drawn = count // (2 * _KINDS) * _KINDS
    made = np.empty((count, glyphs.SIZE, glyphs.SIZE), dtype=np.uint8)
    turned = digits[np.isin(labels, _TURNED)]
    halves = [digits[labels == digit] for digit in _HALVES]
    halves = [images for images in halves if len(images)]
    kinds = np.arange(count) % _KINDS
    for i, kind in enumerate(kinds):
        if kind < _DRAWN and drawn <= i < 2 * drawn:
            made[i] = made[i - drawn]
        elif kind < 4:
            made[i] = _drawn(lambda: _character(fonts, rng))
        elif kind < 6:
            made[i] = _drawn(lambda: _strokes(rng))
        elif kind == 6:
            made[i] = _filling(fonts, rng)
        elif kind == 7 and len(halves) > 1:
            made[i] = _joined(halves, rng)
        elif kind == 8 and len(turned):
            made[i] = _turned(turned[rng.integers(len(turned))], rng)
        else:
            made[i] = _shaded(rng) if rng.random() < _SHADED_SHARE else _texture(rng)
    lines = kinds < _DRAWN
    made[lines] = _handmade(made[lines], rng)
    return made


def _font_folder() -> Path:
    spec = find_spec("matplotlib")  # not imported: only its fonts are needed
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def _drawn(draw: Callable[[], Image.Image]) -> np.ndarray:
    """The first drawing with ink, in MNIST's form."""
    while True:
        try:
            return glyphs.extract(np.asarray(draw())).image
        except PictureError:
            continue


def _character(fonts: list[ImageFont.FreeTypeFont], rng: np.random.Generator) -> Image.Image:
    if rng.random() < _LATIN_SHARE:
        font, (first, end) = fonts[rng.integers(len(fonts))], _LATIN[rng.integers(len(_LATIN))]
    else:  # only the first font has the other scripts
        font, (first, end) = fonts[0], _SCRIPTS[rng.integers(len(_SCRIPTS))]
    picture = Image.new("L", (_SIDE, _SIDE))
    place = _SIDE / 2, _SIDE / 2
    character = chr(int(rng.integers(first, end)))
    ImageDraw.Draw(picture).text(place, character, fill=255, font=font, anchor="mm")
    return _leaning(picture, rng)


def _filling(fonts: list[ImageFont.FreeTypeFont], rng: np.random.Generator) -> np.ndarray:
    """A letter, often bold, that fills the picture from edge to edge."""
    font, (first, end) = fonts[rng.integers(len(fonts))], _LATIN[rng.integers(len(_LATIN))]
    picture = Image.new("L", (_SIDE, _SIDE))
    pen, place = ImageDraw.Draw(picture), (_SIDE / 2, _SIDE / 2)
    character, bold = chr(int(rng.integers(first, end))), int(rng.integers(0, 4))
    pen.text(place, character, fill=255, font=font, anchor="mm", stroke_width=bold)
    if bold and rng.random() < 0.2:  # its outline alone
        pen.text(place, character, fill=0, font=font, anchor="mm")
    picture = _leaning(picture, rng)
    box = picture.getbbox()
    size = (glyphs.SIZE, glyphs.SIZE)
    return np.asarray((picture.crop(box) if box else picture).resize(size, _SMOOTH))


def _leaning(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Turned by up to 10°, sheared, made narrower or wider."""
    picture = picture.rotate(rng.uniform(-10, 10), resample=Image.Resampling.BILINEAR)
    slant, width = rng.uniform(-0.3, 0.3), rng.uniform(0.75, 1.3)
    middle = _SIDE / 2
    matrix = (1 / width, slant, middle * (1 - 1 / width - slant), 0, 1, 0)
    size = (_SIDE, _SIDE)
    return picture.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _strokes(rng: np.random.Generator) -> Image.Image:
    """One to four curved strokes (quadratic Bézier curves)."""
    picture = Image.new("L", (_SIDE, _SIDE))
    pen = ImageDraw.Draw(picture)
    t = np.arange(13)[:, None] / 12
    for _ in range(rng.integers(1, 5)):
        start, middle, end = rng.uniform(*_INNER, (3, 2))
        points = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
        pen.line([tuple(p) for p in points.round(3).tolist()], fill=255, width=4, joint="curve")
    return picture


def _shaded(rng: np.random.Generator) -> np.ndarray:
    """A filled outline of four to nine corners, mirrored in most cases, plain or with a texture."""
    picture = Image.new("L", (_SIDE, _SIDE))
    corners = rng.uniform(2, _SIDE - 2, (int(rng.integers(4, 10)), 2))
    mirrored = np.array([_SIDE, 0]) + np.array([-1, 1]) * corners
    for part in (corners, mirrored)[: 1 + (rng.random() < 0.8)]:
        ImageDraw.Draw(picture).polygon([tuple(p) for p in part.tolist()], fill=255)
    shape = np.asarray(picture.resize((glyphs.SIZE, glyphs.SIZE), _SMOOTH)).astype(np.float64)
    depth = rng.uniform(0, 0.8) * (rng.random() < 0.7)
    shades = rng.uniform(0.4, 1) * (1 - depth * _smooth_noise(rng))
    return np.rint(np.clip(shape * shades, 0, 255)).astype(np.uint8)


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Blurred noise above a random level, or all of it."""
    values = _smooth_noise(rng)
    level = rng.uniform(0, 0.7)
    return np.where(values > level, np.rint(values * 255), 0).astype(np.uint8)


def _smooth_noise(rng: np.random.Generator) -> np.ndarray:
    """Blurred noise, at times more along the rows or columns: 0–1, float64 `(28, 28)`."""
    noise = rng.random((glyphs.SIZE, glyphs.SIZE))
    size = ((3, 3), (1, 5), (5, 1))[rng.integers(3)]
    for _ in range(rng.integers(1, 10)):
        noise = ndimage.uniform_filter(noise, size, mode="wrap")
    low, high = noise.min(), noise.max()
    return (noise - low) / max(high - low, 1e-9)


def _joined(digits: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """The upper or left half of a digit, and the other half of another one."""
    one, other = rng.choice(len(digits), 2, replace=False)
    first, second = (d[rng.integers(len(d))] for d in (digits[one], digits[other]))
    cut = int(rng.integers(11, 17))
    joined = first.copy()
    if rng.random() < 0.5:
        joined[cut:] = second[cut:]
    else:
        joined[:, cut:] = second[:, cut:]
    return joined


def _turned(digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A digit turned by a quarter, or mirrored, or both."""
    turns = (digit.T, digit[::-1].T, digit.T[::-1], digit[::-1], digit[:, ::-1])
    return turns[rng.integers(len(turns))]


def _handmade(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lines that waver, some thinner, some thicker: uint8 `(n, 28, 28)`."""
    moved = distorted.bent(images, rng, _WOBBLE)
    width = rng.random(len(images))
    thin, thick = width < _THIN_SHARE, width > 1 - _THIN_SHARE
    moved[thin] = ndimage.grey_erosion(moved[thin], size=(1, 2, 2))
    moved[thick] = ndimage.grey_dilation(moved[thick], size=(1, 2, 2))
    return np.rint(moved).astype(np.uint8)
