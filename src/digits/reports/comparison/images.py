"""The images that changed sides, in words."""

from collections import Counter
from collections.abc import Sequence

from digits.gate.evidence import TEST
from digits.gate.pictures import Tile
from digits.reports.comparison.document import Row, Section, count, name


def title(side: str, tiles: Sequence[Tile]) -> str:
    """How many images of which sets: `Newly wrong: 132 test images, 33 of handwriting`."""
    test = sum(tile.set == TEST for tile in tiles)
    rest = len(tiles) - test
    counts = [count(test, "test image")] if test else []
    counts += [f"{rest:,} of handwriting"] if rest else []
    return f"{side.capitalize()}: {', '.join(counts)}"


def alt_text(side: str, tiles: Sequence[Tile]) -> str:
    """What a picture of the images shows."""
    counts = Counter(tile.caption for tile in tiles).most_common(3)
    captions = ", ".join(f"{n} × {caption}" for caption, n in counts)
    return f"Images that are {side}, most often {captions}"


def listed(tiles: Sequence[Tile], most: int) -> Section:
    """The images in words, for where they can't be shown."""
    rows = [
        Row(((tile.caption,), place(tile), (f"{tile.misread.confidence:.0%}",)))
        for tile in tiles[:most]
    ]
    head = ("", "image", "confidence")
    return Section("list", "", rows, head, (1, 2), omitted=len(tiles) - len(rows))


def place(tile: Tile) -> tuple[str, ...]:
    """Where an image is: its set and its index there."""
    if tile.set == TEST:
        return (f"test {tile.index:,}",)
    return (name(tile.set), f" {tile.index:,}")
