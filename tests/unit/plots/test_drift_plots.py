"""The page on a drift check, on the texts and figures behind the PNG."""

import io
from typing import Any

import matplotlib
import numpy as np
import pytest
from conftest import figure_of, figure_text
from matplotlib.figure import Figure
from PIL import Image

from digits.plots import drift
from digits.plots.drift import Digits, Feature

RESULT: dict[str, Any] = {
    "verdict": "drift",
    "drift": True,
    "harmful": False,
    "p_value": 0.002,
    "n": 300,
    "tested": 300,
    "alpha": 0.01,
    "tolerance": 0.05,
    "estimated_accuracy": 0.98,
    "accuracy_low": 0.96,
    "accuracy_high": 0.99,
    "reference_accuracy": 0.995,
    "no_digit_share": 0.01,
    "no_digit_low": 0.0,
    "no_digit_high": 0.03,
    "accuracy": None,
    "measured_low": None,
    "measured_high": None,
    "like": "validation",
    "in_sample_share": 0.0,
    "tests": {"slant": {"drift": True}} | {f"digit {d}": {"drift": d == 3} for d in range(10)},
}
HARMFUL = {
    "verdict": "harmful",
    "drift": False,
    "harmful": True,
    "p_value": 0.3,
    "estimated_accuracy": 0.7,
    "accuracy_low": 0.6,
    "accuracy_high": 0.8,
}
VIEWS = {"the picture": 0.004, "the network's view": 0.6}


def _arguments(n: int = 300, **changes: Any) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    values = rng.normal(size=1000), rng.normal(1, 1, n)
    features = [
        Feature("slant of the writing", "tangent", 0.004, False, *values),
        Feature("how unusual", "surprise", 0.2, True, *(np.exp(3 * one) for one in values)),
        Feature("height of the digit", "px", 1.0, False, *(np.rint(one) for one in values)),
    ]
    images = rng.integers(1, 256, (10, 2, 28, 28), dtype=np.uint8)
    missing = images.copy()
    missing[3] = 0
    shares = np.full(10, 0.1)
    sets = Digits(1000, shares, images), Digits(n, shares, missing)
    strangest = images[:, 0], np.arange(10)
    calm = {f"digit {digit}": {"drift": False} for digit in range(10)}
    result = RESULT | {"n": n, "tested": n} | changes
    result["tests"] = result["tests"] or calm
    return "march", result, VIEWS, features, *sets, strangest


def _texts(figure: Figure) -> str:
    inner = [text.get_text() for axes in figure.axes for text in axes.texts]
    return " ".join([figure_text(figure), *inner])


def test_same_values_same_bytes_whatever_the_users_settings() -> None:
    before = drift.page(*_arguments())
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        assert drift.page(*_arguments()) == before
    image = Image.open(io.BytesIO(before))
    assert image.width == 1200
    assert set(image.info) <= {"dpi"}


def test_the_page_states_verdict_count_and_three_answers() -> None:
    text = _texts(figure_of(drift.page, *_arguments()))
    for expected in (
        "Drift the images differ, but are read about as well",
        "300 images of march, compared with 1,000 validation images.  p = 0.002; drift: p < 0.01.",
        "Has it changed?  Yes",
        "What changed?  2 of 11 features",
        "Does it hurt?  No, −1.5 points",
        "slant of the writing",
        "as by chance, p = 0.2",
    ):
        assert expected in text
    assert text.count("differs") == 2  # slant, and the share of threes
    assert "measured" not in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            HARMFUL,
            [
                "Harmful the images are read worse",
                "Has it changed?  Not beyond chance",
                "Does it hurt?  Yes, −29.5 points",
            ],
        ),
        (
            HARMFUL | {"accuracy": 0.75, "measured_low": 0.7, "measured_high": 0.8},
            ["Harmful the images are read worse", "Does it hurt?  Yes, −24.5 points", "measured"],
        ),
        (HARMFUL | {"no_digit_share": 0.6}, ["about 60 % of the images show no digit"]),
        (HARMFUL | {"no_digit_share": 1.0}, ["almost no image shows a digit"]),
        (
            {"accuracy_low": 0.9},
            ["Does it hurt?  Maybe, −1.5 points", "the images differ, and may be read worse"],
        ),
        (
            {"accuracy_low": 0.9, "accuracy": 0.99, "measured_low": 0.97, "measured_high": 1.0},
            ["Does it hurt?  No, −0.5 points", "the images differ, but are read about as well"],
        ),
        (
            {"verdict": "none", "drift": False, "p_value": 0.5, "tests": None},
            ["No drift no more unlike", "What changed?  Nothing beyond chance"],
        ),
        (
            {"like": "march", "in_sample_share": 0.5},
            ["(50 % among its training data), compared with 1,000 march images"],
        ),
        ({"tested": 100}, ["300 images of march (100 looked at)"]),
    ],
)
def test_the_words_follow_the_result(changes: dict[str, Any], expected: list[str]) -> None:
    text = _texts(figure_of(drift.page, *_arguments(**changes)))
    assert [words for words in expected if words not in text] == []


def test_a_name_of_a_file_stays_text() -> None:
    _, *others = _arguments()
    name = "a$b^$" + chr(10) + chr(0xDC80)  # mathematics to Matplotlib; a byte that is no UTF-8
    assert drift.page(name, *others)
    assert "300 images of a$b^$??, compared" in _texts(figure_of(drift.page, name, *others))


def test_a_digit_that_is_missing_has_no_image() -> None:
    figure = figure_of(drift.page, *_arguments())
    assert sum(len(axes.images) for axes in figure.axes) == 20 + 18 + 10


def test_values_of_few_images_are_marked_one_by_one() -> None:
    figure = figure_of(drift.page, *_arguments(n=4))
    marks = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "|"]
    assert [len(line.get_xdata()) for line in marks] == [4, 4, 4]  # type: ignore[arg-type]
