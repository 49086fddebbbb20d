"""Plots of the data set, as PNG bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from digits.plots.style import BLUE, DASHED, MUTED, PERCENT, RED, WIDTH, image_axes, png, sheet


@png
def balance(counts: Mapping[str, Sequence[int]]) -> Figure:
    """Each digit's share of each split.

    Args:
        counts: split → number of images of each digit, 0–9.
    """
    shares = {name: np.asarray(n) / max(sum(n), 1) for name, n in counts.items()}
    low, high = (f([f(share) for share in shares.values()]) for f in (min, max))
    figure = sheet(
        3.6,
        f"Each digit is {100 * low:.1f} to {100 * high:.1f} % of its split",
        "Dashed: 10 %, the share of each digit if all were equally frequent.",
    )
    axes = figure.add_subplot()
    looks: tuple[dict[str, Any], ...] = (
        {"color": BLUE},
        {"facecolor": "white", "edgecolor": BLUE, "linewidth": 1.2},
        {"color": RED},
    )
    for place, ((name, share), look) in enumerate(zip(shares.items(), looks, strict=False)):
        label = f"{name} ({sum(counts[name]):,})"
        axes.bar(np.arange(10) + 0.27 * (place - 1), share, width=0.23, label=label, **look)
    axes.axhline(0.1, color=MUTED, linewidth=1, linestyle=DASHED, zorder=0)
    axes.set_xticks(range(10))
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, 1.05 * high)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.legend(loc="lower left", ncols=3, bbox_to_anchor=(0, 1), borderaxespad=0)
    return figure


@png
def mean_digits(images: np.ndarray, labels: np.ndarray) -> Figure:
    """The mean image of each digit and, below it, the standard deviation.

    Args:
        images: uint8 `(n, 28, 28)`, white on black.
        labels: int `(n,)`, 0–9.
    """
    figure = sheet(
        2.55,
        f"The average of {len(images):,} images, digit by digit",
        "Top: mean image of each digit. Bottom: standard deviation; "
        "darker where handwriting varies more.",
        layout=None,
    )
    pitch = WIDTH / 10
    for digit in range(10):
        own = np.asarray(images[labels == digit], dtype=np.float32)
        for row, values in enumerate((own.mean(axis=0), own.std(axis=0)) if len(own) else ()):
            axes = image_axes(figure, digit * pitch + 0.04, 0.78 + row * pitch, pitch - 0.08)
            largest = 127.5 if row else 255  # reached if half of the values are 0 and half are 255
            axes.imshow(-values, cmap="gray", vmin=-largest, vmax=0)
    return figure
