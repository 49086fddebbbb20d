"""Any picture of one digit → MNIST's form. Training, predicting and drift all come through here.

MNIST's form (LeCun et al. 1998): uint8 28 × 28, white ink on black, the ink's longer side 20 px,
its centre of mass in the middle. Pictures come from outside and are taken for hostile: bytes and
pixels are capped before anything is decoded, and only named formats are.

How ink is found: the paper's brightness is estimated and taken off, ruling that crosses the whole
picture is removed, strokes are what stands out clearly and what hangs together with that, and of
several parts those stay that belong to the most likely one.
"""

import io
import warnings
from dataclasses import dataclass

import numpy as np

from digits.core.errors import PictureError

Box = tuple[int, int, int, int]

SIZE = 28  # px, the side of a glyph
INK_SIDE = 20  # px, the ink's longer side
FORMATS = ("PNG", "JPEG", "PPM", "BMP", "GIF", "TIFF", "WEBP")
SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".pgm",
    ".ppm",
    ".pbm",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".webp",
)
MAX_BYTES = 20 << 20
MAX_PIXELS = 40_000_000  # a 40-megapixel photo
_WORKING_SIDE = 400  # px; larger pictures are reduced to this first, glyphs need no more
_PHOTO_SIDE = 100  # px; smaller pictures are taken as they are: no uneven light, no ruling
_PAPER_SIDE = 64  # px, about, of the shorter side where the paper's brightness is estimated
_FINE_SIDE = 60  # px; ink is brought to at least this before its outline is drawn
_ORIENTATION = 0x0112  # the EXIF tag of how a camera was held
_MIN_CONTRAST = 12  # grey levels between ink and paper, below which a picture is blank
_NOISE_FACTOR = 6  # ink stands out from the paper's own spread by this much
_STRONG, _WEAK = 0.5, 0.3  # shares of the ink's darkness: what is ink, what is if next to ink
_LEAST_PART = 0.04  # of the main part's clear ink; less is a speck
_REACH = 0.35  # of the digit's longer side: how far off a part may be
_AT_EDGE = 0.25  # what ink counts in a part that the picture's edge cuts: perhaps another's
_THIN, _THICK = 2.2, 4.0  # px; MNIST's stroke widths by `_thickness`: 30th, 95th percentile
_UNSEEN = 0.25  # px on each side of a stroke, not worth correcting
_FRINGE = 0.1  # ink from here on counts for the 20 px


@dataclass(frozen=True)
class Glyph:
    """One digit in MNIST's form, and where it was.

    Attributes:
        image: uint8 `(28, 28)`.
        box: of the ink in the picture it came from, in px: left, top, right, bottom; right and
            bottom are the first column and row without ink.
    """

    image: np.ndarray
    box: Box


def read(data: bytes, name: str = "picture") -> Glyph:
    """The digit in a picture file; its box is in pixels of the picture as seen upright.

    Args:
        data: the file's bytes.
        name: what the picture is called in errors.

    Raises:
        PictureError: too large, of no known format, damaged, or without ink.
    """
    grey, (width, height) = _open(data, name)
    glyph = extract(grey, name)
    return Glyph(glyph.image, _scaled(glyph.box, width / grey.shape[1], height / grey.shape[0]))


def decode(data: bytes, name: str = "picture") -> np.ndarray:
    """Decode a picture to grey, upright; large JPEGs are decoded at a fraction of their size.

    Args:
        data: the file's bytes.
        name: what the picture is called in errors.

    Returns:
        uint8 `(height, width)`. Transparency is laid on the ground that its ink stands out from.

    Raises:
        PictureError: too large, of no known format, or damaged.
    """
    return _open(data, name)[0]


def normalise(grey: np.ndarray, name: str = "picture") -> np.ndarray:
    """Bring a grey picture of one digit, of any size and polarity, to MNIST's form.

    Args:
        grey: uint8 `(height, width)`.
        name: what the picture is called in errors.

    Returns:
        uint8 `(28, 28)`. A picture that is in MNIST's form already comes back as it is.

    Raises:
        PictureError: the picture holds no ink.
    """
    return extract(grey, name).image


