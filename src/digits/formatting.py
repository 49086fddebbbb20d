"""Figures as people read them."""

from collections.abc import Mapping
from typing import Any


def percent(share: float) -> str:
    """A share, 0–1: `99.70 %`."""
    return f"{100 * share:.2f} %"


def interval(figures: Mapping[str, Any], name: str) -> str:
    """The confidence interval of a share, `99.50 – 99.74 %`; "" if there is none."""
    if f"{name}_interval" not in figures:
        return ""
    low, high = figures[f"{name}_interval"]
    return f"{100 * low:.2f} – {percent(high)}"
