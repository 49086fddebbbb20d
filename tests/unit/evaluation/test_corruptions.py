"""Each corruption does to digits what its name says, as strongly as in MNIST-C."""

import numpy as np
import pytest
from scipy import ndimage

from digits.core.errors import DataError, ParameterError
from digits.evaluation import corruptions

# mean absolute change in grey levels: MNIST-C's strengths on these digits, a tenth to either side
STRENGTHS = {
    "shot_noise": 15.8,
    "impulse_noise": 21.7,
    "glass_blur": 12.8,
    "motion_blur": 22.4,
    "shear": 24.3,
    "scale": 23.5,
    "rotate": 21.5,
    "brightness": 115.2,
    "translate": 42.6,
    "stripe": 127.2,
    "fog": 88.6,
    "spatter": 8.4,
    "dotted_line": 5.9,
    "zigzag": 11.9,
    "canny_edges": 38.9,
}
CERTAIN = {"scale", "brightness", "stripe", "canny_edges"}

every = pytest.mark.parametrize("name", corruptions.NAMES)


@pytest.fixture
def images(real_digits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return real_digits[0][:300]


def corrupt(images: np.ndarray, name: str, seed: int = 0) -> np.ndarray:
    """As int, so that differences have a sign."""
    return corruptions.corrupt(images, name, seed).astype(int)


def blank(count: int = 100, level: int = 0) -> np.ndarray:
    return np.full((count, 28, 28), level, np.uint8)


def bar(count: int = 100) -> np.ndarray:
    """An upright bar about the centre, 16 px high and 4 px wide."""
    images = blank(count)
    images[:, 6:22, 12:16] = 255
    return images


def centre(image: np.ndarray) -> np.ndarray:
    return np.array(ndimage.center_of_mass(image))


def direction(image: np.ndarray) -> float:
    """Angle of the ink's long axis from upright, in rad."""
    y, x = np.indices(image.shape) - centre(image)[:, None, None]
    xx, yy, xy = ((image * product).sum() for product in (x * x, y * y, x * y))
    return float(np.arctan2(2 * xy, yy - xx) / 2)


def test_there_are_the_fifteen_of_the_paper_in_its_order() -> None:
    assert tuple(STRENGTHS) == corruptions.NAMES


@every
def test_every_image_changes_and_keeps_its_form(name: str, images: np.ndarray) -> None:
    before = images.copy()
    corrupted = corruptions.corrupt(images, name, seed=0)
    assert corrupted.shape == images.shape
    assert corrupted.dtype == np.uint8
    assert (corrupted != images).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(images, before)


@every
def test_strength_is_that_of_mnist_c(name: str, images: np.ndarray) -> None:
    change = np.abs(corrupt(images, name) - images).mean()
    assert change == pytest.approx(STRENGTHS[name], rel=0.1)


@every
def test_a_seed_gives_the_same_bytes_and_another_gives_others(
    name: str, images: np.ndarray
) -> None:
    some = images[:20]
    once, again, other = (corruptions.corrupt(some, name, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(once, again)
    assert np.array_equal(once, other) == (name in CERTAIN)


@every
def test_chance_is_each_images_own(name: str, images: np.ndarray) -> None:
    copies = corruptions.corrupt(np.repeat(images[:1], 300, axis=0), name, seed=0)
    assert (len(np.unique(copies, axis=0)) == 1) == (name in CERTAIN)


@every
@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_are_images_too(name: str, count: int, images: np.ndarray) -> None:
    assert corruptions.corrupt(images[:count], name, seed=0).shape == (count, 28, 28)


@every
def test_order_in_memory_and_write_protection_do_not_matter(name: str, images: np.ndarray) -> None:
    protected = np.asfortranarray(images[:20])
    protected.setflags(write=False)
    expected = corruptions.corrupt(images[:20], name, seed=0)
    np.testing.assert_array_equal(corruptions.corrupt(protected, name, seed=0), expected)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ParameterError, match=r"'blur'; known: shot_noise, .*, canny_edges$"):
        corruptions.corrupt(bar(), "blur", seed=0)


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (bar().astype(np.float32), r"float32 \(100, 28, 28\)"),
        (bar()[0], r"uint8 \(28, 28\)"),
        (bar()[:, :20], r"uint8 \(100, 20, 28\)"),
        (bar()[..., None], r"uint8 \(100, 28, 28, 1\)"),
    ],
)
def test_another_shape_or_dtype_is_an_error_that_names_both(images: np.ndarray, got: str) -> None:
    with pytest.raises(DataError, match=rf"expected uint8 \(n, 28, 28\), got {got}$"):
        corruptions.corrupt(images, "fog", seed=0)