def extract(grey: np.ndarray, name: str = "picture") -> Glyph:
    """As `normalise`, with the box of the ink in pixels of `grey`.

    Raises:
        PictureError: the picture holds no ink.
    """
    if grey.ndim != 2 or grey.dtype != np.uint8:
        raise PictureError(f"{name}: expected uint8 (height, width), got {grey.dtype} {grey.shape}")
    for image in (grey, 255 - grey) if grey.shape == (SIZE, SIZE) else ():
        if is_glyph(image):
            return Glyph(image, _box(image > 0))
    reduced = _reduced(grey)
    ink = _ink(reduced)
    if not ink.any():
        raise PictureError(
            f"{name}: no ink found; expected one digit that stands out from its paper"
        )
    box = _box(ink > 0)
    left, top, right, bottom = box
    image = _centred(_fitted(ink[top:bottom, left:right]))
    scale = grey.shape[1] / reduced.shape[1], grey.shape[0] / reduced.shape[0]
    return Glyph(image, _scaled(box, *scale))


def is_glyph(grey: np.ndarray) -> bool:
    """Whether a picture is in MNIST's form already: size, polarity, framing and centre."""
    if grey.shape != (SIZE, SIZE) or grey.max(initial=0) < 128:
        return False
    left, top, right, bottom = _box(grey > 0)
    if abs(max(right - left, bottom - top) - INK_SIDE) > 1:
        return False
    placed = _place(grey[top:bottom, left:right])
    return max(abs(placed[0] - top), abs(placed[1] - left)) <= 1.5


# files


