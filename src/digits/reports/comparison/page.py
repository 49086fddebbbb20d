"""A comparison as an HTML page that needs no other file, no network and no script."""

import base64
import importlib.resources
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from digits.gate import pictures
from digits.gate.comparison import Comparison
from digits.gate.differences import Change
from digits.gate.pictures import Tile
from digits.reports.comparison import images
from digits.reports.comparison.document import Name
from digits.reports.comparison.head import head
from digits.reports.comparison.sections import ACCURACY, sections

_FIRST, _SHOWN = 20, 80  # images of each side
_WIDTH, _HEIGHT = 320, 150  # of a chart, without its margins
_TITLES = {
    "val/accuracy": "Validation accuracy",
    "val/loss": "Validation objective",
    "train/accuracy": "Training accuracy",
    "train/loss": "Training objective",
}


@dataclass(frozen=True)
class Chart:
    """A learning curve of both sides; `old` and `new` are the points of an SVG polyline."""

    title: str
    top: str  # labels of the axes
    bottom: str
    epochs: int
    old: str
    new: str


def build(result: Comparison, tiles: Mapping[str, Sequence[Tile]]) -> str:
    """The page.

    Args:
        tiles: side ("newly wrong", …) → the images that changed sides.
    """
    shown = sections(result)
    return _template().render(
        result=result,
        head=head(result),
        accuracy=[one for one in shown if one.key in ACCURACY],
        others=[one for one in shown if one.key not in ACCURACY],
        sides={images.title(side, found): _group(found) for side, found in tiles.items() if found},
        charts=[_chart(key, curve) for key, curve in result.changes.curves.items()],
        width=_WIDTH,
        height=_HEIGHT,
    )


def _group(tiles: Sequence[Tile]) -> dict[str, Any]:
    """The images with their captions: those shown, those folded, and how many are left out."""
    shown = pictures.chosen(tiles, _SHOWN)
    first = pictures.chosen(shown, _FIRST)
    kept = {id(tile) for tile in first}
    second = [tile for tile in shown if id(tile) not in kept]
    return {
        "first": [_tile(tile) for tile in first],
        "second": [_tile(tile) for tile in second],
        "omitted": len(tiles) - len(shown),
    }


def _tile(tile: Tile) -> dict[str, str]:
    return {
        "uri": _uri(np.asarray(tile.image)),
        "caption": tile.caption,
        "place": "".join(images.place(tile)),
        "confidence": f"{tile.misread.confidence:.0%}",
    }


def _uri(image: np.ndarray) -> str:
    png = io.BytesIO()
    Image.fromarray(255 - image).save(png, format="PNG", optimize=True)  # ink on paper
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")


def _chart(key: str, curve: Change) -> Chart:
    values = [*curve.old, *curve.new] or [0.0]
    low, high = min(values), max(values)
    epochs = max(len(curve.old), len(curve.new), 2)

    def points(side: Sequence[float]) -> str:
        places = enumerate(side)
        return " ".join(
            f"{_WIDTH * step / (epochs - 1):.1f},{_HEIGHT * (high - one) / (high - low or 1):.1f}"
            for step, one in places
        )

    show = "{:.1%}".format if key.endswith("accuracy") else "{:.3g}".format
    return Chart(_TITLES[key], show(high), show(low), epochs, points(curve.old), points(curve.new))


@cache
def _template() -> jinja2.Template:
    source = importlib.resources.files("digits.reports") / "templates" / "comparison.html.j2"
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["name"] = lambda piece: isinstance(piece, Name)
    return environment.from_string(source.read_text(encoding="utf-8"))
