"""Plots of one model's results, checked on the figures behind the PNGs."""

import io
from collections.abc import Callable

import matplotlib
import numpy as np
import pandas as pd
import pytest
from conftest import figure_of, figure_text
from PIL import Image

from digits.plots import results

MATRIX = np.diag(np.arange(90, 100)).tolist()
MATRIX[4][9], MATRIX[3][5] = 8, 2
PER_DIGIT = {
    str(digit): {
        "n": 100,
        "precision": 0.985,
        "recall": 0.98 + digit / 1000,
        "recall_interval": [0.96 + digit / 1000, 0.995],
        "f1": 0.98,
    }
    for digit in range(10)
}
HISTORY = {
    "train": {"loss": [0.5, 0.2, 0.1], "accuracy": [0.9, 0.95, 0.97]},
    "val": {"loss": [0.2, 0.05, 0.07], "accuracy": [0.95, 0.99, 0.985]},
}
ERRORS = {"fog": 0.3, "zigzag": 0.05, "spatter": 0.01}
BINS = pd.DataFrame(
    {
        "start": [0.4, 0.9],
        "stop": [0.5, 1.0],
        "n": [3, 1200],
        "confidence": [0.44, 0.99],
        "accuracy": [0.33, 0.98],
        "low": [0.06, 0.97],
        "high": [0.79, 0.99],
    }
)


def _mistakes(n: int) -> tuple[np.ndarray, list[dict[str, float]]]:
    images = np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8)
    rows = [{"label": 4, "prediction": 9, "confidence": (i + 1) / (n + 1)} for i in range(n)]
    return images, rows


CALLS: dict[str, Callable[[], bytes]] = {
    "confusion": lambda: results.confusion(MATRIX),
    "per_digit": lambda: results.per_digit(PER_DIGIT),
    "mistakes": lambda: results.mistakes(*_mistakes(3)),
    "curves": lambda: results.curves(HISTORY, 2),
    "calibration": lambda: results.calibration(BINS, 0.0123, 0.95),
    "robustness": lambda: results.robustness(ERRORS, 0.004),
}


@pytest.mark.parametrize("name", CALLS)
def test_same_values_same_bytes_whatever_the_users_settings(name: str) -> None:
    before = CALLS[name]()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        assert CALLS[name]() == before


@pytest.mark.parametrize("name", CALLS)
def test_every_plot_is_a_png_1200_pixels_wide_without_date_or_version(name: str) -> None:
    image = Image.open(io.BytesIO(CALLS[name]()))
    image.load()
    assert image.format == "PNG"
    assert image.width == 1200
    assert set(image.info) <= {"dpi"}


def test_plots_leave_matplotlibs_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    results.curves(HISTORY, 2)
    assert dict(matplotlib.rcParams) == before


def test_confusion_states_the_most_frequent_confusion() -> None:
    assert "10 of 955 digits are misread, most often 4 as 9 (8×)" in figure_text(
        figure_of(results.confusion, MATRIX)
    )
    perfect = figure_of(results.confusion, np.diag([7] * 10).tolist())
    assert "All 70 digits are read correctly" in figure_text(perfect)


def test_confusion_colours_errors_and_mutes_the_diagonal() -> None:
    colours = np.asarray(figure_of(results.confusion, MATRIX).axes[0].images[0].get_array())
    red, green, blue = (colours[..., channel] for channel in range(3))
    assert green[4, 9] < green[3, 5] < 0.9  # from a pale to a deep orange
    assert (red - blue)[3, 5] > 0.2
    assert abs(np.diag(red - blue)).max() < 0.05
    assert np.array_equal(colours[0, 1], [1, 1, 1, 1])


def test_confusion_writes_every_count_but_zero() -> None:
    texts = [text.get_text() for text in figure_of(results.confusion, MATRIX).axes[0].texts]
    assert sorted(texts, key=int) == ["2", "8", *map(str, range(90, 100))]


def test_per_digit_shows_all_intervals_and_notes_where_its_axis_starts() -> None:
    figure = figure_of(results.per_digit, PER_DIGIT)
    low, high = figure.axes[0].get_ylim()
    assert low < 0.96
    assert high >= 1
    assert f"The axis starts at {100 * low:g} %, not at 0" in figure_text(figure)
    assert "lowest for 0 (98.00 %) and highest for 9 (98.90 %)" in figure_text(figure)


def test_per_digit_without_any_recall_starts_at_zero_without_a_note() -> None:
    hopeless = {"1": {"n": 3, "precision": 0.0, "recall": 0.0, "recall_interval": [0.0, 0.56]}}
    figure = figure_of(results.per_digit, hopeless)
    assert figure.axes[0].get_ylim()[0] == 0
    assert "axis starts" not in figure_text(figure)


def test_mistakes_are_sorted_by_confidence_and_capped_with_a_note() -> None:
    figure = figure_of(results.mistakes, *_mistakes(53))
    assert "40 of 53 misread digits, most confident first" in figure_text(figure)
    shown = [axes.texts[2].get_text() for axes in figure.axes]
    assert len(shown) == 40
    assert shown[:2] == ["98.1 %", "96.3 %"]
    assert [text.get_text() for text in figure.axes[0].texts[:2]] == ["4 →", "9"]


def test_mistakes_show_the_image_of_their_row_as_ink_on_paper() -> None:
    images, rows = _mistakes(5)
    figure = figure_of(results.mistakes, images, rows)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert np.array_equal(shown, 255 - images[4])


@pytest.mark.parametrize(
    ("n", "title"), [(0, "No misread digits"), (1, "1 misread digit, "), (8, "8 misread digits")]
)
def test_the_title_counts_few_mistakes(n: int, title: str) -> None:
    assert title in figure_text(figure_of(results.mistakes, *_mistakes(n)))
    assert Image.open(io.BytesIO(results.mistakes(*_mistakes(n)))).height > 100


def test_mistakes_refuse_rows_without_images() -> None:
    images, rows = _mistakes(3)
    with pytest.raises(ValueError, match="got 2 images and 3 rows"):
        results.mistakes(images[:2], rows)


def test_curves_mark_the_best_epoch() -> None:
    figure = figure_of(results.curves, HISTORY, 2)
    assert "Best epoch: 2 of 3, with a validation accuracy of 99.00 %" in figure_text(figure)
    rings = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [np.asarray(ring.get_data()).ravel().tolist() for ring in rings] == [[2, 0.05]]


def test_curves_of_a_single_epoch_with_zero_loss_and_with_unknown_best_epoch() -> None:
    one = {split: {"loss": [0.0], "accuracy": [1.0]} for split in ("train", "val")}
    assert results.curves(one, 1).startswith(b"\x89PNG")
    assert "3 epochs" in figure_text(figure_of(results.curves, HISTORY, 0))


def test_calibration_states_its_error_and_writes_the_size_of_each_bin() -> None:
    figure = figure_of(results.calibration, BINS, 0.0123, 0.95)
    assert "off by 1.23 percentage points" in figure_text(figure)
    assert "95 % intervals" in figure_text(figure)
    assert [text.get_text() for text in figure.axes[1].texts] == ["3", "1,200"]


def test_calibration_of_no_images_is_still_a_plot() -> None:
    assert results.calibration(BINS[:0], 0.0, 0.95).startswith(b"\x89PNG")


def test_robustness_is_sorted_with_the_hardest_corruption_on_top() -> None:
    figure = figure_of(results.robustness, ERRORS, 0.004)
    assert "Hardest corruption: fog, 30.00 % misread" in figure_text(figure)
    assert "0.40 % misread" in figure_text(figure)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["spatter", "zigzag", "fog"]
