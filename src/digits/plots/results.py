"""Values → PNG bytes: the plots of one model. Those that compare models are in tradeoffs.

A plot's title says what is seen in it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from digits.formatting import percent
from digits.plots.style import (
    BLUE,
    CALM,
    DASHED,
    GRID,
    HEAD,
    HOLLOW,
    INK,
    MUTED,
    PERCENT,
    RED,
    WIDTH,
    png,
    sheet,
)

_COLUMNS = 8  # pictures in a row of the gallery
_TILE = 1.38  # inches from one of its rows to the next

_HEAT = LinearSegmentedColormap.from_list("heat", ["#fdf0e1", "#f3ae68", RED, "#8a3600"])
_ASIDE: dict[str, Any] = {"color": BLUE, "fontsize": 9}
_RING: dict[str, Any] = {
    "color": BLUE,
    "markersize": 11,
    "markerfacecolor": "white",
    "markeredgewidth": 2.5,
}
_SPLITS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("train", "training", {"color": RED, "linestyle": DASHED}),
    ("val", "validation", {"color": BLUE, "linestyle": "solid"}),
)
_Z = 1.959964  # standard normal quantile of a two-sided 95 % interval


@png
def confusion(matrix: Sequence[Sequence[int]]) -> Figure:
    """What each written digit was read as.

    Args:
        matrix: counts `(10, 10)`; rows are the digits written, columns the digits read.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    errors = counts - np.diag(np.diag(counts))
    # Errors span one to hundreds: the logarithm keeps a single one visible.
    shade = np.log1p(errors) / np.log1p(max(errors.max(), 1))
    colours = _HEAT(shade)
    colours[errors == 0] = to_rgba("white")
    colours[np.eye(len(counts), dtype=bool)] = to_rgba(CALM)
    figure = sheet(7.6, *_confusion_title(counts, errors))
    axes = figure.add_subplot()
    axes.imshow(colours)
    for row, column in np.ndindex(*counts.shape):
        _write_count(axes, row, column, int(counts[row, column]), float(shade[row, column]))
    ticks = np.arange(len(counts))
    edges = np.arange(len(counts) + 1) - 0.5
    for axis, name in ((axes.xaxis, "read as"), (axes.yaxis, "written")):
        axis.set_ticks(ticks, [str(tick) for tick in ticks], fontsize=12)
        axis.set_ticks(edges, minor=True)
        axis.set_label_text(name, fontsize=11)
    axes.grid(which="minor", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


@png
def per_digit(figures: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Recall with its interval, and precision, of each digit.

    Points instead of bars: the axis is cut, and a bar with its foot cut off would lie.

    Args:
        figures: digit → `n`, `precision`, `recall` (0–1) and `recall_interval` (low, high).
    """
    digits = sorted(figures, key=int)
    recall = np.array([figures[digit]["recall"] for digit in digits], dtype=float)
    precision = np.array([figures[digit]["precision"] for digit in digits], dtype=float)
    intervals = np.array([figures[digit]["recall_interval"] for digit in digits], dtype=float)
    lowest = _axis_start(float(min(intervals.min(), precision.min())))
    weak, strong = digits[int(recall.argmin())], digits[int(recall.argmax())]
    figure = sheet(
        4.3,
        f"Recall is lowest for {weak} ({percent(recall.min())}) "
        f"and highest for {strong} ({percent(recall.max())})",
        f"{_start_note(lowest)} Pale bars span the recall's confidence interval.",
    )
    axes = figure.add_subplot()
    places = np.arange(len(digits))
    _points(axes, places - 0.14, recall, *intervals.T)
    axes.plot(places + 0.14, precision, "D", label="precision", **HOLLOW)
    axes.axhline(recall.mean(), color=BLUE, linewidth=1, linestyle=DASHED, zorder=0)
    across = axes.get_yaxis_transform()
    axes.text(1.005, recall.mean(), "mean\nrecall", transform=across, va="center", **_ASIDE)
    axes.set_ylim(lowest, 1 + (1 - lowest) * 0.03)
    axes.set_xticks(places, [f"{digit}\n{figures[digit]['n']:,}" for digit in digits])
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("digit, and how many of it were tested")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.grid(axis="y")
    axes.legend(loc="lower left", ncols=2, bbox_to_anchor=(0, 1), borderaxespad=0)
    return figure


@png
def mistakes(images: np.ndarray, rows: Sequence[Mapping[str, Any]], most: int = 40) -> Figure:
    """The pictures that were misread, the most confident mistake first.

    Args:
        images: uint8 `(n, 28, 28)`, 0–255, white ink on black, one for each row.
        rows: for each picture its `label`, `prediction` and `confidence` (0–1).
        most: pictures shown at most; the title says how many there are.

    Raises:
        ValueError: images and rows differ in number.
    """
    if len(images) != len(rows):
        raise ValueError(f"images and rows must be as many, got {len(images)} and {len(rows)}")
    order = sorted(range(len(rows)), key=lambda i: (-float(rows[i]["confidence"]), i))[:most]
    height = -(-len(order) // _COLUMNS) * _TILE + HEAD
    figure = sheet(height, *_mistakes_title(len(order), len(rows)), layout=None)
    pitch = WIDTH / _COLUMNS
    side = pitch - 0.2
    for place, index in enumerate(order):
        row, column = divmod(place, _COLUMNS)
        left, bottom = column * pitch + 0.1, height - HEAD - row * _TILE - side
        axes = figure.add_axes(
            (left / WIDTH, bottom / height, side / WIDTH, side / height), xticks=[], yticks=[]
        )
        axes.imshow(255 - images[index], cmap="gray", vmin=0, vmax=255)  # ink on paper
        axes.spines[:].set(visible=True, color=GRID)
        _caption(axes, rows[index])
    return figure


@png
def curves(history: Mapping[str, Mapping[str, Sequence[float]]], best_epoch: int) -> Figure:
    """Loss and accuracy after each epoch, on what was learned from and on what was kept back.

    Args:
        history: `train` and `val` → `loss` and `accuracy` → one value an epoch.
        best_epoch: the epoch whose weights were kept, counted from 1.
    """
    figure = sheet(3.9, *_curves_title(history["val"], best_epoch))
    loss, accuracy = figure.subplots(1, 2)
    for axes, metric in ((loss, "loss"), (accuracy, "accuracy")):
        for split, name, looks in _SPLITS:
            values = np.asarray(history[split][metric], dtype=float)
            axes.plot(np.arange(1, len(values) + 1), values, label=name, marker=".", **looks)
        if 1 <= best_epoch <= len(values):  # the last split is val, which chose the epoch
            axes.plot(best_epoch, values[best_epoch - 1], "o", **_RING)
            axes.axvline(best_epoch, color=MUTED, linewidth=1, linestyle=(0, (1, 3)), zorder=0)
        axes.set_title(metric, loc="left", fontsize=10.5, color=MUTED)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(axis="y")
    _log_scale(loss, history)
    loss.legend(loc="upper center", frameon=True, framealpha=1, edgecolor="white")
    accuracy.yaxis.set_major_formatter(PERCENT)
    return figure


@png
def calibration(confidences: np.ndarray, correct: np.ndarray, bins: int) -> Figure:
    """Does "90 % sure" mean right nine times in ten?

    Args:
        confidences: float `(n,)`, 0–1, the probability of the digit that was read.
        correct: bool `(n,)`, whether it was right.
        bins: how many bins of equal width 0–1 is cut into.
    """
    table = _binned(np.asarray(confidences, float), np.asarray(correct, bool), bins)
    figure = sheet(
        6.2,
        f"Stated confidence is off by {100 * _calibration_error(table):.2f} points on average",
        "On the diagonal, confidence is honest; below it, the model is too sure of itself. "
        "Pale bars: 95 % intervals.",
    )
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color=MUTED, linewidth=1, linestyle=DASHED)
    _points(upper, table["confidence"], table["accuracy"], table["low"], table["high"])
    upper.set_ylim(0, 1.03)
    upper.set_ylabel("share that was right")
    upper.yaxis.set_major_formatter(PERCENT)
    upper.grid()
    _draw_counts(lower, table, bins)
    return figure


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    axes.vlines(x, low, high, color=BLUE, alpha=0.35, linewidth=6)
    axes.plot(x, y, "o", color=BLUE, markersize=9, label="recall", clip_on=False)


def _draw_counts(axes: Axes, table: Mapping[str, np.ndarray], bins: int) -> None:
    axes.bar(table["middle"], table["n"], width=0.86 / bins, color=BLUE)
    above: dict[str, Any] = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
    for middle, n in zip(table["middle"], table["n"], strict=True):
        axes.annotate(f"{n:,}", (middle, n), **above, fontsize=8, color=MUTED)
    axes.set_yscale("log")
    axes.set_ylim(0.5, 6 * max(10, int(table["n"].max(initial=0))))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_major_locator(LogLocator(numticks=4))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("pictures (log)")
    axes.set_xlim(0, 1.01)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("confidence in the digit that was read")


def _calibration_error(table: Mapping[str, np.ndarray]) -> float:
    """Expected calibration error (Naeini et al. 2015): the mean gap, weighted by count."""
    gaps = np.abs(table["accuracy"] - table["confidence"])
    return float((table["n"] * gaps).sum() / max(table["n"].sum(), 1))


def _confusion_title(counts: np.ndarray, errors: np.ndarray) -> tuple[str, str]:
    note = "Rows: the digit written. Columns: the digit read. Stronger colour, more mistakes."
    if not errors.any():
        return f"All {counts.sum():,} digits are read right", note
    written, read = np.unravel_index(errors.argmax(), errors.shape)
    return (
        f"{errors.sum():,} of {counts.sum():,} digits are misread, "
        f"most often {written} as {read} ({errors.max():,}×)",
        note,
    )


def _write_count(axes: Axes, row: int, column: int, count: int, shade: float) -> None:
    looks: dict[str, Any] = {"ha": "center", "va": "center"}
    if row == column:
        axes.text(column, row, f"{count:,}", color=MUTED, **looks)
    elif count:
        colour = "white" if shade > 0.6 else INK
        axes.text(column, row, f"{count:,}", color=colour, weight="bold", fontsize=11, **looks)


def _axis_start(lowest: float) -> float:
    """A round number below `lowest`, as close as the distance to 1 allows."""
    for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
        if 1 - lowest <= 8 * step:
            break
    return max(0.0, round(math.floor(lowest / step - 1e-9) * step, 4))


def _start_note(lowest: float) -> str:
    return f"Note that the axis starts at {100 * lowest:g} %, not at 0." if lowest else ""


def _mistakes_title(shown: int, total: int) -> tuple[str, str]:
    if not total:
        return "No mistakes", "Every digit was read right."
    count = f"{total:,}" if shown == total else f"{shown:,} of {total:,}"
    return (
        f"{count} mistake{'s' * (total > 1)}, the most confident first",
        "Below each picture: what was written → what was read, and how sure the model was.",
    )


def _caption(axes: Axes, row: Mapping[str, Any]) -> None:
    below: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    looks: tuple[dict[str, Any], ...] = (
        {"xytext": (0, -4), "fontsize": 11},
        {"xytext": (27, -4), "fontsize": 11, "weight": "bold", "color": RED},
        {"xytext": (0, -20), "fontsize": 9, "color": MUTED},
    )
    texts = f"{row['label']} →", f"{row['prediction']}", f"{100 * float(row['confidence']):.1f} %"
    for text, look in zip(texts, looks, strict=True):
        axes.annotate(text, (0, 0), va="top", **below, **look)


def _curves_title(val: Mapping[str, Sequence[float]], best_epoch: int) -> tuple[str, str]:
    epochs = len(val["loss"])
    note = "The ring marks the epoch whose weights were kept."
    if not 1 <= best_epoch <= epochs:
        return f"{epochs} epochs", note
    loss, accuracy = val["loss"][best_epoch - 1], val["accuracy"][best_epoch - 1]
    return (
        f"Best after epoch {best_epoch} of {epochs}: validation accuracy {percent(accuracy)}",
        f"Validation loss {loss:.4f} there. {note}",
    )


def _log_scale(axes: Axes, history: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    values = [value for split in ("train", "val") for value in history[split]["loss"]]
    if values and min(values) > 0:
        axes.set_yscale("log")
        axes.set_title("loss (logarithmic)", loc="left", fontsize=10.5, color=MUTED)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _binned(confidences: np.ndarray, correct: np.ndarray, bins: int) -> dict[str, np.ndarray]:
    """Count, mean confidence, accuracy and its 95 % interval in each bin that isn't empty.

    The interval is Wilson's: "Probable inference, the law of succession, and statistical
    inference", JASA 22 (1927).
    """
    place = np.minimum((confidences * bins).astype(int), bins - 1)
    n = np.bincount(place, minlength=bins)
    filled = n > 0
    n = n[filled]
    confidence = np.bincount(place, confidences, bins)[filled] / n
    accuracy = np.bincount(place, correct, bins)[filled] / n
    centre = (accuracy + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    spread = _Z * np.sqrt(accuracy * (1 - accuracy) / n + (_Z / (2 * n)) ** 2) / (1 + _Z**2 / n)
    return {
        "n": n,
        "middle": ((np.arange(bins) + 0.5) / bins)[filled],
        "confidence": confidence,
        "accuracy": accuracy,
        "low": centre - spread,
        "high": centre + spread,
    }
