"""Plots of one model's results, as PNG bytes. Plots that compare models are in tradeoffs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from digits.formatting import percent
from digits.plots.style import (
    BLUE,
    CALM,
    DASHED,
    HEAD,
    HOLLOW,
    INK,
    MUTED,
    PERCENT,
    RED,
    WIDTH,
    image_axes,
    png,
    sheet,
)

_COLUMNS = 8  # images in a row of the gallery
_TILE = 1.38  # inches from one row of the gallery to the next

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


@png
def confusion(matrix: Sequence[Sequence[int]]) -> Figure:
    """Confusion matrix.

    Args:
        matrix: counts `(10, 10)`; rows are true digits, columns predicted digits.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    errors = counts - np.diag(np.diag(counts))
    # logarithmic, so that a single error stays visible beside hundreds
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
    for axis, name in ((axes.xaxis, "predicted digit"), (axes.yaxis, "true digit")):
        axis.set_ticks(ticks, [str(tick) for tick in ticks], fontsize=12)
        axis.set_ticks(edges, minor=True)
        axis.set_label_text(name, fontsize=11)
    axes.grid(which="minor", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


@png
def per_digit(figures: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Recall with its confidence interval, and precision, of each digit.

    Points, not bars: the axis does not start at 0, which would misrepresent bars.

    Args:
        figures: digit → `n`, `precision`, `recall` (0–1) and `recall_interval` (low, high).
    """
    digits = sorted(figures, key=int)
    recall = np.array([figures[digit]["recall"] for digit in digits], dtype=float)
    precision = np.array([figures[digit]["precision"] for digit in digits], dtype=float)
    intervals = np.array([figures[digit]["recall_interval"] for digit in digits], dtype=float)
    lowest = _axis_start(float(min(intervals.min(), precision.min())))
    axis_note = f"The axis starts at {100 * lowest:g} %, not at 0. " if lowest else ""
    weak, strong = digits[int(recall.argmin())], digits[int(recall.argmax())]
    figure = sheet(
        4.3,
        f"Recall is lowest for {weak} ({percent(recall.min())}) "
        f"and highest for {strong} ({percent(recall.max())})",
        f"{axis_note}Pale bars: confidence interval of recall.",
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
    axes.set_xlabel("digit, with its number of test images")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.grid(axis="y")
    axes.legend(loc="lower left", ncols=2, bbox_to_anchor=(0, 1), borderaxespad=0)
    return figure


@png
def mistakes(images: np.ndarray, rows: Sequence[Mapping[str, Any]], most: int = 40) -> Figure:
    """The misread images, most confident first.

    Args:
        images: uint8 `(n, 28, 28)`, 0–255, white ink on black.
        rows: `label`, `prediction` and `confidence` (0–1) of each image.
        most: maximum number of images shown; the title gives the total.

    Raises:
        ValueError: the numbers of images and rows differ.
    """
    if len(images) != len(rows):
        raise ValueError(
            f"expected one row per image, got {len(images)} images and {len(rows)} rows"
        )
    order = sorted(range(len(rows)), key=lambda i: (-float(rows[i]["confidence"]), i))[:most]
    height = -(-len(order) // _COLUMNS) * _TILE + HEAD
    figure = sheet(height, *_mistakes_title(len(order), len(rows)), layout=None)
    pitch = WIDTH / _COLUMNS
    for place, index in enumerate(order):
        row, column = divmod(place, _COLUMNS)
        axes = image_axes(figure, column * pitch + 0.1, HEAD + row * _TILE, pitch - 0.2)
        axes.imshow(255 - images[index], cmap="gray", vmin=0, vmax=255)  # ink on paper
        _caption(axes, rows[index])
    return figure


@png
def curves(history: Mapping[str, Mapping[str, Sequence[float]]], best_epoch: int) -> Figure:
    """Learning curves: training and validation loss and accuracy per epoch.

    Args:
        history: `train` and `val` → `loss` and `accuracy` → one value per epoch.
        best_epoch: the epoch whose weights were kept, counted from 1; 0 if unknown.
    """
    figure = sheet(3.9, *_curves_title(history["val"], best_epoch))
    loss, accuracy = figure.subplots(1, 2)
    for axes, metric in ((loss, "loss"), (accuracy, "accuracy")):
        for split, name, looks in _SPLITS:
            values = np.asarray(history[split][metric], dtype=float)
            axes.plot(np.arange(1, len(values) + 1), values, label=name, marker=".", **looks)
        if 1 <= best_epoch <= len(values):  # `values` are now those of val
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
def calibration(bins: pd.DataFrame, error: float, level: float) -> Figure:
    """Reliability diagram: accuracy against confidence, and the number of images in each bin.

    Args:
        bins: what `evaluation.metrics.reliability` returns.
        error: expected calibration error, 0–1.
        level: confidence level of the bins' intervals, 0–1.
    """
    figure = sheet(
        6.2,
        f"Confidence is off by {100 * error:.2f} percentage points on average",
        "On the diagonal, accuracy equals confidence; below it, the model is overconfident. "
        f"Pale bars: {100 * level:g} % intervals.",
    )
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color=MUTED, linewidth=1, linestyle=DASHED)
    _points(upper, bins["confidence"], bins["accuracy"], bins["low"], bins["high"])
    upper.set_ylim(0, 1.03)
    upper.set_ylabel("accuracy")
    upper.yaxis.set_major_formatter(PERCENT)
    upper.grid()
    _draw_counts(lower, bins)
    return figure


@png
def robustness(errors: Mapping[str, float], clean: float) -> Figure:
    """Error rate on images with each corruption.

    Args:
        errors: corruption → error rate, 0–1.
        clean: error rate on the uncorrupted images.
    """
    names = sorted(errors, key=lambda name: (errors[name], name))
    values = [errors[name] for name in names]
    figure = sheet(
        0.26 * len(names) + 1.5,
        f"Hardest corruption: {names[-1].replace('_', ' ')}, {percent(values[-1])} misread",
        f"Dashed: the same images without corruption, {percent(clean)} misread.",
    )
    axes = figure.add_subplot()
    bars = axes.barh(range(len(names)), values, color=BLUE, height=0.62)
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    labels = [percent(value) for value in values]
    axes.bar_label(bars, labels, padding=4, fontsize=9, color=MUTED, bbox=behind)
    axes.axvline(clean, color=RED, linewidth=1.2, linestyle=DASHED)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.14 * max(*values, clean))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("share of images misread")
    return figure


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    axes.vlines(x, low, high, color=BLUE, alpha=0.35, linewidth=6)
    axes.plot(x, y, "o", color=BLUE, markersize=9, label="recall", clip_on=False)


def _draw_counts(axes: Axes, bins: pd.DataFrame) -> None:
    middles = (bins["start"] + bins["stop"]) / 2
    bars = axes.bar(middles, bins["n"], width=0.86 * (bins["stop"] - bins["start"]), color=BLUE)
    axes.bar_label(bars, fmt="{:,.0f}", fontsize=8, color=MUTED)
    axes.set_yscale("log")
    axes.set_ylim(0.5, 6 * max([10, *bins["n"]]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_major_locator(LogLocator(numticks=4))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("images (log)")
    axes.set_xlim(0, 1.01)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("confidence in the predicted digit")


def _confusion_title(counts: np.ndarray, errors: np.ndarray) -> tuple[str, str]:
    note = "Darker cells: more errors. Logarithmic colour scale."
    if not errors.any():
        return f"All {counts.sum():,} digits are read correctly", note
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


def _mistakes_title(shown: int, total: int) -> tuple[str, str]:
    if not total:
        return "No misread digits", "The model read every digit correctly."
    count = f"{total:,}" if shown == total else f"{shown:,} of {total:,}"
    return (
        f"{count} misread digit{'s' * (total > 1)}, most confident first",
        "Below each image: true digit → predicted digit, and the model's confidence.",
    )


def _caption(axes: Axes, row: Mapping[str, Any]) -> None:
    texts: tuple[tuple[str, tuple[int, int], dict[str, Any]], ...] = (
        (f"{row['label']} →", (0, -4), {"fontsize": 11}),
        (f"{row['prediction']}", (27, -4), {"fontsize": 11, "weight": "bold", "color": RED}),
        (f"{100 * float(row['confidence']):.1f} %", (0, -20), {"fontsize": 9, "color": MUTED}),
    )
    for text, offset, looks in texts:
        axes.annotate(
            text, (0, 0), offset, "axes fraction", textcoords="offset points", va="top", **looks
        )


def _curves_title(val: Mapping[str, Sequence[float]], best_epoch: int) -> tuple[str, str]:
    epochs = len(val["loss"])
    note = "The ring marks the epoch whose weights were kept."
    if not 1 <= best_epoch <= epochs:
        return f"{epochs} epochs", note
    loss, accuracy = val["loss"][best_epoch - 1], val["accuracy"][best_epoch - 1]
    return (
        f"Best epoch: {best_epoch} of {epochs}, with a validation accuracy of {percent(accuracy)}",
        f"Validation objective: {loss:.4f}. {note}",
    )


def _log_scale(axes: Axes, history: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    values = [value for split in ("train", "val") for value in history[split]["loss"]]
    if values and min(values) > 0:
        axes.set_yscale("log")
        axes.set_title("training objective (logarithmic)", loc="left", fontsize=10.5, color=MUTED)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
