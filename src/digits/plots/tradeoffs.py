"""Values → PNG bytes: plots of models' accuracy against what it costs, each a point with a name."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
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
_Place = tuple[float, float, Any, Any]
# Where a name may stand, from its point, in points (1/72 inch): offset and alignment.
_PLACES: tuple[_Place, ...] = tuple(
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
# what share of a text lies left of or below where it is put
_SHARES = {"left": 0, "bottom": 0, "center": 0.5, "right": 1, "top": 1}


@dataclass(frozen=True)
class Point:
    """A model in a comparison: what it costs or gives, and its accuracies, 0–1, one a seed."""

    name: str
    x: float
    accuracies: Sequence[float]

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def std(self) -> float:
        """Sample standard deviation of the accuracy; 0 of one value."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else 0.0


@png
def training_time(points: Sequence[Point], images: int) -> Figure:
    """Accuracy against the time that training took.

    Args:
        points: at least one; `x` is seconds.
        images: how many the accuracies were measured on.
    """
    best = max(points, key=lambda point: point.mean)
    quickest = min(points, key=lambda point: point.x)
    figure = sheet(
        5.2,
        f"Most accurate: {best.name}, {percent(best.mean)}. "
        f"Quickest to train: {quickest.name}, {duration(quickest.x)}",
        "Filled: nothing is both quicker to train and more accurate. "
        "Pale dots: single seeds; bars: ± a standard deviation.",
    )
    axes = _trade_off(figure, points, images, better=min)
    axes.xaxis.set_major_locator(FixedLocator(_TIMES))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    axes.set_xlabel("training time (logarithmic)")
    _write_names(figure, axes, points, images, better=min)
    return figure


@png
def throughput(points: Sequence[Point], images: int) -> Figure:
    """Accuracy against the images that are read in a second.

    Args:
        points: at least one; `x` is images per second.
        images: how many the accuracies were measured on.
    """
    best = max(points, key=lambda point: point.mean)
    fastest = max(points, key=lambda point: point.x)
    slowest = min(point.x for point in points)
    figure = sheet(
        5.2,
        f"Most accurate: {best.name}, {percent(best.mean)}. "
        f"Fastest: {fastest.name}, {float(f'{fastest.x:.3g}'):,.0f} a second",
        "Filled: nothing is both faster and more accurate. "
        "Pale dots: single seeds; bars: ± a standard deviation.",
    )
    axes = _trade_off(figure, points, images, better=max)
    axes.xaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if fastest.x < 100 * slowest else (1, 3))
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("images read in a second (logarithmic)")
    _write_names(figure, axes, points, images, better=max)
    return figure


def _trade_off(figure: Figure, points: Sequence[Point], images: int, better: _Better) -> Axes:
    """Points of models on logarithmic axes; those that nothing beats in both respects filled."""
    axes = figure.add_subplot()
    front = _front(points, better)
    floor = 0.5 / images  # no mistake at all has no logarithm
    for point in points:
        errors = np.maximum(1 - np.asarray(point.accuracies), floor)
        ends = np.maximum([1 - point.mean - point.std, 1 - point.mean + point.std], floor)
        axes.vlines(point.x, *ends, color=BLUE, alpha=0.35, linewidth=5)
        axes.plot([point.x] * len(errors), errors, ".", color=BLUE, alpha=0.35, markersize=5)
        looks = _FILLED if point in front else HOLLOW | {"marker": "D", "markersize": 8}
        axes.plot(point.x, _error(point, images), **looks)
    steps = [(point.x, _error(point, images)) for point in front]
    axes.plot(*zip(*steps, strict=True), color=BLUE, linewidth=1, linestyle=DASHED, zorder=0)
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.12)
    axes.xaxis.set_minor_locator(NullLocator())
    _accuracy_axis(axes)
    return axes


def _error(point: Point, images: int) -> float:
    """The share that is misread; at least half an image, as zero has no place on the axis."""
    return max(1 - point.mean, 0.5 / images)


