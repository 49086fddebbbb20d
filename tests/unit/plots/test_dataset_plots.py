"""Plots of the data set."""

import io

import numpy as np
from conftest import figure_of, figure_text
from PIL import Image

from digits.plots import dataset

COUNTS = {"train": [60] * 9 + [20], "val": [10] * 10, "test": [10] * 10}


def test_balance_states_the_range_of_the_shares() -> None:
    figure = figure_of(dataset.balance, COUNTS)
    assert "Each digit is 3.6 to 10.7 % of its split" in figure_text(figure)
    assert len(figure.axes[0].patches) == 30
    assert figure.axes[0].get_ylim()[0] == 0


def test_mean_digits_shows_mean_and_deviation_of_the_digits_present() -> None:
    images = np.zeros((4, 28, 28), np.uint8)
    images[0] = 100
    figure = figure_of(dataset.mean_digits, images, np.array([3, 3, 7, 7]))
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert [-image.mean() for image in shown] == [50, 50, 0, 0]
    assert Image.open(io.BytesIO(dataset.mean_digits(images, np.array([3, 3, 7, 7])))).width == 1200
