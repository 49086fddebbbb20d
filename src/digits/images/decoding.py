"""Picture files → grey pixels.

Files come from outside and may be hostile: bytes and pixels are capped before anything is decoded,
and only the formats listed here are opened.
"""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from digits.core.errors import PictureError

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
_WORKING_SIDE = 400  # px; larger pictures are reduced to about this, enough for a glyph
_ORIENTATION = 0x0112  # EXIF tag: how the camera was held


def decode(data: bytes, name: str = "picture") -> tuple[np.ndarray, tuple[int, int]]:
    """Decode a picture to upright grey pixels; large JPEGs at a fraction of their size.

    Args:
        data: the file's bytes.
        name: the picture's name in error messages.

    Returns:
        uint8 `(height, width)`, and the upright picture's full width and height in px. Transparent
        pixels become paper: black or white, whichever contrasts with the ink.

    Raises:
        PictureError: the file is too large, of another format, or damaged.
    """
    if len(data) > MAX_BYTES:
        raise PictureError(f"{name}: {len(data):,} bytes, expected at most {MAX_BYTES:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # PIL warns of damage and of decompression bombs
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if not 0 < width * height <= MAX_PIXELS:
                    raise PictureError(
                        f"{name}: {width} × {height} pixels, expected at most {MAX_PIXELS:,}"
                    )
                if image.getexif().get(_ORIENTATION) in (5, 6, 7, 8):  # turned by 90°
                    width, height = height, width
                image.draft("L", (_WORKING_SIDE, _WORKING_SIDE))
                return _to_grey(ImageOps.exif_transpose(image)), (width, height)
    except PictureError:
        raise
    except Exception as exc:  # PIL raises nearly anything on damaged files
        unknown = isinstance(exc, UnidentifiedImageError)
        reason = "not a picture in a supported format" if unknown else f"damaged ({exc})"
        raise PictureError(
            f"{name}: {reason}; expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        ) from exc


def reduce(grey: np.ndarray) -> np.ndarray:
    """Shrink a picture by a whole factor, to less than 800 px on its longer side."""
    factor = max(grey.shape) // _WORKING_SIDE
    return np.asarray(Image.fromarray(grey).reduce(factor)) if factor > 1 else grey


def _to_grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):  # 16 and 32 bits per pixel
        values = np.asarray(image, dtype=np.float64)
        low, high = float(values.min()), float(values.max())
        return ((values - low) * (255 / max(high - low, 1))).astype(np.uint8)
    if image.has_transparency_data:
        ink, alpha = (np.asarray(band, dtype=np.float64) for band in image.convert("LA").split())
        visible = alpha > 127
        paper = 255 if not visible.any() or ink[visible].mean() < 128 else 0
        return (paper + (ink - paper) * alpha / 255).round().astype(np.uint8)
    return np.asarray(image.convert("L"))