def _open(data: bytes, name: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Grey pixels, perhaps fewer than the file has, and the upright file's width and height."""
    from PIL import Image, ImageOps

    if len(data) > MAX_BYTES:
        raise PictureError(f"{name}: {len(data):,} bytes, at most {MAX_BYTES:,} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # PIL warns of damage and of decompression bombs
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                size = _checked_size(image.size, name)
                on_its_side = image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
                image.draft("L", (_WORKING_SIDE, _WORKING_SIDE))
                grey = _grey(ImageOps.exif_transpose(image))
                return grey, size[::-1] if on_its_side else size
    except PictureError:
        raise
    except Exception as exc:  # PIL raises nearly anything on damaged files
        reason = "no picture in a format that is read" if _unknown(exc) else f"damaged ({exc})"
        raise PictureError(
            f"{name}: {reason}; expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        ) from exc


def _checked_size(size: tuple[int, int], name: str) -> tuple[int, int]:
    width, height = size
    if not 0 < width * height <= MAX_PIXELS:
        raise PictureError(f"{name}: {width} × {height} pixels, at most {MAX_PIXELS:,} are read")
    return size


def _unknown(error: Exception) -> bool:
    from PIL import UnidentifiedImageError

    return isinstance(error, UnidentifiedImageError)


def _grey(image: "object") -> np.ndarray:
    from PIL import Image

    assert isinstance(image, Image.Image)
    if image.mode.startswith(("I", "F")):  # 16 and 32 bits a pixel
        values = np.asarray(image, dtype=np.float64)
        low, high = float(values.min()), float(values.max())
        return ((values - low) * (255 / max(high - low, 1))).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("LA")
        ink, alpha = (np.asarray(band, dtype=np.float64) for band in image.split())
        visible = alpha > 127
        ground = 255 if not visible.any() or ink[visible].mean() < 128 else 0
        return (ground + (ink - ground) * alpha / 255).round().astype(np.uint8)
    return np.asarray(image.convert("L"))


def _reduced(grey: np.ndarray) -> np.ndarray:
    from PIL import Image

    factor = max(grey.shape) // _WORKING_SIDE
    return np.asarray(Image.fromarray(grey).reduce(factor)) if factor > 1 else grey


# ink


def _ink(grey: np.ndarray) -> np.ndarray:
    """How much ink is on each pixel: float 0–1, 0 where there is paper."""
    from scipy import ndimage

    photo = max(grey.shape) > _PHOTO_SIDE
    values = _above_paper(grey) if photo else _above_border(grey)
    strongest = _strength(values)
    noise = 1.4826 * float(np.median(np.abs(values - np.median(values)))) if photo else 0.0
    if strongest < max(_MIN_CONTRAST, _NOISE_FACTOR * noise):
        return np.zeros_like(values)
    weak = values > max(_WEAK * strongest, 3 * noise)
    if photo:
        weak = _without_ruling(weak, values)
    kept = _digit(weak, values > _STRONG * strongest)
    faint = 0.1 * strongest
    ink = np.clip((values - faint) / (0.9 * strongest - faint), 0, 1)
    return np.where(ndimage.binary_dilation(kept, np.ones((3, 3))), ink, 0)


def _strength(values: np.ndarray) -> float:
    """What ink is worth above paper: the middle of the clearly brightest pixels."""
    highest = float(values.max(initial=0))
    return float(np.median(values[values > highest / 2])) if highest > 0 else 0.0


def _above_border(grey: np.ndarray) -> np.ndarray:
    """Small pictures: ink as grey levels above the border, which is mostly paper."""
    values = grey.astype(np.float32)
    if np.median(_border(values)) > _otsu(values):
        values = 255 - values
    return values - np.median(_border(values))


def _above_paper(grey: np.ndarray) -> np.ndarray:
    """Photos: ink as grey levels above unevenly lit paper; in shadow both are darker."""
    small = _small(grey)
    if _is_dark_on_light(small):
        paper = 255 - _paper(255 - small, grey.shape)
        values = (paper - grey) * (255 / np.maximum(paper, 50))
    else:
        values = grey - _paper(small, grey.shape)
    return values - np.median(values)


def _is_dark_on_light(small: np.ndarray) -> bool:
    """Ink is what differs strongly, on few pixels, from the middle of its surroundings."""
    from scipy import ndimage

    window = _window(small)
    middle = ndimage.median_filter(small, (window, 1), mode="nearest")
    middle = ndimage.median_filter(middle, (1, window), mode="nearest")
    return float(((small - middle) ** 3).sum()) < 0


def _small(grey: np.ndarray) -> np.ndarray:
    from PIL import Image

    factor = max(1, round(min(grey.shape) / _PAPER_SIDE))
    return np.asarray(Image.fromarray(grey).reduce(factor), dtype=np.float32)


def _window(small: np.ndarray) -> int:
    """Wider than any stroke, narrower than most shadows."""
    return max(3, round(0.4 * min(small.shape)))


def _paper(small: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The ground under bright strokes: what is left when everything narrow is taken away."""
    from PIL import Image
    from scipy import ndimage

    window = _window(small)
    ground = ndimage.grey_opening(small, size=(window, window), mode="nearest")
    ground = ndimage.maximum_filter(ground, 3, mode="nearest")  # no false ink along shadows
    ground = ndimage.gaussian_filter(ground, 1, mode="nearest")
    picture = Image.fromarray(ground)
    return np.asarray(picture.resize(shape[::-1], Image.Resampling.BILINEAR))


def _without_ruling(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A mask without thin or faint lines that run from one edge of the picture to the other."""
    lines = _lines(mask) | _lines(mask.T).T
    rest = mask & ~lines
    if not lines.any() or not rest.any():
        return mask
    thinner = _thickness(lines) < 0.6 * _thickness(rest)
    fainter = values[lines].mean() < 0.75 * values[rest].mean()
    return rest if thinner or fainter else mask


def _lines(mask: np.ndarray) -> np.ndarray:
    """Lines from the left to the right edge, which may lean a little, without what crosses them."""
    from scipy import ndimage

    height, width = mask.shape
    run = np.ones((1, max(3, width // 8)))
    long = ndimage.binary_opening(ndimage.binary_dilation(mask, np.ones((3, 1))), run) & mask
    parts, _ = ndimage.label(long, np.ones((3, 3)))
    edge = max(2, width // 50)
    across = [
        number
        for number, (_, columns) in enumerate(ndimage.find_objects(parts), 1)
        if columns.start <= edge and columns.stop >= width - edge
    ]
    if not across:
        return np.zeros_like(mask)
    thick = 2 * max(3, round(0.02 * height))
    return np.isin(parts, across) & ~ndimage.binary_opening(mask, np.ones((thick, 1)))


def _digit(weak: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """Of a mask's parts, those that hold clear ink and belong to the most likely digit."""
    from scipy import ndimage

    parts, count = ndimage.label(weak, np.ones((3, 3)))
    if count <= 1:
        return weak
    sizes = np.bincount(parts[strong], minlength=count + 1)[1:]
    boxes = ndimage.find_objects(parts)
    at_edge = np.array([_touches_edge(box, weak.shape) for box in boxes])
    main = int(np.argmax(np.where(at_edge, _AT_EDGE, 1.0) * sizes))
    likely = (sizes >= _LEAST_PART * sizes[main]) & (at_edge[main] | ~at_edge)
    kept, union = {main}, boxes[main]
    for part in sorted(np.flatnonzero(likely), key=lambda part: _gap(boxes[part], boxes[main])):
        if _gap(boxes[part], union) <= _REACH * max(s.stop - s.start for s in union):
            kept.add(int(part))
            union = _union(union, boxes[part])
    return np.isin(parts, [part + 1 for part in kept])


def _union(one: tuple[slice, ...], other: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )


def _touches_edge(box: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    return any(s.start == 0 or s.stop == side for s, side in zip(box, shape, strict=True))


def _gap(one: tuple[slice, ...], other: tuple[slice, ...]) -> int:
    """The larger of the distances of two boxes along the two axes, 0 where they overlap."""
    return max(max(a.start - b.stop, b.start - a.stop, 0) for a, b in zip(one, other, strict=True))


def _border(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _otsu(values: np.ndarray) -> float:
    """The grey level that parts ink from paper best (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(centres[int(np.argmax(np.nan_to_num(spread)))])


# form


def _fitted(ink: np.ndarray) -> np.ndarray:
    """Scale so that the longer side is 20 px and strokes are as wide as MNIST's; float 0–255."""
    from PIL import Image

    fine = _with_usual_strokes(_fine(ink))
    left, top, right, bottom = _box(fine > _FRINGE)
    factor = INK_SIDE / max(bottom - top, right - left)
    size = max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor))
    picture = Image.fromarray(fine[top:bottom, left:right])
    values = np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=np.float64)
    return np.clip(values * (255 / max(np.percentile(values, 95), 1e-9)), 0, 255)


def _fine(ink: np.ndarray) -> np.ndarray:
    from PIL import Image

    factor = _FINE_SIDE / max(ink.shape)
    padded = np.pad(ink, 1).astype(np.float32)
    if factor <= 1:
        return padded
    height, width = (round(side * factor) for side in padded.shape)
    scaled = Image.fromarray(padded).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(scaled), 0, 1)


def _with_usual_strokes(fine: np.ndarray) -> np.ndarray:
    """Thin strokes thickened and thick ones thinned, to what is usual in MNIST."""
    from scipy import ndimage

    mask = fine > 0.5
    if not mask.any():
        return fine
    pixel = max(mask.shape) / INK_SIDE
    width = _thickness(mask)
    missing, excess = (_THIN * pixel - width) / 2, (width - _THICK * pixel) / 2
    if missing > _UNSEEN:
        distance = ndimage.distance_transform_edt(~np.pad(mask, int(missing) + 2))
        fine = np.clip(missing + 0.5 - distance, 0, 1).astype(np.float32)
    elif excess > _UNSEEN:
        thinned = np.clip(ndimage.distance_transform_edt(mask) - excess, 0, 1)
        fine = thinned.astype(np.float32) if (thinned > 0.5).any() else fine
    return fine


def _thickness(mask: np.ndarray) -> float:
    """Mean stroke width in px: twice area over outline, by Crofton's formula π/4."""
    padded = np.pad(mask, 1)
    outline = (padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum()
    return 2 * float(mask.sum()) / max(float(outline) * np.pi / 4, 1.0)


def _centred(ink: np.ndarray) -> np.ndarray:
    """Lay on a black 28 × 28 ground with the centre of mass in the middle."""
    top, left = map(round, _place(ink))
    glyph = np.zeros((SIZE, SIZE), dtype=np.uint8)
    glyph[top : top + ink.shape[0], left : left + ink.shape[1]] = ink.round().astype(np.uint8)
    return glyph


def _place(ink: np.ndarray) -> tuple[float, float]:
    """Top and left at which the ink's centre of mass is in the middle, as far as there is room."""
    total = max(float(ink.sum(dtype=np.float64)), 1e-9)
    y, x = (
        float(ink.sum(axis=1 - axis, dtype=np.float64) @ np.arange(ink.shape[axis])) / total
        for axis in (0, 1)
    )
    middle = (SIZE - 1) / 2
    return (
        min(max(middle - y, 0.0), float(SIZE - ink.shape[0])),
        min(max(middle - x, 0.0), float(SIZE - ink.shape[1])),
    )


def _box(mask: np.ndarray) -> Box:
    """Left, top, right, bottom of what is set."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _scaled(box: Box, x: float, y: float) -> Box:
    """A box in a picture that is `x` times as wide and `y` times as high."""
    left, top, right, bottom = box
    return round(left * x), round(top * y), round(right * x), round(bottom * y)
