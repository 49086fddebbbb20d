"""What a reader sees of the data and of corrupted images."""

import io

import numpy as np
from conftest import figure_of, figure_text
from PIL import Image

from digits.plots import dataset

COUNTS = {"train": [60] * 9 + [20], "val": [10] * 10, "test": [10] * 10}
ERRORS = {"fog": 0.3, "zigzag": 0.05, "spatter": 0.01}


def test_balance_says_how_far_the_shares_are_apart() -> None:
    figure = figure_of(dataset.balance, COUNTS)
    assert "Each digit is 3.6 to 10.7 % of its split" in figure_text(figure)
    assert len(figure.axes[0].patches) == 30
    assert figure.axes[0].get_ylim()[0] == 0


def test_mean_digits_shows_means_and_deviations_and_leaves_out_what_there_is_none_of() -> None:
    images = np.zeros((4, 28, 28), np.uint8)
    images[0] = 100
    figure = figure_of(dataset.mean_digits, images, np.array([3, 3, 7, 7]))
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert [-image.mean() for image in shown] == [50, 50, 0, 0]
    assert Image.open(io.BytesIO(dataset.mean_digits(images, np.array([3, 3, 7, 7])))).width == 1200


def test_robustness_is_sorted_with_the_hardest_on_top() -> None:
    figure = figure_of(dataset.robustness, ERRORS, 0.004)
    assert "Hardest is fog: 30.00 % are misread" in figure_text(figure)
    assert "0.40 % misread" in figure_text(figure)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["spatter", "zigzag", "fog"]
    assert dataset.robustness(ERRORS, 0.004) == dataset.robustness(ERRORS, 0.004)
