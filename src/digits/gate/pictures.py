"""The images that changed sides between two revisions, from the contact sheets that git tracks."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from digits.core.errors import DataError
from digits.core.project import Project
from digits.gate.changes import SetChange
from digits.gate.evidence import TEST, Evidence, Misread
from digits.plots import sheets
from digits.versioning import git

_ZOOM = 3
_PAD, _LINE, _FONT, _SMALL = 8, 17, 14, 11  # pixels
_MOST_PLACE = 16  # characters below an image
_COLUMNS = 5  # so that captions can be read on a phone
_INK, _MUTED = "#1f2328", "#5b6573"


@dataclass(frozen=True)
class Tile:
    """An image that one of two models misreads; `image` is None if its revision has no sheet."""

    set: str
    index: int
    image: np.ndarray | None  # uint8 (28, 28), white on black
    misread: Misread

    @property
    def caption(self) -> str:
        """Which digit was read as which."""
        return f"{self.misread.label} read as {self.misread.prediction}"


def changed(
    project: Project, old: Evidence, new: Evidence, sets: Mapping[str, SetChange]
) -> dict[str, list[Tile]]:
    """The images that are "newly wrong" and "newly right", the most confident errors first."""
    tiles: dict[str, list[Tile]] = {"newly wrong": [], "newly right": []}
    pages = {(id(one), kind): _sheet(project, one, kind) for one in (old, new) for kind in (0, 1)}
    for name, change in sets.items():
        sides = (
            ("newly wrong", new, change.difference.newly_wrong),
            ("newly right", old, change.difference.newly_right),
        )
        for side, evidence, indices in sides:
            page = pages[id(evidence), int(name != TEST)]
            for index in indices:
                row = evidence.sets[name].misread[index]
                tiles[side].append(Tile(name, index, _cell(page, row), row))
    return {side: sorted(found, key=_order) for side, found in tiles.items()}


def misread(project: Project, evidence: Evidence, name: str) -> list[Tile]:
    """The images of a set that a revision's model misreads, the most confident errors first."""
    page = _sheet(project, evidence, int(name != TEST))
    return sorted(
        (
            Tile(name, index, _cell(page, row), row)
            for index, row in evidence.sets[name].misread.items()
        ),
        key=_order,
    )


def chosen(tiles: Sequence[Tile], most: int) -> list[Tile]:
    """As many images as there is room for; a third of them of handwriting, if there are any."""
    found = [tile for tile in tiles if tile.image is not None]
    test = [tile for tile in found if tile.set == TEST]
    others = [tile for tile in found if tile.set != TEST]
    room = most - min(len(others), max(most // 3, most - len(test)))
    return [*test[:room], *others[: most - room]]


def draw(tiles: Sequence[Tile], most: int = 40) -> bytes:
    """A PNG of the tiles with captions, ink on paper; those without an image are left out."""
    shown = chosen(tiles, most)
    side = 28 * _ZOOM
    width, height = side + 2 * _PAD, side + 3 * _LINE + 2 * _PAD
    columns = max(1, min(_COLUMNS, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    page = Image.new("RGB", (columns * width, rows * height), "white")
    pen = ImageDraw.Draw(page)
    font, small = ImageFont.load_default(_FONT), ImageFont.load_default(_SMALL)
    for place, tile in enumerate(shown):
        row, column = divmod(place, columns)
        left, top = column * width + _PAD, row * height + _PAD
        glyph = Image.fromarray(255 - np.asarray(tile.image)).resize(
            (side, side), Image.Resampling.NEAREST
        )
        page.paste(glyph, (left, top))
        pen.rectangle((left - 1, top - 1, left + side, top + side), outline="#dfe3e8")
        pen.text((left, top + side + 2), tile.caption, fill=_INK, font=font)
        sure = f"{tile.misread.confidence:.0%} sure"
        pen.text((left, top + side + 2 + _LINE), sure, fill=_MUTED, font=small)
        index = f" {tile.index}"  # never cut
        where = tile.set[: _MOST_PLACE - len(index)] + index
        pen.text((left, top + side + 2 * _LINE), where, fill=_MUTED, font=small)
    png = io.BytesIO()
    page.save(png, format="PNG", optimize=True)
    return png.getvalue()


def _cell(page: np.ndarray | None, row: Misread) -> np.ndarray | None:
    return page[row.cell] if page is not None and row.cell < len(page) else None


def _order(tile: Tile) -> tuple[bool, str, float, int]:
    return tile.set != TEST, tile.set, -tile.misread.confidence, tile.index


def _sheet(project: Project, evidence: Evidence, handwriting: int) -> np.ndarray | None:
    path = project.batch_mistakes_sheet if handwriting else project.mistakes_sheet
    png = git.read_bytes(project, project.relative(path), evidence.commit)
    if png is None:
        return None
    try:
        return sheets.cells(png)
    except DataError:  # damaged, or not what this program writes
        return None
