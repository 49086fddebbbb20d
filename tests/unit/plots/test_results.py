"""What a reader sees in the plots, read from the figures behind the PNGs."""

import io
from collections.abc import Callable

import matplotlib
import numpy as np
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


def _mistakes(n: int) -> tuple[np.ndarray, list[dict[str, float]]]:
    images = np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8)
    rows = [{"label": 4, "prediction": 9, "confidence": (i + 1) / (n + 1)} for i in range(n)]
    return images, rows


CALLS: dict[str, Callable[[], bytes]] = {
    "confusion": lambda: results.confusion(MATRIX),
    "per_digit": lambda: results.per_digit(PER_DIGIT),
    "mistakes": lambda: results.mistakes(*_mistakes(3)),
    "curves": lambda: results.curves(HISTORY, 2),
    "calibration": lambda: results.calibration(np.array([0.9, 0.4]), np.array([True, False]), 10),
}


@pytest.mark.parametrize("name", CALLS)
def test_same_values_same_bytes_whatever_the_readers_settings(name: str) -> None:
    before = CALLS[name]()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        assert CALLS[name]() == before


@pytest.mark.parametrize("name", CALLS)
def test_a_png_of_1200_pixels_without_date_or_version(name: str) -> None:
    image = Image.open(io.BytesIO(CALLS[name]()))
    image.load()
    assert image.format == "PNG"
    assert image.width == 1200
    assert set(image.info) <= {"dpi"}


def test_plots_leave_matplotlibs_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    results.curves(HISTORY, 2)
    assert dict(matplotlib.rcParams) == before


def test_confusion_says_what_is_confused_most() -> None:
    assert "10 of 955 digits are misread, most often 4 as 9 (8×)" in figure_text(
        figure_of(results.confusion, MATRIX)
    )
    perfect = figure_of(results.confusion, np.diag([7] * 10).tolist())
    assert "All 70 digits are read right" in figure_text(perfect)


def test_confusion_colours_errors_and_mutes_the_diagonal() -> None:
    colours = np.asarray(figure_of(results.confusion, MATRIX).axes[0].images[0].get_array())
    red, green, blue = (colours[..., channel] for channel in range(3))
    assert green[4, 9] < green[3, 5] < 0.9  # from a pale to a deep orange
    assert (red - blue)[3, 5] > 0.2
    assert abs(np.diag(red - blue)).max() < 0.05
    assert np.array_equal(colours[0, 1], [1, 1, 1, 1])


def test_confusion_writes_every_count_that_is_not_zero() -> None:
    texts = [text.get_text() for text in figure_of(results.confusion, MATRIX).axes[0].texts]
    assert sorted(texts, key=int) == ["2", "8", *map(str, range(90, 100))]


def test_per_digit_shows_all_intervals_and_owns_up_to_its_axis() -> None:
    figure = figure_of(results.per_digit, PER_DIGIT)
    low, high = figure.axes[0].get_ylim()
    assert low < 0.96
    assert high >= 1
    assert f"the axis starts at {100 * low:g} %, not at 0" in figure_text(figure)
    assert "lowest for 0 (98.00 %) and highest for 9 (98.90 %)" in figure_text(figure)


def test_per_digit_of_a_hopeless_model_starts_at_zero_without_a_note() -> None:
    hopeless = {"1": {"n": 3, "precision": 0.0, "recall": 0.0, "recall_interval": [0.0, 0.56]}}
    figure = figure_of(results.per_digit, hopeless)
    assert figure.axes[0].get_ylim()[0] == 0
    assert "Note" not in figure_text(figure)


def test_mistakes_most_confident_first_and_capped_with_a_note() -> None:
    figure = figure_of(results.mistakes, *_mistakes(53))
    assert "40 of 53 mistakes, the most confident first" in figure_text(figure)
    shown = [axes.texts[2].get_text() for axes in figure.axes]
    assert len(shown) == 40
    assert shown[:2] == ["98.1 %", "96.3 %"]
    assert [text.get_text() for text in figure.axes[0].texts[:2]] == ["4 →", "9"]


def test_mistakes_show_each_rows_own_picture_as_ink_on_paper() -> None:
    images, rows = _mistakes(5)
    figure = figure_of(results.mistakes, images, rows)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert np.array_equal(shown, 255 - images[4])


@pytest.mark.parametrize(("n", "title"), [(0, "No mistakes"), (1, "1 mistake, "), (8, "8 mist")])
def test_mistakes_of_few(n: int, title: str) -> None:
    assert title in figure_text(figure_of(results.mistakes, *_mistakes(n)))
    assert Image.open(io.BytesIO(results.mistakes(*_mistakes(n)))).height > 100


def test_mistakes_refuse_rows_without_pictures() -> None:
    images, rows = _mistakes(3)
    with pytest.raises(ValueError, match="as many, got 2 and 3"):
        results.mistakes(images[:2], rows)


def test_curves_mark_the_best_epoch() -> None:
    figure = figure_of(results.curves, HISTORY, 2)
    assert "Best after epoch 2 of 3: validation accuracy 99.00 %" in figure_text(figure)
    rings = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [np.asarray(ring.get_data()).ravel().tolist() for ring in rings] == [[2, 0.05]]


def test_curves_of_one_epoch_of_a_loss_of_zero_and_of_an_unknown_best_epoch() -> None:
    one = {split: {"loss": [0.0], "accuracy": [1.0]} for split in ("train", "val")}
    assert results.curves(one, 1).startswith(b"\x89PNG")
    assert "3 epochs" in figure_text(figure_of(results.curves, HISTORY, 0))


@pytest.mark.parametrize(
    ("confidence", "right", "points"), [(0.75, 3, "0.00"), (0.9, 0, "90.00"), (1.0, 4, "0.00")]
)
def test_calibration_error_is_the_gap_to_what_was_right(
    confidence: float, right: int, points: str
) -> None:
    figure = figure_of(results.calibration, np.full(4, confidence), np.arange(4) < right, 15)
    assert f"off by {points} points" in figure_text(figure)
    assert [text.get_text() for text in figure.axes[1].texts] == ["4"]


def test_calibration_of_nothing_is_still_a_picture() -> None:
    assert results.calibration(np.array([]), np.array([], bool), 10).startswith(b"\x89PNG")
