"""The trained network in TensorFlow's portable arithmetic: what reports are computed with.

`Recogniser` recognises by ONNX Runtime, which is faster but rounds by CPU. Figures that are
committed come from here, so that they are the same on every machine.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from digits.core.errors import RegistryError
from digits.core.params import Recipe
from digits.models import networks, weights
from digits.models.backend import keras, tf

_BATCH = 250  # images per step


class Reference:
    """A network that predicts the same bytes on every CPU."""

    def __init__(self, network: "keras.Model") -> None:
        """A reference for a network as `networks.joined` returns it."""
        self._run = tf.function(
            lambda images: network(images, training=False),
            input_signature=[tf.TensorSpec((None, networks.SIZE, networks.SIZE), tf.uint8)],
        )

    @classmethod
    def from_card(cls, root: Path, card: Mapping[str, Any]) -> "Reference":
        """The model that a card describes, with weights under `root`.

        Raises:
            RegistryError: the weights aren't those of the card, or don't fit its recipe.
        """
        paths = {path.name: path for path in weights.verified(root, card).values()}
        recipe = Recipe.model_validate(card["recipe"])
        scale = (card["scale"]["mean"], card["scale"]["std"])
        return cls(networks.joined(members(paths[weights.KERAS], recipe, scale), recipe.views))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities float32 `(n, 10)` for images uint8 `(n, 28, 28)`."""
        return self.embed(images)[1]

    def embed(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The last hidden layer, float32 `(n, k)`, and the probabilities, float32 `(n, 10)`."""
        starts = range(0, max(len(images), 1), _BATCH)
        outputs = [self._run(tf.constant(images[start : start + _BATCH])) for start in starts]
        embedding, probabilities = zip(*outputs, strict=True)
        return np.concatenate(embedding), np.concatenate(probabilities)


def members(path: Path, recipe: Recipe, scale: tuple[float, float]) -> Sequence["keras.Model"]:
    """The members of a model, from its verified weights.

    Raises:
        RegistryError: the weights don't fit the recipe's network.
    """
    found = [networks.build(recipe, *scale) for _ in range(recipe.members)]
    try:
        networks.joined(found, recipe.views).load_weights(path)
    except ValueError as exc:  # Keras counts layers and compares shapes
        raise RegistryError(
            f"{path}: doesn't fit network '{recipe.network}' as this version of the code "
            "builds it; check out the commit that made it, or run 'dvc repro'"
        ) from exc
    return found
