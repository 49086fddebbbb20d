"""Several networks and several views as one: what it gives in each of its formats."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import REPOSITORY

from digits.core import params
from digits.core.params import Recipe
from digits.models import exports, networks, reference
from digits.models.reference import Reference
from digits.recogniser import Recogniser
from digits.training import loop

if TYPE_CHECKING:
    from digits.models.backend import keras

SCALE = (0.15, 0.3)
ZOO = REPOSITORY / "params.yaml"


def recipe(members: int, views: int) -> Recipe:
    chosen = params.load(ZOO).models["dense"]
    return chosen.model_copy(update={"widths": (8,), "members": members, "views": views})


def moved(images: np.ndarray, down: int, right: int) -> np.ndarray:
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    return framed[:, 1 - down : 29 - down, 1 - right : 29 - right]


@pytest.mark.parametrize(("members", "views"), [(1, 1), (1, 5), (2, 1), (2, 5)])
def test_probabilities_are_the_mean_of_members_and_views(
    members: int, views: int, tmp_path: Path, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images = real_digits[0][:20]
    loop.make_deterministic(3)
    chosen = recipe(members, views)
    parts = [networks.build(chosen, *SCALE) for _ in range(members)]
    places = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)][:views]
    expected = np.mean(
        [n.predict(moved(images, *place), verbose=0) for n in parts for place in places], axis=0
    )
    joined = networks.joined(parts, views)
    embedding, probabilities = joined.predict(images, verbose=0)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert embedding.shape == (20, 8 * members)

    joined.save_weights(tmp_path / "digits.weights.h5")
    exports.write(joined, tmp_path / "digits.onnx", tmp_path / "digits.tflite")
    formats = (
        Reference(
            networks.joined(reference.members(tmp_path / "digits.weights.h5", chosen, SCALE), views)
        ),
        exports.LiteRT(tmp_path / "digits.tflite"),
        Recogniser((tmp_path / "digits.onnx").read_bytes()),
    )
    for loaded in formats:
        np.testing.assert_allclose(loaded.predict(images), expected, atol=1e-5)


def test_litert_has_batch_normalisation_folded_by_division_and_the_network_keeps_its_own(
    tmp_path: Path,
) -> None:
    # the converter's own folding takes 1/√x, which Intel's and AMD's processors round differently
    loop.make_deterministic(3)
    network = networks.joined([networks.build(params.load(ZOO).models["fast"], *SCALE)])
    member = network.get_layer("member_1")
    # names end with a number if this process has built networks before
    convolution, normalise = (
        next(layer for layer in member.layers if layer.name.startswith(name))
        for name in ("convolution", "batch_normalization")
    )
    rng = np.random.default_rng(3)
    shapes = [weight.shape for weight in normalise.get_weights()]
    normalise.set_weights([rng.uniform(0.5, 2, shape).astype(np.float32) for shape in shapes])
    exports.write(network, tmp_path / "digits.onnx", tmp_path / "digits.tflite")
    gamma, _, _, variance = normalise.get_weights()
    (kernel,) = convolution.get_weights()
    folded = kernel * (gamma / np.sqrt(variance + np.float32(normalise.epsilon)))
    assert folded.transpose(3, 0, 1, 2).tobytes() in (tmp_path / "digits.tflite").read_bytes()

    image = rng.integers(0, 256, (1, 28, 28), dtype=np.uint8)
    before = network(image)[0].numpy()
    normalise.set_weights([2 * weight for weight in normalise.get_weights()])
    assert not np.allclose(network(image)[0], before)


@pytest.mark.parametrize("name", ["accurate", "fast", "cnn", "cnn_light", "dense", "transfer"])
def test_an_exported_network_answers_as_it_does_in_keras(
    name: str, tmp_path: Path, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images = real_digits[0][:20]
    loop.make_deterministic(3)
    network = networks.joined([networks.build(params.load(ZOO).models[name], *SCALE)])
    exports.write(network, tmp_path / "digits.onnx")
    loaded = Recogniser((tmp_path / "digits.onnx").read_bytes())
    expected = network.predict(images, verbose=0)[1]
    np.testing.assert_allclose(loaded.predict(images), expected, atol=1e-4)


@pytest.mark.parametrize(("members", "views"), [(1, 1), (2, 1), (1, 5), (2, 5)])
def test_equal_networks_give_equal_onnx_whatever_the_process_did_before(
    members: int, views: int, tmp_path: Path, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    def network() -> "keras.Model":
        return networks.joined(
            [networks.build(recipe(1, 1), *SCALE) for _ in range(members)], views
        )

    loop.make_deterministic(3)
    first = network()
    exports.write(first, tmp_path / "first.onnx")
    network().predict(real_digits[0][:9], verbose=0)
    again = network()
    again.set_weights(first.get_weights())
    exports.write(again, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "first.onnx").read_bytes()
