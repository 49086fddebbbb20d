"""Scatter plots of models' accuracy against their cost, as PNG bytes.

Labels are placed here because those of adjustText and textalloc cover markers and lines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

from digits.formatting import duration, percent
from digits.plots.style import BLUE, DASHED, HOLLOW, png, sheet

_ERRORS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
_TIMES = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 18000, 36000,
)  # fmt: skip
_FILLED: dict[str, Any] = {"marker": "o", "color": BLUE, "markersize": 10}
_Better = Callable[[float, float], float]  # min or max
# Offsets of a label from its point, in points (1/72 inch), with its alignment; the best first.
_PLACES = tuple(
    (x * reach, y * reach, horizontal, vertical)
    for reach in (1, 2, 3.5)
    for x, y, horizontal, vertical in (
        (9, 0, "left", "center"),
        (-9, 0, "right", "center"),
        (8, 8, "left", "bottom"),
        (-8, 8, "right", "bottom"),
        (8, -8, "left", "top"),
        (-8, -8, "right", "top"),
        (0, 10, "center", "bottom"),
        (0, -10, "center", "top"),
    )
)


@dataclass(frozen=True)
class Point:
    """A model: training time or throughput `x`, and its accuracy with each seed, 0–1."""

    name: str
    x: float
    accuracies: Sequence[float]

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def std(self) -> float:
        """Sample standard deviation of the accuracy; 0 for a single seed."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else 0.0


@png
def training_time(points: Sequence[Point], images: int) -> Figure:
    """Accuracy against training time.

    Args:
        points: at least one; `x` is in seconds.
        images: size of the validation set.
    """
    best = max(points, key=lambda point: point.mean)
    fastest = min(points, key=lambda point: point.x)
    figure = sheet(
        5.2,
        f"Most accurate: {best.name}, {percent(best.mean)}. "
        f"Fastest to train: {fastest.name}, {duration(fastest.x)}",
        "Filled: no model is both faster to train and more accurate. "
        "Pale dots: single seeds. Bars: ± 1 standard deviation.",
    )
    axes = _scatter(figure, points, images, better=min)
    axes.xaxis.set_major_locator(FixedLocator(_TIMES))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    axes.set_xlabel("training time (logarithmic)")
    _label(figure, axes, points, images, better=min)
    return figure


@png
def throughput(points: Sequence[Point], images: int) -> Figure:
    """Accuracy against throughput.

    Args:
        points: at least one; `x` is in images per second.
        images: size of the validation set.
    """
    best = max(points, key=lambda point: point.mean)
    fastest = max(points, key=lambda point: point.x)
    slowest = min(point.x for point in points)
    figure = sheet(
        5.2,
        f"Most accurate: {best.name}, {percent(best.mean)}. "
        f"Fastest: {fastest.name}, {float(f'{fastest.x:.3g}'):,.0f} images/s",
        "Filled: no model is both faster and more accurate. "
        "Pale dots: single seeds. Bars: ± 1 standard deviation.",
    )
    axes = _scatter(figure, points, images, better=max)
    axes.xaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if fastest.x < 100 * slowest else (1, 3))
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("throughput in images per second (logarithmic)")
    _label(figure, axes, points, images, better=max)
    return figure


def _scatter(figure: Figure, points: Sequence[Point], images: int, better: _Better) -> Axes:
    """Models on logarithmic axes; those on the Pareto front are filled."""
    axes = figure.add_subplot()
    front = _pareto_front(points, better)
    floor = 0.5 / images  # zero errors have no logarithm
    for point in points:
        errors = np.maximum(1 - np.asarray(point.accuracies), floor)
        ends = np.maximum([1 - point.mean - point.std, 1 - point.mean + point.std], floor)
        axes.vlines(point.x, *ends, color=BLUE, alpha=0.35, linewidth=5)
        axes.plot([point.x] * len(errors), errors, ".", color=BLUE, alpha=0.35, markersize=5)
        looks = _FILLED if point in front else HOLLOW | {"marker": "D", "markersize": 8}
        axes.plot(*_position(point, images), **looks)
    line = [_position(point, images) for point in front]
    axes.plot(*zip(*line, strict=True), color=BLUE, linewidth=1, linestyle=DASHED, zorder=0)
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.12)
    axes.xaxis.set_minor_locator(NullLocator())
    _format_accuracy_axis(axes)
    return axes


def _position(point: Point, images: int) -> tuple[float, float]:
    """x and error rate; at least half an image, as zero is not on a logarithmic axis."""
    return point.x, max(1 - point.mean, 0.5 / images)


def _pareto_front(points: Sequence[Point], better: _Better) -> list[Point]:
    """The points that no other point dominates, by x."""

    def dominates(one: Point, other: Point) -> bool:
        as_good = better(one.x, other.x) == one.x and one.mean >= other.mean
        return as_good and (one.x != other.x or one.mean != other.mean)

    front = [point for point in points if not any(dominates(other, point) for other in points)]
    return sorted(front, key=lambda point: point.x)


def _format_accuracy_axis(axes: Axes) -> None:
    """Accuracy increases upwards; its distance to 100 % is logarithmic."""
    axes.set_yscale("log")
    axes.invert_yaxis()
    low, high = sorted(axes.get_ylim())
    while high / low < 3:  # a single model
        low, high = low / 1.3, high * 1.3
    axes.set_ylim(high, low)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in _ERRORS if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 * (1 - error):g} %"))
    axes.set_ylabel("validation accuracy")
    axes.grid()


def _label(
    figure: Figure, axes: Axes, points: Sequence[Point], images: int, better: _Better
) -> None:
    """Write each name where it covers nothing and is clearly nearest to its own point."""
    figure.draw_without_rendering()  # fixes the position of the axes
    frame = axes.get_window_extent()
    places = axes.transData.transform([_position(point, images) for point in points])
    front = [_position(point, images) for point in _pareto_front(points, better)]
    line = Path(axes.transData.transform(front))
    taken = [Bbox([place - 8, place + 8]) for place in places]
    for point, own in sorted(zip(points, places, strict=True), key=lambda pair: -pair[0].mean):
        others = [place for place in places if (place != own).any()]
        label = axes.annotate(
            point.name,
            _position(point, images),
            (0, 0),
            textcoords="offset points",
            fontsize=9.5,
        )

        boxes = [_put(label, place) for place in _PLACES]
        conflicts = [
            box.count_overlaps(taken)
            + line.intersects_bbox(box, filled=False)
            + (not (frame.contains(*box.min) and frame.contains(*box.max)))
            + any(_distance(box, other) < 2 * _distance(box, own) for other in others)
            for box in boxes
        ]
        taken.append(_put(label, _PLACES[int(np.argmin(conflicts))]))


def _put(label: Annotation, place: tuple[float, float, str, str]) -> Bbox:
    """Move a label to one of _PLACES; returns the pixels it covers there."""
    x, y, horizontal, vertical = place
    label.set(position=(x, y), horizontalalignment=horizontal, verticalalignment=vertical)
    return label.get_window_extent()


def _distance(box: Bbox, place: np.ndarray) -> float:
    """Distance of a point from the nearest edge of a box, in pixels; 0 inside."""
    return float(np.hypot(*np.maximum(0, np.maximum(box.min - place, place - box.max))))