def _front(points: Sequence[Point], better: _Better) -> list[Point]:
    """The points that no other is as good as or better than in both respects, by x."""

    def beats(one: Point, other: Point) -> bool:
        as_good = better(one.x, other.x) == one.x and one.mean >= other.mean
        return as_good and (one.x != other.x or one.mean != other.mean)

    front = [point for point in points if not any(beats(other, point) for other in points)]
    return sorted(front, key=lambda point: point.x)


def _accuracy_axis(axes: Axes) -> None:
    """Accuracy upwards, its distance to 100 % logarithmic: 99 → 99.5 is as long as 98 → 99."""
    axes.set_yscale("log")
    axes.invert_yaxis()
    low, high = sorted(axes.get_ylim())
    while high / low < 3:  # one model alone
        low, high = low / 1.3, high * 1.3
    axes.set_ylim(high, low)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in _ERRORS if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 * (1 - error):g} %"))
    axes.set_ylabel("validation accuracy")
    axes.grid()


def _write_names(
    figure: Figure, axes: Axes, points: Sequence[Point], images: int, better: _Better
) -> None:
    """Each name beside its point and no other, where it covers no point, line or other name."""
    figure.draw_without_rendering()  # from here on it is known where the axes are
    inside = axes.get_window_extent()
    places = _pixels(axes, points, images)
    taken = [_square(place, 8) for place in places]
    taken += _along(_pixels(axes, _front(points, better), images))
    for point, at in sorted(zip(points, places, strict=True), key=lambda pair: -pair[0].mean):
        name = axes.annotate(
            point.name,
            (point.x, _error(point, images)),
            (0, 0),
            textcoords="offset points",
            fontsize=9.5,
        )
        extent = name.get_window_extent()
        boxes = [_box(at, place, extent.width, extent.height, figure.dpi) for place in _PLACES]
        harm = [_area(box) - _overlap(box, inside) for box in boxes]
        # to be taken for another's name is as bad as to be outside
        others = [place for place in places if (place != at).any()]
        harm = [
            h + _area(box) * any(_distance(box, o) < 2 * _distance(box, at) for o in others)
            for h, box in zip(harm, boxes, strict=True)
        ]
        harm = [
            h + sum(_overlap(b, other) for other in taken) for h, b in zip(harm, boxes, strict=True)
        ]
        best = int(np.argmin(np.round(harm)))
        x, y, horizontal, vertical = _PLACES[best]
        name.set(position=(x, y), horizontalalignment=horizontal, verticalalignment=vertical)
        taken.append(boxes[best])


def _box(at: np.ndarray, place: _Place, width: float, height: float, dpi: float) -> Bbox:
    """The pixels that a name takes at a place beside its point."""
    x, y, horizontal, vertical = place
    left = at[0] + x * dpi / 72 - _SHARES[horizontal] * width
    bottom = at[1] + y * dpi / 72 - _SHARES[vertical] * height
    return Bbox.from_bounds(left, bottom, width, height)


def _pixels(axes: Axes, points: Sequence[Point], images: int) -> np.ndarray:
    """Where points are, float `(n, 2)`."""
    return axes.transData.transform([(point.x, _error(point, images)) for point in points])


def _along(corners: np.ndarray) -> list[Bbox]:
    """Small squares that cover a line from corner to corner."""
    squares = []
    for start, end in itertools.pairwise(corners):
        count = int(np.abs(end - start).max() // 6) + 1
        squares += [_square(place, 3) for place in np.linspace(start, end, count)]
    return squares


def _square(middle: np.ndarray, reach: float) -> Bbox:
    return Bbox([middle - reach, middle + reach])


def _distance(box: Bbox, place: np.ndarray) -> float:
    """How far a place is from the nearest edge of a box; 0 inside, in pixels."""
    return float(np.hypot(*np.maximum(0, np.maximum(box.min - place, place - box.max))))


def _area(box: Bbox) -> float:
    return float(box.width * box.height)


def _overlap(one: Bbox, other: Bbox) -> float:
    common = Bbox.intersection(one, other)
    return _area(common) if common is not None else 0.0
