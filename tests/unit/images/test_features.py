"""Features on shapes whose measures are known, and on real digits."""

import numpy as np
import pandas as pd
import pytest

from digits.images import features

NAMES = [
    *("intensity", "ink", "height", "width", "slant", "thickness", "noise", "softness"),
    *("length", "right", "down", "faint", "bright", "sharpness"),
]


def measure(image: np.ndarray) -> "pd.Series[float]":
    return features.measure(image[None].astype(np.uint8), ink_level=128).iloc[0]


def blank() -> np.ndarray:
    return np.zeros((28, 28), np.uint8)


def test_a_bar_has_the_size_and_thickness_it_was_drawn_with() -> None:
    bar = blank()
    bar[4:24, 12:15] = 255
    row = measure(bar)
    assert (row["height"], row["width"]) == (20, 3)
    assert row["thickness"] == pytest.approx(3, rel=0.15)
    assert row["ink"] == pytest.approx(60 / 784)
    assert row["intensity"] == pytest.approx(60 / 784)
    assert row["slant"] == row["softness"] == 0


@pytest.mark.parametrize("lean", [-0.5, 0.5])
def test_slant_is_the_tangent_of_the_angle_and_positive_to_the_right(lean: float) -> None:
    line = blank()
    for y in range(4, 24):
        x = round(14 - lean * (y - 14))
        line[y, x : x + 2] = 255
    assert measure(line)["slant"] == pytest.approx(lean, abs=0.05)


def test_noise_rises_with_grain_and_softness_with_blur() -> None:
    from scipy import ndimage

    bar = blank()
    bar[4:24, 10:16] = 255
    grain = np.random.default_rng(0).normal(0, 40, bar.shape)
    noisy = np.clip(bar + grain, 0, 255)
    soft = ndimage.gaussian_filter(bar.astype(float), 2)
    assert measure(noisy)["noise"] > 3 * measure(bar)["noise"]
    assert measure(soft)["noise"] < measure(bar)["noise"]
    assert measure(soft)["softness"] > 0.4 > measure(bar)["softness"]


def test_length_and_centre_of_mass_follow_all_that_is_not_black() -> None:
    bar = blank()
    bar[4:24, 12:16] = 255
    row = measure(bar)
    assert (row["length"], row["right"], row["down"]) == (20, 0, 0)
    moved = np.roll(bar, (3, -2), axis=(0, 1))
    assert measure(moved)[["right", "down"]].tolist() == [-2, 3]
    bar[2, 12] = 1
    assert measure(bar)["length"] == 22


def test_faint_counts_specks_in_the_background_and_bright_what_is_white() -> None:
    bar = blank()
    bar[4:24, 12:16] = 255
    assert measure(bar)[["faint", "bright"]].tolist() == [0, 1]
    bar[0, :8] = 3
    row = measure(bar)
    assert row["faint"] == pytest.approx(8 / 784)
    assert row["bright"] == pytest.approx(80 / 88)


def test_sharpness_falls_with_blur_but_not_with_fainter_ink() -> None:
    from scipy import ndimage

    bar = blank()
    bar[4:24, 10:16] = 200
    soft = ndimage.gaussian_filter(bar.astype(float), 1)
    assert measure(soft)["sharpness"] < 0.7 * measure(bar)["sharpness"]
    assert measure(bar / 2)["sharpness"] == pytest.approx(measure(bar)["sharpness"])


def test_blank_and_full_images_have_finite_measures() -> None:
    images = np.stack([blank(), blank() + 255])
    table = features.measure(images, ink_level=128)
    assert np.isfinite(table.to_numpy()).all()
    assert not table.loc[0].any()
    assert table.loc[1, ["ink", "intensity"]].tolist() == [1, 1]


def test_no_images_give_an_empty_table_with_all_columns() -> None:
    table = features.measure(np.empty((0, 28, 28), np.uint8), ink_level=128)
    assert list(table.columns) == NAMES
    assert len(table) == 0


def test_images_are_measured_independently_of_each_other(
    real_digits: tuple[np.ndarray, np.ndarray],
) -> None:
    images = real_digits[0][:50]
    whole = features.measure(images, ink_level=128)
    assert (whole.dtypes == np.float64).all()
    alone = [features.measure(images[i : i + 1], ink_level=128) for i in range(50)]
    pd.testing.assert_frame_equal(whole, pd.concat(alone, ignore_index=True), atol=1e-6)


def test_pixels_below_the_ink_level_are_not_ink() -> None:
    faint = blank()
    faint[10:18, 10:18] = 100
    images = faint[None]
    assert features.measure(images, ink_level=128)["ink"].item() == 0
    assert features.measure(images, ink_level=90)["ink"].item() == pytest.approx(64 / 784)
