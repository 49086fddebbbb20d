"""A trained network that can be asked. Weights are verified before they are opened."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from digits import artifacts, models, weights
from digits.errors import DataError, RegistryError
from digits.paths import Project

if TYPE_CHECKING:
    import keras

_FEW = 256  # images up to which one call of the network is quicker than Keras' loop
_BATCH = 500


class Recogniser:
    """Recognises digits in MNIST's form; `digits.glyphs` brings other pictures to it."""

    def __init__(self, model: "keras.Model") -> None:
        import keras

        self._model = model
        embedding = model.get_layer("embedding").output
        self._both = keras.Model(model.input, [embedding, model.output])

    @classmethod
    def load(cls, root: Path | None = None) -> "Recogniser":
        """The model of a project, or of a version that the registry has materialised.

        Args:
            root: the folder with reports/model.json and models/; default: the project around
                the working directory.

        Raises:
            RegistryError: the weights aren't those of the model card, or don't fit the network.
            DataError: there is no model card.
        """
        project = Project(root) if root else Project.find()
        return cls.from_card(project.root, artifacts.read_json(project.model_card))

    @classmethod
    def from_card(cls, root: Path, card: dict[str, Any]) -> "Recogniser":
        """The model that a card describes, with weights under `root`."""
        (path,) = weights.verified(root, card).values()
        model = models.build(card["model"], card["scale"]["mean"], card["scale"]["std"])
        try:
            model.load_weights(path)
        except ValueError as exc:  # Keras counts layers and compares shapes
            raise RegistryError(
                f"{path}: doesn't fit network '{card['model']}' as this version of the code builds "
                "it; check the version out that made it, or run 'dvc repro'"
            ) from exc
        return cls(model)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The probability of each digit.

        Args:
            images: uint8 `(n, 28, 28)`, white on black, in MNIST's form.

        Returns:
            float32 `(n, 10)`; rows sum to 1.

        Raises:
            DataError: the images have another shape or type.
        """
        return self.embed(images)[1]

    def embed(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The network's last hidden layer, float32 `(n, k)`, and the probabilities `(n, 10)`."""
        _check(images)
        if len(images) > _FEW:
            embedding, probabilities = self._both.predict(images, batch_size=_BATCH, verbose=0)
        else:
            embedding, probabilities = self._both(np.asarray(images), training=False)
        return np.asarray(embedding), np.asarray(probabilities)


def _check(images: np.ndarray) -> None:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise DataError(
            f"images must be a uint8 array, got {getattr(images, 'dtype', type(images).__name__)}"
        )
    if images.ndim != 3 or images.shape[1:] != (models.SIZE, models.SIZE):
        raise DataError(f"images must be (n, {models.SIZE}, {models.SIZE}), got {images.shape}")
