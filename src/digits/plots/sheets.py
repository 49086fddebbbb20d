"""Contact sheets: many digits in one small PNG, pixel for pixel, that git can track."""

import io

import numpy as np
from PIL import Image

from digits.core.errors import DataError

COLUMNS = 20
MAX_CELLS = 2000  # further images are left out
_SIDE = 28  # pixels of a cell
_MAX_BYTES = 4 << 20


def sheet(images: np.ndarray, columns: int = COLUMNS) -> bytes:
    """A PNG of the images in their order, row by row, without a margin.

    Args:
        images: uint8 `(n, 28, 28)`; the first `MAX_CELLS` are shown.
    """
    shown = images[:MAX_CELLS]
    rows = max(1, -(-len(shown) // columns))
    cells = np.zeros((rows * columns, _SIDE, _SIDE), dtype=np.uint8)
    cells[: len(shown)] = shown
    grid = cells.reshape(rows, columns, _SIDE, _SIDE).swapaxes(1, 2)
    png = io.BytesIO()
    picture = Image.fromarray(grid.reshape(rows * _SIDE, columns * _SIDE))
    picture.save(png, format="PNG", optimize=True)
    return png.getvalue()


def cells(png: bytes) -> np.ndarray:
    """The images of a sheet, uint8 `(n, 28, 28)`, with the blank ones that fill its last row.

    Raises:
        DataError: not a sheet, or a larger one than `sheet` makes.
    """
    try:
        if len(png) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES >> 20} MiB")
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
            width, height = picture.size
            if picture.mode != "L" or width % _SIDE or height % _SIDE:
                raise ValueError(f"{width} × {height} pixels of mode {picture.mode}")
            if width * height > (MAX_CELLS + COLUMNS) * _SIDE**2:
                raise ValueError(f"{width} × {height} pixels")
            grid = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise DataError(f"not a contact sheet of {_SIDE} × {_SIDE} digits ({exc})") from exc
    rows, columns = height // _SIDE, width // _SIDE
    return grid.reshape(rows, _SIDE, columns, _SIDE).swapaxes(1, 2).reshape(-1, _SIDE, _SIDE)
