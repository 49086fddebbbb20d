"""One page on a drift check, as PNG bytes: the verdict, three answers, and the images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from digits.plots.style import (
    BLUE,
    DASHED,
    INK,
    MUTED,
    PERCENT,
    RED,
    WIDTH,
    image_axes,
    png,
)

_VERDICTS = {  # colour of the banner, the verdict, and its width in inches
    "none": ("#14713f", "No drift", 1.65),
    "drift": ("#8f5300", "Drift", 0.98),
    "harmful": ("#b3261e", "Harmful", 1.6),
}
_PLAIN = "#b7bec8"  # bars that are no alarm
_MOSTLY = 0.5  # of the images that are no digits: the banner says so
_FEATURES = 6
_STRANGEST = 10
_NAME = 40  # characters
_BINS = 30
_FEW = 30  # images; fewer are drawn one by one
_SIDE, _PITCH, _LEFT = 0.6, 0.685, 1.08  # inches: an image, from one to the next, the first one
_SMALL: dict[str, Any] = {"fontsize": 8.5, "color": MUTED}


@dataclass(frozen=True)
class Feature:
    """A feature in both sets.

    Attributes:
        name, unit: in plain words.
        p_value: adjusted for all features.
        skewed: most values are small and some far larger, none below 0; needs a logarithmic axis.
        reference, batch: values `(n,)` and `(m,)`.
    """

    name: str
    unit: str
    p_value: float
    skewed: bool
    reference: np.ndarray
    batch: np.ndarray


@dataclass(frozen=True)
class Digits:
    """What a set of images looks like.

    Attributes:
        n: images in the set.
        shares: of the images that are read as each digit, `(10,)`.
        typical: images read as each digit, uint8 `(10, k, 28, 28)`; black where there is none.
    """

    n: int
    shares: np.ndarray
    typical: np.ndarray


@png
def page(
    name: str,
    result: Mapping[str, Any],
    views: Mapping[str, float],
    features: Sequence[Feature],
    reference: Digits,
    batch: Digits,
    strangest: tuple[np.ndarray, np.ndarray],
) -> Figure:
    """Has a batch changed, what changed, and does it hurt?

    Args:
        name: of the batch; may be empty.
        result: the fields of `DriftResult`.
        views: p-value of each view, by its name in plain words.
        features: those that differ most, first; six are shown.
        strangest: images, uint8 `(k, 28, 28)`, the strangest first, and the digit read in each.
    """
    rows = reference.typical.shape[1]
    tops = np.cumsum([1.1, 2.5, 3.62, 1.42 + 2 * rows * _PITCH])
    figure = Figure(figsize=(WIDTH, float(tops[-1]) + 1.4))
    _banner(figure, name, result, reference.n)
    _changed(figure, tops[0], result, views)
    _hurt(figure, tops[0], result)
    _features(figure, tops[1], result, features[:_FEATURES])
    _digits(figure, tops[2], result, reference, batch)
    _strangest(figure, tops[3], *strangest)
    return figure


def _banner(figure: Figure, name: str, result: Mapping[str, Any], n: int) -> None:
    colour, word, width = _VERDICTS[result["verdict"]]
    height = figure.get_size_inches()[1]
    band = Rectangle((0, 1 - 0.92 / height), 1, 0.92 / height, color=colour, linewidth=0)
    figure.add_artist(band)
    looks: dict[str, Any] = {"color": "white", "va": "baseline"}
    left, baseline = 0.15 / WIDTH, 1 - 0.47 / height
    figure.text(left, baseline, word, fontsize=21, weight="bold", **looks)
    figure.text(left + width / WIDTH, baseline, _meaning(result), fontsize=13, **looks)
    of = f" of {_plain(name)}" if name else ""
    looked = f" ({result['tested']:,} looked at)" if result["tested"] < result["n"] else ""
    images = f"{result['n']:,} image{'s' if result['n'] != 1 else ''}{of}{looked}"
    seen = result["in_sample_share"]
    known = f" ({100 * seen:.0f} % among its training data)" if seen >= 0.005 else ""
    note = (
        f"{images}{known}, compared with {n:,} {_plain(result['like'])} images.  "
        f"p = {result['p_value']:.2g}; drift: p < {result['alpha']:g}."
    )
    figure.text(left, 1 - 0.76 / height, note, fontsize=9.5, parse_math=False, **looks)


def _plain(name: str) -> str:
    """What of a name can be drawn."""
    return "".join(char if char.isprintable() else "?" for char in name[:_NAME])


def _meaning(result: Mapping[str, Any]) -> str:
    if result["no_digit_share"] >= _MOSTLY:
        if result["no_digit_share"] >= 0.995:
            return "almost no image shows a digit"
        return f"about {100 * result['no_digit_share']:.0f} % of the images show no digit"
    if result["verdict"] == "harmful":
        return "the images are read worse"
    if result["verdict"] == "none":
        return "no more unlike the reference than by chance"
    return {
        "No": "the images differ, but are read about as well",
        "Maybe": "the images differ, and may be read worse",
    }[_harm(result)[0]]


def _harm(result: Mapping[str, Any]) -> tuple[str, float]:
    """Does it hurt, as measured if labels are known? And the gain of accuracy, in points."""
    known = result["accuracy"] is not None
    low = result["measured_low" if known else "accuracy_low"]
    accuracy = result["accuracy" if known else "estimated_accuracy"]
    harmless = low >= result["reference_accuracy"] - result["tolerance"]
    answer = "Yes" if result["harmful"] else "No" if harmless else "Maybe"
    return answer, 100 * (accuracy - result["reference_accuracy"])


def _changed(figure: Figure, top: float, result: Mapping[str, Any], views: Any) -> None:
    """P-values, on a logarithmic axis that starts at 1: longer bars are stronger evidence."""
    answer = "Yes" if result["p_value"] < result["alpha"] else "Not beyond chance"
    _title(figure, 0.15, top, f"Has it changed?  {answer}")
    _note(figure, 0.15, top, "How often chance alone makes such a difference")
    axes = _axes(figure, 1.6, top + 0.52, 2.0, 1.4)
    named = {"all together": result["p_value"], **views}
    for place, (name, p_value) in enumerate(named.items()):
        below = p_value < result["alpha"]
        bold = "bold" if place == 0 else "normal"
        axes.barh(place, p_value - 1, left=1, height=0.6, color=INK if below else _PLAIN)
        looks: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
        axes.text(-0.04, place, name, ha="right", fontsize=9.5, weight=bold, **looks)
        axes.text(1.04, place, f"{p_value:.2g}", fontsize=9, weight=bold, **looks)
    lowest = min(*named.values(), 0.1 * result["alpha"])
    axes.axvline(result["alpha"], color=RED, linewidth=1.5, linestyle=DASHED)
    axes.set_xscale("log")
    axes.set_xlim(1, lowest)
    axes.set_ylim(len(named) - 0.45, -0.55)
    axes.xaxis.set_major_locator(FixedLocator([10.0**-k for k in range(7)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=8.5)
    axes.set_yticks([])
    axes.set_xlabel("p (logarithmic); drift: beyond the line", fontsize=8.5)


def _hurt(figure: Figure, top: float, result: Mapping[str, Any]) -> None:
    """Accuracy with its interval, beside that of the reference; and what shows no digit."""
    bound = result["reference_accuracy"] - result["tolerance"]
    answer, gained = _harm(result)
    _title(figure, 4.25, top, f"Does it hurt?  {answer}, {gained:+.1f} points".replace("-", "−"))
    _note(figure, 4.25, top, "Accuracy with 95 % interval; harmful: left of the line")
    rows: list[tuple[str, float, tuple[float, float] | None, str]] = [
        ("validation images", result["reference_accuracy"], None, BLUE),
        (
            "batch, estimated",
            result["estimated_accuracy"],
            (result["accuracy_low"], result["accuracy_high"]),
            RED,
        ),
    ]
    if result["accuracy"] is not None:
        interval = result["measured_low"], result["measured_high"]
        rows.append(("batch, measured", result["accuracy"], interval, RED))
    axes = _axes(figure, 5.68, top + 0.52, 1.55, 0.27 * len(rows))
    _intervals(axes, rows)
    axes.axvline(bound, color=RED, linewidth=1.5, linestyle=DASHED, zorder=0)
    lowest = min(bound, *(interval[0] if interval else value for _, value, interval, _ in rows))
    axes.set_xlim(max(0, lowest - 0.06 * (1 - lowest)), 1 + 0.04 * (1 - lowest))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    share = [
        (
            "shows no digit",
            result["no_digit_share"],
            (result["no_digit_low"], result["no_digit_high"]),
            RED,
        )
    ]
    axes = _axes(figure, 5.68, top + 1.66, 1.55, 0.27)
    _intervals(axes, share)
    axes.set_xlim(-0.04, 1.04)
    axes.set_xticks([0, 0.5, 1])


def _intervals(
    axes: Axes, rows: Sequence[tuple[str, float, tuple[float, float] | None, str]]
) -> None:
    """One line for each value, 0–1, with its name, its interval if it has one, and the figure."""
    for place, (name, value, interval, colour) in enumerate(rows):
        if interval:
            axes.hlines(place, *interval, color=colour, alpha=0.35, linewidth=7)
        axes.plot(value, place, "o", color=colour, markersize=7, clip_on=False)
        looks: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
        axes.text(-0.05, place, name, ha="right", fontsize=9.5, **looks)
        axes.text(1.07, place, f"{100 * value:.1f} %", fontsize=9, **looks)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_yticks([])
    axes.grid(axis="x")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.tick_params(axis="x", labelsize=8.5)


def _features(
    figure: Figure, top: float, result: Mapping[str, Any], features: Sequence[Feature]
) -> None:
    tests = result["tests"].values()
    answer = f"{sum(test['drift'] for test in tests)} of {len(tests)} features"
    if not any(test["drift"] for test in tests):
        answer = "No single feature for sure" if result["drift"] else "Nothing beyond chance"
    _title(figure, 0.15, top, f"What changed?  {answer}")
    _note(figure, 0.15, top, "The features that differ most: how many images have each value")
    _legend(figure, 5.05, top)
    for place, feature in enumerate(features):
        row, column = divmod(place, 3)
        left, above = 0.2 + column * 2.62, top + 0.92 + row * 1.52
        axes = _axes(figure, left, above, 2.36, 0.72)
        _histogram(axes, feature)
        below = feature.p_value < result["alpha"]
        looks: dict[str, Any] = {"transform": axes.transAxes, "va": "bottom"}
        axes.text(0, 1.28, feature.name, fontsize=9.5, weight="bold", **looks)
        text = f"{'differs' if below else 'as by chance'}, p = {feature.p_value:.2g}"
        axes.text(0, 1.06, text, fontsize=8.5, color=INK if below else MUTED, **looks)
        axes.set_xlabel(feature.unit, fontsize=8.5, color=MUTED, labelpad=2)


def _histogram(axes: Axes, feature: Feature) -> None:
    """Shares of both sets in common bins; what is far out is in the outermost ones."""
    edges = _edges(feature)
    middle = (edges[:-1] + edges[1:]) / 2
    here, there = (np.clip(v, middle[0], middle[-1]) for v in (feature.batch, feature.reference))
    shares = np.histogram(there, edges)[0] / len(there)
    axes.stairs(shares, edges, fill=True, color=BLUE, alpha=0.35)
    axes.stairs(shares, edges, color=BLUE, linewidth=1)
    if len(here) < _FEW:
        marks = np.full(len(here), 0.1 * shares.max())
        axes.plot(here, marks, "|", color=RED, markersize=16, markeredgewidth=2)
    else:
        axes.stairs(np.histogram(here, edges)[0] / len(here), edges, color=RED, linewidth=1.6)
    if feature.skewed:
        axes.set_xscale("symlog", linthresh=1, linscale=0.6)
        axes.xaxis.set_major_locator(
            FixedLocator([0, *(k * 10**e for e in range(6) for k in (1, 3))])
        )
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        whole = edges[0] % 1 == 0.5  # bins around whole numbers
        axes.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=1 if whole else 3, integer=whole))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=8.5)


def _edges(feature: Feature) -> np.ndarray:
    """Of bins from the lowest to the highest values of either set, without the farthest 0.5 %."""
    sets = feature.reference, feature.batch
    low = min(float(np.quantile(values, 0.005)) for values in sets)
    high = max(float(np.quantile(values, 0.995)) for values in sets)
    if all((values == np.rint(values)).all() for values in sets):  # one bin for a whole number
        step = max(1.0, np.ceil((high - low) / 40))
        return np.asarray(np.arange(np.floor(low) - 0.5, high + 0.5 + step, step))
    if feature.skewed:
        return np.expm1(np.linspace(np.log1p(low), np.log1p(high + 1e-9), _BINS + 1))
    room = max(high - low, 1e-6) * 0.02
    return np.linspace(low - room, high + room, _BINS + 1)


def _digits(
    figure: Figure, top: float, result: Mapping[str, Any], reference: Digits, batch: Digits
) -> None:
    """A column for each digit: how often it is read, and typical images that are read so."""
    _title(figure, 0.15, top, "What do the images look like?")
    _note(figure, 0.15, top, "Typical images by the digit that is read, and how often it is")
    _legend(figure, 5.05, top)
    axes = _axes(figure, _LEFT - 0.04, top + 0.55, 10 * _PITCH, 0.4)
    places = np.arange(10) + 0.48
    for shift, digits, colour in ((-0.14, reference, BLUE), (0.14, batch, RED)):
        pale = 0.55 if colour == BLUE else 1
        axes.bar(places + shift, digits.shares, width=0.24, color=colour, alpha=pale)
    for digit, place in enumerate(places):
        if result["tests"][f"digit {digit}"]["drift"]:
            highest = max(reference.shares[digit], batch.shares[digit])
            axes.text(place, highest, "differs", fontsize=8.5, ha="center", va="bottom")
    axes.set_xlim(0, 10)
    axes.set_xticks(places, [str(digit) for digit in range(10)], fontsize=11, weight="bold")
    axes.tick_params(axis="x", length=0, labelcolor=INK)
    axes.set_ylim(0, max(0.2, *reference.shares, *batch.shares))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    largest = float(max(*reference.shares, *batch.shares))
    _row_name(figure, top + 0.76, "share read", f"up to {100 * largest:.0f} %", INK)
    above = top + 1.2
    for digits, name, colour in ((reference, "reference", BLUE), (batch, "this batch", RED)):
        rows = digits.typical.shape[1]
        _row_name(
            figure,
            above + rows * _PITCH / 2,
            name,
            f"{digits.n:,} image{'s' if digits.n != 1 else ''}",
            colour,
        )
        for digit, row in np.ndindex(10, rows):
            if digits.typical[digit, row].any():
                _image(figure, digit, above + row * _PITCH, digits.typical[digit, row], colour)
        above += rows * _PITCH + 0.1


def _strangest(figure: Figure, top: float, images: np.ndarray, read: np.ndarray) -> None:
    _title(figure, 0.15, top, "The strangest images of the batch")
    _note(figure, 0.15, top, "Least like the reference first; below each, the digit that is read")
    for place, image in enumerate(images[:_STRANGEST]):
        axes = _image(figure, place, top + 0.5, image, RED)
        axes.set_xlabel(str(read[place]), fontsize=10, labelpad=1.5)


def _image(figure: Figure, column: int, top: float, image: np.ndarray, colour: str) -> Axes:
    """Ink on paper."""
    axes = image_axes(figure, _LEFT + column * _PITCH, top, _SIDE)
    axes.imshow(255 - image, cmap="gray", vmin=0, vmax=255)
    axes.spines[:].set(color=colour, alpha=0.5)
    return axes


def _legend(figure: Figure, left: float, top: float) -> None:
    height = figure.get_size_inches()[1]
    for shift, name, colour, alpha in ((0, "reference", BLUE, 0.5), (1.2, "this batch", RED, 1)):
        place = ((left + shift) / WIDTH, 1 - (top + 0.37) / height)
        box = Rectangle(place, 0.16 / WIDTH, 0.12 / height, color=colour, alpha=alpha, linewidth=0)
        figure.add_artist(box)
        figure.text(place[0] + 0.24 / WIDTH, place[1], name, fontsize=9.5, va="baseline")


def _row_name(figure: Figure, middle: float, name: str, note: str, colour: str) -> None:
    height = figure.get_size_inches()[1]
    looks: dict[str, Any] = {"fontsize": 9.5, "weight": "bold", "va": "center"}
    figure.text(0.15 / WIDTH, 1 - (middle - 0.08) / height, name, color=colour, **looks)
    figure.text(0.15 / WIDTH, 1 - (middle + 0.1) / height, note, va="center", **_SMALL)


def _title(figure: Figure, left: float, top: float, text: str) -> None:
    height = figure.get_size_inches()[1]
    figure.text(left / WIDTH, 1 - top / height, text, va="top", fontsize=13, weight="bold")


def _note(figure: Figure, left: float, top: float, text: str) -> None:
    height = figure.get_size_inches()[1]
    figure.text(left / WIDTH, 1 - (top + 0.26) / height, text, va="top", **_SMALL)


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes whose place and size are in inches, from the figure's top left corner."""
    whole = figure.get_size_inches()[1]
    return figure.add_axes(
        (left / WIDTH, (whole - top - height) / whole, width / WIDTH, height / whole)
    )
