"""How the network behaves: what it must be able to do, and what must not change its mind."""

import numpy as np
import pytest
from conftest import REPOSITORY

import digits
from digits import artifacts, augmentation, models, params
from digits.errors import DataError, ParameterError, RegistryError
from digits.params import Augmentation
from digits.paths import Project

STILL = Augmentation(rotation=0, scale=0, shear=0, shift=0)


@pytest.fixture(scope="module")
def recogniser(_built_template: object) -> "digits.Recogniser":
    return digits.Recogniser.load(_built_template)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def val(_built_template: object) -> tuple[np.ndarray, np.ndarray]:
    splits = Project(_built_template).splits  # type: ignore[arg-type]
    images = np.array(artifacts.read_array(splits / "val-images.npy"))
    return images, np.array(artifacts.read_array(splits / "val-labels.npy"))


def test_probabilities_sum_to_one_and_are_mostly_right(
    recogniser: "digits.Recogniser", val: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = val
    probabilities = recogniser.predict(images)
    assert probabilities.shape == (len(images), 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.6  # after two epochs of seconds


def test_a_digit_is_the_same_alone_and_among_many(
    recogniser: "digits.Recogniser", val: tuple[np.ndarray, np.ndarray]
) -> None:
    images, _ = val
    many = recogniser.predict(np.concatenate([images, images]))
    alone = np.concatenate([recogniser.predict(images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, many[:5], atol=1e-5)


def test_a_small_shift_changes_few_minds(
    recogniser: "digits.Recogniser", val: tuple[np.ndarray, np.ndarray]
) -> None:
    images, _ = val
    before = recogniser.predict(images).argmax(axis=1)
    after = recogniser.predict(np.roll(images, 1, axis=2)).argmax(axis=1)
    assert (before == after).mean() > 0.7


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.zeros((2, 28, 28), np.float32), "must be a uint8 array, got float32"),
        (np.zeros((28, 28), np.uint8), r"must be \(n, 28, 28\), got \(28, 28\)"),
        ([[0]], "must be a uint8 array, got list"),
    ],
)
def test_other_images_are_refused(
    recogniser: "digits.Recogniser", images: np.ndarray, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        recogniser.predict(images)


def test_altered_weights_are_not_opened(built_project: Project) -> None:
    weights = built_project.models / "digits.weights.h5"
    weights.write_bytes(b"not the registered weights")
    with pytest.raises(RegistryError, match=r"digits\.weights\.h5: SHA-256 is .*not opened"):
        digits.Recogniser.load(built_project.root)


def test_weights_of_another_network_are_told_in_a_line(
    built_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from digits import models as networks

    def narrower(x: object) -> object:
        import keras

        x = keras.layers.Conv2D(4, 3)(x)
        return keras.layers.GlobalMaxPooling2D(name="embedding")(x)

    monkeypatch.setitem(networks._BUILDERS, "allconv", narrower)
    with pytest.raises(RegistryError, match="doesn't fit network 'allconv'"):
        digits.Recogniser.load(built_project.root)


def test_a_card_cannot_point_outside(built_project: Project) -> None:
    card = artifacts.read_json(built_project.model_card)
    card["weights"] = {"../../etc/passwd": "0" * 64}
    artifacts.write_json(built_project.model_card, card)
    with pytest.raises(RegistryError, match="lies outside"):
        digits.Recogniser.load(built_project.root)


def test_without_distortion_images_stay_as_they_are(val: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = val
    np.testing.assert_array_equal(
        augmentation.distort(images, STILL, np.random.default_rng(0)), images
    )


def test_distortion_keeps_the_ink_and_moves_it(val: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = val
    chosen = params.load(REPOSITORY / "params.yaml").train.augmentation
    moved = augmentation.distort(images, chosen, np.random.default_rng(0))
    assert moved.dtype == np.uint8
    assert abs(moved.mean() / images.mean() - 1) < 0.1
    assert (moved != images).any(axis=(1, 2)).mean() > 0.99


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(ParameterError, match=r"'train\.model' is 'lenet'; known: allconv"):
        models.build("lenet", 0.1, 0.3)
