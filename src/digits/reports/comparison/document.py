"""A comparison as texts, tables and lists, which each renderer shows in its way.

Names and values come from files that the author of a pull request may have written. Nothing here
is escaped: each renderer escapes every text.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from digits.formatting import one_line, percent

Tone = Literal["", "better", "worse", "chance"]

NONE = "–"  # in place of a missing value
BEFORE_NOW = ("before", "now")
_MAX_ROWS = 40  # of a section
_MAX_SIZE = 4_000  # characters of a section
_MAX_NAME = 120  # characters of a name or value
_MAX_TEXT = 600  # characters of a sentence


class Name(str):
    """A name or value from a file, shown as code: one line of limited length."""


Text = tuple[str, ...]  # pieces in their order, each plain text or a `Name`


class Row(NamedTuple):
    """Cells from left to right; "chance" is noise."""

    cells: Sequence[Text]
    tone: Tone = ""


@dataclass(frozen=True)
class Section:
    """A table, or without `head` a list.

    `folded` hides what few will read; `noise` is what chance explains. `right` are right-aligned
    columns, `omitted` counts rows that are left out.
    """

    key: str
    title: str
    rows: Sequence[Row] = ()
    head: Sequence[str] = ()
    right: Collection[int] = ()
    note: str = ""
    folded: bool = False
    noise: bool = False
    omitted: int = 0


def row(*cells: str, tone: Tone = "") -> Row:
    """A row of plain cells."""
    return Row(tuple((cell,) for cell in cells), tone)


def limited(section: Section) -> Section:
    """The section with as many rows as it may have."""
    size, shown = 0, 0
    for one in section.rows[:_MAX_ROWS]:
        size += sum(len(part) for cell in one.cells for part in cell)
        if size > _MAX_SIZE:
            break
        shown += 1
    return replace(section, rows=section.rows[:shown], omitted=len(section.rows) - shown)


# numbers


def share(number: float | None) -> str:
    """A share, 0–1, as a percentage."""
    return NONE if number is None else percent(number)


def points(old: float | None, new: float | None) -> str:
    """The difference of two shares in percentage points."""
    if old is None or new is None:
        return NONE
    return f"{100 * (new - old):+.2f}" if old != new else "0"


def arrow(old: str, new: str) -> str:
    """`95.00 → 70.00 %`, or once if both are the same."""
    return new if old == new else f"{old.removesuffix(' %')} → {new}"


def number(content: float | None) -> str:
    """A count."""
    return NONE if content is None else f"{content:,.0f}"


def count(n: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


# untrusted text


def sentence(text: str) -> str:
    """One line of limited length that starts with a capital letter."""
    text = _shortened(text, _MAX_TEXT)
    return text[:1].upper() + text[1:]


def name(text: str) -> Name:
    """A name from a file."""
    return Name(_shortened(text, _MAX_NAME))


def value(content: Any) -> Name:
    """A parameter or another value; a dash if there is none."""
    if content is None:
        return Name(NONE)
    return name(content if isinstance(content, str) else json.dumps(content, default=str))


def _shortened(text: str, width: int) -> str:
    """One line; in a long one, a digest replaces the middle so that no two look the same."""
    text = one_line(text)
    if len(text) <= width:
        return text
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"{text[: width // 2]}…{digest}…{text[-width // 2 + 10 :]}"
