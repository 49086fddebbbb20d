"""Any picture of one digit → MNIST's form. Training, predicting and drift all come through here.

MNIST's form (LeCun et al. 1998): uint8 28 × 28, white ink on black, the ink's longer side 20 px,
its centre of mass in the middle. Pictures come from outside and are taken for hostile: bytes and
pixels are capped before anything is decoded, and only named formats are.
"""

import io
import warnings

import numpy as np

from digits.errors import PictureError

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
_MIN_CONTRAST = 12  # grey levels between ink and paper, below which a picture is blank


def decode(data: bytes, name: str = "picture") -> np.ndarray:
    """Decode a picture to grey.

    Args:
        data: the file's bytes.
        name: what the picture is called in errors.

    Returns:
        uint8 `(height, width)`. Transparency is laid on the ground that its ink stands out from.

    Raises:
        PictureError: too large, of no known format, or damaged.
    """
    from PIL import Image, ImageOps

    if len(data) > MAX_BYTES:
        raise PictureError(f"{name}: {len(data):,} bytes, at most {MAX_BYTES:,} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # PIL warns of damage and of decompression bombs
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(image.size, name)
                image.draft("L", (_WORKING_SIDE, _WORKING_SIDE))
                return _grey(ImageOps.exif_transpose(image))
    except PictureError:
        raise
    except Exception as exc:  # PIL raises nearly anything on damaged files
        reason = "no picture in a format that is read" if _unknown(exc) else f"damaged ({exc})"
        raise PictureError(
            f"{name}: {reason}; expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        ) from exc


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
    if grey.ndim != 2 or grey.dtype != np.uint8:
        raise PictureError(f"{name}: expected uint8 (height, width), got {grey.dtype} {grey.shape}")
    if is_glyph(grey):
        return grey
    ink = _ink(_reduced(grey))
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        raise PictureError(
            f"{name}: no ink found; expected one digit that stands out from its paper"
        )
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _centred(_fitted(box))


def is_glyph(grey: np.ndarray) -> bool:
    """Whether a picture is in MNIST's form already: size, polarity, framing and centre."""
    if grey.shape != (SIZE, SIZE) or grey.max(initial=0) < 128:
        return False
    rows, columns = np.flatnonzero(grey.any(axis=1)), np.flatnonzero(grey.any(axis=0))
    longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    middle = (SIZE - 1) / 2
    return abs(int(longer) - INK_SIDE) <= 1 and all(
        abs(centre - middle) <= 1.5 for centre in _centre_of_mass(grey)
    )


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if not 0 < width * height <= MAX_PIXELS:
        raise PictureError(f"{name}: {width} × {height} pixels, at most {MAX_PIXELS:,} are read")


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


def _ink(grey: np.ndarray) -> np.ndarray:
    """How much ink is on each pixel: float 0–1, 0 where there is paper."""
    from scipy import ndimage

    values = ndimage.median_filter(grey, 3) if min(grey.shape) > 100 else grey
    values = values.astype(np.float64)
    if _background(values) > _otsu(values):
        values = 255 - values
    window = max(3, round(0.4 * min(values.shape)))
    if min(values.shape) > 2 * SIZE:  # a photo: paper is unevenly lit
        paper = ndimage.grey_opening(values, size=(window, window), mode="nearest")
        values = values - ndimage.gaussian_filter(paper, window / 4)
    values -= np.median(_border(values))
    strongest = np.percentile(values[values > values.max() / 2], 50) if values.max() > 0 else 0
    if strongest < _MIN_CONTRAST:
        return np.zeros_like(values)
    threshold = min(_otsu(values), 0.5 * strongest)
    keep = _without_specks(values > threshold)
    faint = 0.25 * threshold
    ink = np.clip((values - faint) / (strongest - faint), 0, 1)
    return np.where(ndimage.binary_dilation(keep, np.ones((3, 3))), ink, 0)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """The parts of a mask that are at least a twentieth of its largest part."""
    from scipy import ndimage

    parts, count = ndimage.label(mask, np.ones((3, 3)))
    if count <= 1:
        return mask
    sizes = np.bincount(parts.ravel())[1:]
    kept = np.flatnonzero(sizes >= 0.05 * sizes.max()) + 1
    return np.isin(parts, kept)


def _border(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _background(values: np.ndarray) -> float:
    return float(np.median(_border(values)))


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


def _fitted(ink: np.ndarray) -> np.ndarray:
    """Scale so that the longer side is 20 px; float 0–255."""
    from PIL import Image

    factor = INK_SIDE / max(ink.shape)
    height, width = (max(1, round(side * factor)) for side in ink.shape)
    scaled = Image.fromarray(ink.astype(np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    values = np.clip(np.asarray(scaled, dtype=np.float64), 0, None)
    return np.clip(values * (255 / max(np.percentile(values, 95), 1e-9)), 0, 255)


def _centred(ink: np.ndarray) -> np.ndarray:
    """Lay on a black 28 × 28 ground with the centre of mass in the middle."""
    height, width = ink.shape
    y, x = _centre_of_mass(ink)
    top = int(np.clip(round((SIZE - 1) / 2 - y), 0, SIZE - height))
    left = int(np.clip(round((SIZE - 1) / 2 - x), 0, SIZE - width))
    glyph = np.zeros((SIZE, SIZE), dtype=np.uint8)
    glyph[top : top + height, left : left + width] = ink.round().astype(np.uint8)
    return glyph


def _centre_of_mass(values: np.ndarray) -> tuple[float, float]:
    total = max(float(values.sum(dtype=np.float64)), 1e-9)
    y = float(values.sum(axis=1, dtype=np.float64) @ np.arange(values.shape[0])) / total
    x = float(values.sum(axis=0, dtype=np.float64) @ np.arange(values.shape[1])) / total
    return y, x
