"""The style of all plots: size, font, colours, title and note, and rendering as PNG.

Equal values give equal bytes. Nothing here writes files or changes pyplot's global state. The two
colours are Okabe and Ito's blue and vermillion (https://jfly.uni-koeln.de/color/), which
colour-blind readers can tell apart; nothing is shown by colour alone.
"""

import io
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, ParamSpec

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

_Layout = Literal["constrained"] | None
_Arguments = ParamSpec("_Arguments")

DPI = 150  # 8 inches are 1,200 pixels, which stay sharp at the report's 820 px
WIDTH = 8.0  # inches
HEAD = 0.72  # inches above the axes, for the title and the note

INK, MUTED, GRID, CALM = "#1f2328", "#667080", "#e3e6ea", "#eef1f4"
BLUE, RED = "#0072b2", "#d55e00"
DASHED = (0, (4, 3))
HOLLOW: dict[str, Any] = {
    "color": "white",
    "markeredgecolor": RED,
    "markeredgewidth": 2,
    "markersize": 7,
}
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g} %")
_STYLE = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so every machine has it
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 2,
}


def png(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, bytes]:
    """Decorator: return the figure as PNG bytes, independent of the user's matplotlibrc."""

    @wraps(draw)
    def drawn(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> bytes:
        buffer = io.BytesIO()
        with matplotlib.style.context(["default", _STYLE]):
            draw(*args, **kwargs).savefig(
                buffer, format="png", dpi=DPI, metadata={"Software": None}
            )
        return buffer.getvalue()

    return drawn


def sheet(height: float, title: str, note: str, layout: _Layout = "constrained") -> Figure:
    """An empty figure with a title, which states the finding, and a note on how to read it.

    Args:
        height: in inches, title included.
        layout: None if the caller positions the axes.
    """
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    if isinstance(engine := figure.get_layout_engine(), ConstrainedLayoutEngine):
        engine.set(rect=(0, 0, 1, 1 - HEAD / height))
    figure.text(0.1 / WIDTH, 1 - 0.12 / height, title, va="top", fontsize=13, weight="bold")
    figure.text(0.1 / WIDTH, 1 - 0.42 / height, note, va="top", fontsize=9.5, color=MUTED)
    return figure


def image_axes(figure: Figure, left: float, top: float, side: float) -> Axes:
    """Square, framed axes for an image; sizes are in inches, from the figure's top left corner."""
    width, height = figure.get_size_inches()
    place = (left / width, (height - top - side) / height, side / width, side / height)
    axes = figure.add_axes(place, xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=GRID)
    return axes
