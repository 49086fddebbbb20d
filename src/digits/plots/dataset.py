"""Values → PNG bytes: plots of the splits and of errors on corrupted images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from digits.formatting import percent
from digits.plots.style import BLUE, DASHED, GRID, MUTED, PERCENT, RED, WIDTH, png, sheet


@png
def balance(counts: Mapping[str, Sequence[int]]) -> Figure:
    """Each digit's share of each split.

    Args:
        counts: split → how many there are of the digits 0–9.
    """
    shares = {name: np.asarray(n) / max(sum(n), 1) for name, n in counts.items()}
    low, high = (f([f(share) for share in shares.values()]) for f in (min, max))
    figure = sheet(
        3.6,
        f"Each digit is {100 * low:.1f} to {100 * high:.1f} % of its split",
        "Dashed: a tenth, which all would have if they were equally frequent.",
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
    """The mean image of each digit, and below it where its images differ.

    Args:
        images: uint8 `(n, 28, 28)`, white on black.
        labels: int `(n,)`, 0–9.
    """
    figure = sheet(
        2.55,
        f"What {len(images):,} images look like on average",
        "Above: the mean of each digit's images. Below: standard deviation; "
        "the darker, the more writers differ.",
        layout=None,
    )
    pitch = WIDTH / 10
    side = pitch - 0.08
    for digit in range(10):
        own = np.asarray(images[labels == digit], dtype=np.float32)
        for row, values in enumerate((own.mean(axis=0), own.std(axis=0)) if len(own) else ()):
            place = (
                (digit * pitch + 0.04) / WIDTH,
                (2.55 - 0.78 - row * pitch - side) / 2.55,
                side / WIDTH,
                side / 2.55,
            )
            axes = figure.add_axes(place, xticks=[], yticks=[])
            largest = 127.5 if row else 255  # half of all pixels black, the others white
            axes.imshow(-values, cmap="gray", vmin=-largest, vmax=0)
            axes.spines[:].set(visible=True, color=GRID)
    return figure


@png
def robustness(errors: Mapping[str, float], clean: float) -> Figure:
    """The share that is misread under each corruption.

    Args:
        errors: corruption → share of the images, 0–1.
        clean: the share without one.
    """
    names = sorted(errors, key=lambda name: (errors[name], name))
    values = [errors[name] for name in names]
    figure = sheet(
        0.26 * len(names) + 1.5,
        f"Hardest is {names[-1].replace('_', ' ')}: {percent(values[-1])} are misread",
        f"Dashed: the same images as they are, {percent(clean)} misread.",
    )
    axes = figure.add_subplot()
    axes.barh(range(len(names)), values, color=BLUE, height=0.62)
    for place, value in enumerate(values):
        axes.annotate(
            percent(value), (value, place), (4, 0), textcoords="offset points", va="center",
            fontsize=9, color=MUTED, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip
    axes.axvline(clean, color=RED, linewidth=1.2, linestyle=DASHED)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.14 * max(*values, clean))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("share of images that are misread")
    return figure