def test_shot_noise_counts_up_to_three_photons_and_leaves_black_black() -> None:
    noisy = corrupt(bar(), "shot_noise")
    assert set(np.unique(noisy)) == {0, 85, 170, 255}
    assert not noisy[bar() == 0].any()


def test_impulse_noise_turns_a_sixth_of_the_pixels_black_or_white() -> None:
    noisy = corrupt(blank(level=100), "impulse_noise")
    assert set(np.unique(noisy)) == {0, 100, 255}
    assert (noisy == 0).mean() == pytest.approx(0.085, rel=0.05)
    assert (noisy == 255).mean() == pytest.approx(0.085, rel=0.05)


def test_glass_blur_moves_ink_by_a_few_pixels_and_keeps_its_amount() -> None:
    blurred = corrupt(bar(), "glass_blur")
    assert blurred.mean() == pytest.approx(bar().mean(), rel=0.02)
    assert blurred[:, :, 10].any()
    # two swaps to the right at most, and no blur along rows
    assert not blurred[:, :, 18:].any()


def test_motion_blur_smears_a_dot_to_one_side_within_45_degrees() -> None:
    dot = blank()
    dot[:, 14, 20] = 255
    smeared = corrupt(dot, "motion_blur")
    assert (smeared[:, 14, 20] == 60).all()
    assert smeared.sum(axis=(1, 2)) == pytest.approx(255, abs=6)
    for y, x in (centre(image) for image in smeared):
        assert 15 < x < 20
        assert abs(y - 14) <= 20 - x + 0.1


def test_shear_leans_either_way_and_keeps_horizontals() -> None:
    angles = [direction(image) for image in corrupt(bar(), "shear")]
    assert np.abs(angles) == pytest.approx(0.4, abs=0.05)
    assert {round(angle, 1) for angle in angles} == {-0.4, 0.4}
    lying = corrupt(bar().transpose(0, 2, 1), "shear")
    assert (np.ptp(lying[:, :, 10:18], axis=2) == 0).all()


def test_rotate_turns_either_way_about_the_centre() -> None:
    turned = corrupt(bar(), "rotate")
    angles = [direction(image) for image in turned]
    assert np.abs(angles) == pytest.approx(0.4, abs=0.01)
    assert {round(angle, 1) for angle in angles} == {-0.4, 0.4}
    assert [centre(image) for image in turned] == pytest.approx(np.full((100, 2), 13.5), abs=0.01)
    assert turned.mean() == pytest.approx(bar().mean(), rel=0.01)


def test_scale_shrinks_to_seven_tenths_about_the_centre() -> None:
    small = corrupt(bar(1), "scale")[0]
    assert small.sum() == pytest.approx(0.49 * bar(1).sum(), rel=0.05)
    assert np.count_nonzero(small.any(axis=1)) == 12
    assert centre(small) == pytest.approx([13.5, 13.5])


def test_brightness_adds_half_of_the_range() -> None:
    assert (corrupt(blank(), "brightness") == 128).all()
    assert (corrupt(blank(level=100), "brightness") == 228).all()
    assert (corrupt(blank(level=200), "brightness") == 255).all()


def test_translate_moves_three_pixels_along_both_axes() -> None:
    moved = corrupt(bar(), "translate")
    shifts = [centre(image) - 13.5 for image in moved]
    assert {tuple(shift) for shift in shifts} == {(-3, -3), (-3, 3), (3, -3), (3, 3)}
    assert (moved.sum(axis=(1, 2)) == bar(1).sum()).all()


