"""What a model card is built of: sections, tables, badges, and figures in words."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from digits.formatting import percent
from digits.registry.card import State
from digits.registry.record import text

MISSING = "not recorded"
_MARKS = {"pass": "✓", "warning": "!", "fail": "✗", "unknown": "?"}


class Code(str):
    """A path, digest or value, to be set in a fixed-width font."""


class Badge(NamedTuple):
    """A short verdict."""

    state: State
    words: str

    def __str__(self) -> str:
        return f"{_MARKS[self.state]} {self.words}"


Cell = str | Badge


@dataclass(frozen=True)
class Table:
    """A table; `right` are the right-aligned columns, `strong` the rows to emphasise."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: Sequence[int] = ()
    strong: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Section:
    """A part of the card. `facts` are pairs of a name and a value, `notes` a list of sentences."""

    id: str
    title: str
    lead: str = ""
    facts: list[tuple[str, Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    picture: str = ""  # a key of Card.pictures
    picture_text: str = ""


def event(date: str, by: str, reason: str) -> str:
    """When, by whom and why something was done."""
    on = " by ".join(filter(None, (date[:10], by.split(" <")[0]))) or MISSING
    return f"{on}: {reason}" if reason else on


def literal(value: Any) -> str:
    """A parameter as one line."""
    return text(value if isinstance(value, str) else json.dumps(value, default=str))


def share(value: float | None) -> str:
    """A share, 0–1, as a percentage."""
    return MISSING if value is None else percent(value)


def amount(value: int | None) -> str:
    """A number of things."""
    return MISSING if value is None else f"{value:,}"


def interval(ends: tuple[float, float] | None) -> str:
    """The ends of an interval of a share."""
    return MISSING if ends is None else f"{100 * ends[0]:.2f} – {percent(ends[1])}"
