"""Pictures in Markdown artifacts: Prefect's UI serves no files, so the text carries them."""

import base64
import io
from pathlib import Path

from PIL import Image

from digits.formatting import markdown_text

_COLOURS = 64  # a plot takes a third of the bytes and looks the same


def markdown(path: Path, title: str) -> str:
    """A PNG file as Markdown, some 30 to 100 kB long; empty if the file is missing or damaged."""
    compressed = io.BytesIO()
    try:
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(_COLOURS).save(compressed, "PNG", optimize=True)
    except OSError:
        return ""
    encoded = base64.b64encode(compressed.getvalue()).decode()
    return f"![{markdown_text(title)}](data:image/png;base64,{encoded})"
