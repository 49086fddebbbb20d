"""Ink: which pixels count, and how wide strokes are."""

import numpy as np
import pytest

from digits.images import ink


def test_blank_paper_has_no_ink() -> None:
    assert not ink.find_ink(np.full((40, 40), 200, np.uint8)).any()


@pytest.mark.parametrize("side", [40, 200], ids=["small picture", "photo"])
@pytest.mark.parametrize(("paper", "stroke"), [(255, 0), (0, 255)])
def test_ink_is_one_on_strokes_and_zero_on_paper(side: int, paper: int, stroke: int) -> None:
    picture = np.full((side, side), paper, np.uint8)
    bar = (slice(side // 4, 3 * side // 4), slice(side // 2, side // 2 + side // 10))
    picture[bar] = stroke
    expected = np.zeros((side, side))
    expected[bar] = 1
    np.testing.assert_allclose(ink.find_ink(picture), expected, atol=0.05)


def test_stroke_width_is_that_of_the_bar_also_for_many_masks_at_once() -> None:
    masks = np.zeros((3, 100, 100), bool)
    masks[1, 5:95, 50:53] = True
    masks[2, 50:56, 5:95] = True
    widths = ink.stroke_width(masks)
    assert widths == pytest.approx([0, 3, 6], rel=0.08)
    assert ink.stroke_width(masks[1]) == widths[1]


def test_crofton_corrects_the_width_of_a_slanted_stroke() -> None:
    y, x = np.mgrid[:200, :200]
    distance = np.abs(y - np.tan(np.pi / 8) * x - 50) * np.cos(np.pi / 8)
    stroke = (distance <= 4) & (x > 10) & (x < 190)
    assert ink.stroke_width(stroke) * 4 / np.pi == pytest.approx(8, rel=0.1)
