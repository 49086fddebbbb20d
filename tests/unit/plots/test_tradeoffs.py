"""Plots of accuracy against cost, and the placement of their labels."""

import io
from typing import Any

import numpy as np
import pytest
from conftest import figure_of
from matplotlib.figure import Figure
from PIL import Image

from digits.plots import tradeoffs
from digits.plots.tradeoffs import Point

POINTS = [
    Point("slow", 300, [0.996, 0.9962]),
    Point("quick", 20, [0.98, 0.982]),
    Point("beaten", 400, [0.99, 0.991]),
    Point("close", 410, [0.9901, 0.991]),
]


def _figure(plot: Any, points: list[Point]) -> Figure:
    return figure_of(plot, points, 5000)


def _labels(figure: Figure) -> dict[str, Any]:
    return {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}


def _filled(figure: Figure) -> int:
    return sum(line.get_marker() == "o" for line in figure.axes[0].lines)


def test_the_title_names_the_most_accurate_and_the_fastest_model() -> None:
    (title, _) = _figure(tradeoffs.training_time, POINTS).texts
    assert title.get_text() == "Most accurate: slow, 99.61 %. Fastest to train: quick, 20 s"
    (title, _) = _figure(tradeoffs.throughput, POINTS).texts
    assert title.get_text() == "Most accurate: slow, 99.61 %. Fastest: close, 410 images/s"


def test_models_on_the_pareto_front_are_filled() -> None:
    assert _filled(_figure(tradeoffs.training_time, POINTS)) == 2  # slow, quick
    assert _filled(_figure(tradeoffs.throughput, POINTS)) == 2  # slow, close


def test_each_model_has_one_label_that_covers_no_other() -> None:
    labels = _labels(_figure(tradeoffs.training_time, POINTS))
    assert set(labels) == {point.name for point in POINTS}
    assert not labels["beaten"].overlaps(labels["close"])


def test_a_label_is_much_nearer_to_its_own_point_than_to_any_other() -> None:
    errors = {"best": (1090, 0.0032), "left": (6930, 0.0040), "right": (8810, 0.0041)}
    errors |= {"quick": (33_900, 0.0083), "quickest": (70_900, 0.0248)}
    points = [Point(name, x, [1 - error]) for name, (x, error) in errors.items()]
    figure = _figure(tradeoffs.throughput, points)
    to_pixels = figure.axes[0].transData.transform
    for name, extent in _labels(figure).items():
        far = {
            other: np.linalg.norm(place - np.clip(place, extent.min, extent.max))
            for other, place in zip(errors, to_pixels(list(errors.values())), strict=True)
        }
        own = far.pop(name)
        assert 2 * own <= min(far.values())


@pytest.mark.parametrize("accuracies", [[1.0], [1.0, 1.0], [0.5]])
def test_a_single_model_can_be_plotted_even_a_perfect_one(accuracies: list[float]) -> None:
    png = tradeoffs.training_time([Point("alone", 3, accuracies)], 200)
    assert Image.open(io.BytesIO(png)).width == 1200


def test_same_values_same_bytes() -> None:
    assert tradeoffs.throughput(POINTS, 5000) == tradeoffs.throughput(POINTS, 5000)


def test_spread_is_the_sample_standard_deviation() -> None:
    assert Point("a", 1, [0.9, 0.8]).std == pytest.approx(np.std([0.9, 0.8], ddof=1))
    assert Point("a", 1, [0.9]).std == 0
