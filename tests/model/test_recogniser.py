"""How the model behaves: what it must recognise, and what must not change its predictions."""

import numpy as np
import pytest
from conftest import NO_AUGMENTATION, REPOSITORY, run

import digits
from digits.core import files, params
from digits.core.errors import DataError, ParameterError, RegistryError
from digits.core.params import Recipe
from digits.core.project import Project
from digits.models import exports, networks, reference
from digits.models.reference import Reference
from digits.training import augmentation

SIZES = {"cnn": 225_034, "dense": 266_610, "keras_example": 34_826}


@pytest.fixture(scope="module")
def recogniser(built_template: object) -> "digits.Recogniser":
    return digits.Recogniser.load(built_template)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def val(built_template: object) -> tuple[np.ndarray, np.ndarray]:
    splits = Project(built_template).splits  # type: ignore[arg-type]
    images = np.array(files.read_array(splits / "val-images.npy"))
    return images, np.array(files.read_array(splits / "val-labels.npy"))


def test_probabilities_sum_to_one_and_most_digits_are_right(
    recogniser: "digits.Recogniser", val: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = val
    probabilities = recogniser.predict(images)
    assert probabilities.shape == (len(images), 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.6  # after three short epochs


def test_a_digit_has_the_same_probabilities_alone_and_in_a_batch(
    recogniser: "digits.Recogniser", val: tuple[np.ndarray, np.ndarray]
) -> None:
    images, _ = val
    many = recogniser.predict(np.concatenate([images, images]))
    alone = np.concatenate([recogniser.predict(images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, many[:5], atol=1e-5)


def test_a_small_shift_changes_few_predictions(
    recogniser: "digits.Recogniser", val: tuple[np.ndarray, np.ndarray]
) -> None:
    images, _ = val
    before = recogniser.predict(images).argmax(axis=1)
    after = recogniser.predict(np.roll(images, 1, axis=2)).argmax(axis=1)
    assert (before == after).mean() > 0.7


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 28, 28), np.float32), "must be a uint8 array, got float32"),
        (np.zeros((28, 28), np.uint8), r"must be \(n, 28, 28\), got \(28, 28\)"),
        ([[0]], "must be a uint8 array, got list"),
    ],
)
def test_images_of_another_type_or_shape_are_refused(
    recogniser: "digits.Recogniser", images: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        recogniser.predict(images)


@pytest.mark.parametrize("name", ["digits.weights.h5", "digits.onnx", "digits.tflite"])
def test_altered_weights_are_not_opened(built_project: Project, name: str) -> None:
    (built_project.models / name).write_bytes(b"not the registered weights")
    with pytest.raises(RegistryError, match=rf"{name}: SHA-256 is .*not opened"):
        digits.Recogniser.load(built_project.root)


def test_a_registered_file_that_is_not_a_network_is_refused(built_project: Project) -> None:
    path = built_project.models / "digits.onnx"
    path.write_bytes(b"no network")
    card = files.read_json(built_project.model_card)
    card["weights"]["models/digits.onnx"] = files.sha256(path)
    files.write_json(built_project.model_card, card)
    with pytest.raises(RegistryError, match="not a network that ONNX Runtime can run"):
        digits.Recogniser.load(built_project.root)


def test_recognising_needs_no_tensorflow(built_project: Project) -> None:
    code = (
        "import sys, numpy, digits; digits.Recogniser.load().predict("
        "numpy.zeros((1, 28, 28), numpy.uint8)); print('tensorflow' in sys.modules)"
    )
    assert run("python", "-c", code, cwd=built_project.root).stdout.strip() == "False"


def test_all_export_formats_agree(
    built_project: Project, recogniser: "digits.Recogniser", val: tuple[np.ndarray, np.ndarray]
) -> None:
    project = built_project
    card = files.read_json(project.model_card)
    images, _ = val
    expected = recogniser.predict(images)
    for other in (
        exports.LiteRT(project.models / "digits.tflite"),
        Reference.from_card(project.root, card),
    ):
        np.testing.assert_allclose(other.predict(images), expected, atol=1e-5)
    with pytest.raises(RegistryError, match="litert and Keras differ in probabilities"):
        exports.compare("litert", expected, expected[:, ::-1])


def test_weights_of_another_network_are_refused(built_project: Project) -> None:
    card = files.read_json(built_project.model_card)
    recipe = Recipe.model_validate(card["recipe"] | {"widths": [8, 16, 32, 33]})
    with pytest.raises(RegistryError, match="doesn't fit network 'allconv_fine'"):
        reference.members(built_project.models / "digits.weights.h5", recipe, (0.1, 0.3))


def test_a_model_card_cannot_name_files_outside_the_project(built_project: Project) -> None:
    card = files.read_json(built_project.model_card)
    card["weights"] = {"../../etc/passwd": "0" * 64}
    files.write_json(built_project.model_card, card)
    with pytest.raises(RegistryError, match="lies outside"):
        digits.Recogniser.load(built_project.root)


def test_without_augmentation_images_stay_unchanged(val: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = val
    np.testing.assert_array_equal(
        augmentation.distort(images, NO_AUGMENTATION, np.random.default_rng(0)), images
    )


def test_augmentation_moves_ink_but_keeps_its_amount(val: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = val
    chosen = params.load(REPOSITORY / "params.yaml").recipe.augmentation
    chosen = chosen.model_copy(update={"filtered": 0, "noise": 0})
    moved = augmentation.distort(images, chosen, np.random.default_rng(0))
    assert moved.dtype == np.uint8
    assert abs(moved.mean() / images.mean() - 1) < 0.1
    assert (moved != images).any(axis=(1, 2)).mean() > 0.99


def test_half_of_the_images_get_noise(val: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = val
    noisy = augmentation.distort(
        images, NO_AUGMENTATION.model_copy(update={"noise": 0.5}), np.random.default_rng(0)
    )
    assert 0.35 < (noisy != images).any(axis=(1, 2)).mean() < 0.65


def test_grey_paper_and_low_contrast_change_few_predictions(
    recogniser: "digits.Recogniser", val: tuple[np.ndarray, np.ndarray]
) -> None:
    images, _ = val
    faint_on_grey = (images // 4 + 100).astype(np.uint8)
    before = recogniser.predict(images).argmax(axis=1)
    assert (recogniser.predict(faint_on_grey).argmax(axis=1) == before).mean() > 0.97


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "unknown"}, r"'network' is 'unknown'; known: allconv, allconv_fine, dense"),
        ({"widths": [8]}, r"'widths' of network 'allconv_fine' is \[8\]; expected 3 to 8"),
        ({"network": "cnn", "widths": [8] * 5}, r"'cnn' is \[8, 8, 8, 8, 8\]; expected 2 to 4"),
    ],
)
def test_an_unknown_network_and_a_wrong_number_of_widths_are_named(
    changes: dict[str, object], message: str
) -> None:
    recipe = params.load(REPOSITORY / "params.yaml").recipe
    with pytest.raises(ParameterError, match=message):
        networks.build(recipe.model_copy(update=changes), 0.1, 0.3)


def test_networks_have_their_published_numbers_of_parameters() -> None:
    zoo = params.load(REPOSITORY / "params.yaml").models
    sizes = {name: networks.build(zoo[name], 0.13, 0.3).count_params() for name in SIZES}
    assert sizes == SIZES
    assert networks.build(zoo["tiny"], 0.13, 0.3).count_params() < 3000