def test_translate_brings_in_black() -> None:
    moved = corrupt(blank(level=255), "translate")
    assert (np.count_nonzero(moved, axis=(1, 2)) == 25**2).all()


def test_stripe_inverts_the_outer_quarters(images: np.ndarray) -> None:
    striped = corrupt(images, "stripe")
    np.testing.assert_array_equal(striped[:, :, 7:21], images[:, :, 7:21])
    for outer in (np.s_[:, :, :7], np.s_[:, :, 21:]):
        np.testing.assert_array_equal(striped[outer], 255 - images[outer].astype(int))


def test_fog_lifts_the_background_smoothly_and_weakens_ink() -> None:
    foggy = corrupt(bar(), "fog")
    background = foggy[:, :, 20:]
    assert background.mean() > 50
    assert 1 < np.abs(np.diff(background)).mean() < 2
    contrast = foggy[:, 10:18, 12:16].mean(axis=(1, 2)) - foggy[:, 10:18, 8:12].mean(axis=(1, 2))
    assert (contrast > 30).all()
    assert contrast.mean() < 90


def test_fog_keeps_within_the_images_own_range() -> None:
    assert not corrupt(blank(), "fog").any()
    assert corrupt(blank(level=80), "fog").max() <= 80


def test_spatter_lays_dark_grey_drops_over_black_and_white() -> None:
    on_black, on_white = corrupt(blank(), "spatter"), corrupt(blank(level=255), "spatter")
    assert on_black.max() == on_white.min() == 63
    assert 0.1 < (on_black > 0).mean() < 0.3
    np.testing.assert_array_equal(on_black > 0, on_white < 255)


@pytest.mark.parametrize("name", ["dotted_line", "zigzag"])
def test_lines_only_add_ink(name: str, images: np.ndarray) -> None:
    assert (corrupt(images, name) >= images).all()
    assert (corrupt(blank(), name).max(axis=(1, 2)) > 150).all()


def test_a_dotted_line_is_two_columns_off_and_two_on() -> None:
    columns = corrupt(blank(), "dotted_line").any(axis=(0, 1))
    assert np.flatnonzero(columns).tolist() == [x for x in range(27) if x % 4 in (2, 3)]


def test_a_dotted_line_is_straight() -> None:
    for image in corrupt(blank(), "dotted_line"):
        x = np.array([10, 14, 18])
        y = [centre(image[:, column : column + 1])[0] for column in x]
        assert np.diff(y, 2) == pytest.approx(0, abs=0.7)


def test_a_zigzag_turns_every_four_pixels_from_margin_to_margin() -> None:
    drawn = corrupt(blank(), "zigzag")
    assert not drawn[:, :, :2].any()
    assert not drawn[:, :, 26:].any()
    whole = [image for image in drawn if not (image[:2].any() or image[26:].any())]
    assert len(whole) > 50
    for image in whole:
        y = image[:, 3:25].argmax(axis=0)
        turns = np.count_nonzero(np.diff(np.sign(np.diff(y[np.r_[True, np.diff(y) != 0]]))))
        assert 4 <= turns <= 7


def test_canny_draws_the_outline_and_nothing_else() -> None:
    edges = corrupt(bar(1), "canny_edges")[0]
    assert set(np.unique(edges)) == {0, 255}
    outline = bar(1)[0] - ndimage.grey_erosion(bar(1)[0], 3)
    near = ndimage.grey_dilation(outline, 3)
    assert not edges[near == 0].any()
    assert ndimage.grey_dilation(edges, 3)[outline > 0].all()
    assert not corrupt(blank(level=200), "canny_edges").any()


def test_canny_follows_a_faint_edge_only_from_a_clear_one() -> None:
    faint, fading = blank(1), blank(1)
    faint[:, 6:22, 12:20] = 13
    fading[:, 6:22, 12:20] = np.linspace(40, 13, 16)[:, None]
    assert not corrupt(faint, "canny_edges").any()
    assert corrupt(fading, "canny_edges")[0, 8:20].any(axis=1).all()


def test_canny_gives_only_black_and_white(images: np.ndarray) -> None:
    assert set(np.unique(corrupt(images, "canny_edges"))) == {0, 255}
