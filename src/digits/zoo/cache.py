"""The cache of trained models: one folder per model and seed, named by its training fingerprint.

A folder holds the weights, the ONNX export and card.json, which has the model's metrics and the
SHA-256 of both files. The files are verified before they are opened.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from digits.core import files
from digits.core.errors import DigitsError
from digits.core.params import Evaluate, Recipe
from digits.core.project import Project
from digits.data.dataset import Dataset, Split
from digits.evaluation import metrics
from digits.models import exports, reference, weights
from digits.models.backend import keras
from digits.recogniser import Recogniser
from digits.training import fingerprint

METRICS = ("accuracy", "precision", "recall", "f1")  # the last three: macro averages
_CARD = "card.json"


@dataclass(frozen=True)
class CachedModel:
    """A trained model in its folder.

    `card` has `recipe`, `seed`, `parameters`, `seconds` (training time), `val` and `test` (each
    with METRICS) and `weights` (file name → SHA-256).
    """

    folder: Path
    card: dict[str, Any]

    def recogniser(self) -> Recogniser:
        """The model, loaded for prediction.

        Raises:
            RegistryError: a file's SHA-256 differs from the card's.
        """
        return Recogniser.from_card(self.folder, self.card)


class ModelCache:
    """The trained models of a project, for one version of its data."""

    def __init__(
        self, project: Project, params: Evaluate, data: Dataset, log: Callable[[str], None] = print
    ) -> None:
        """A cache of models trained on `data`; `log` is called with progress, line by line."""
        self.project, self.data, self.log = project, data, log
        self._params = params

    def key(self, recipe: Recipe, seed: int) -> str:
        """The name of a model's folder."""
        return fingerprint.fingerprint(recipe, seed, self.data.digest)

    def find(self, recipe: Recipe, seed: int) -> CachedModel | None:
        """The cached model; None if there is none or it is damaged."""
        folder = self.project.zoo / self.key(recipe, seed)
        if not folder.exists():
            return None
        try:
            model = CachedModel(folder, files.read_json(folder / _CARD))
            weights.verified(folder, model.card)
        except DigitsError as exc:
            self.log(f"{str(exc).partition(';')[0]}; not used")
            return None
        return model

    def add(self, recipe: Recipe, seed: int, network: "keras.Model", seconds: float) -> CachedModel:
        """Store a two-headed network with its metrics, which are those of the ONNX export.

        Args:
            seconds: training time, wall clock.
        """
        folder = self.project.zoo / self.key(recipe, seed)
        with files.replacing_folder(folder) as temporary:
            network.save_weights(temporary / weights.KERAS)
            exports.write(network, temporary / weights.ONNX)
            recogniser = Recogniser((temporary / weights.ONNX).read_bytes())
            names = (weights.KERAS, weights.ONNX)
            card = {
                "recipe": recipe.model_dump(mode="json"),
                "seed": seed,
                "parameters": int(network.count_params()),
                "seconds": round(seconds, 1),
                "val": self._score(recogniser, self.data.val),
                "test": self._score(recogniser, self.data.test),
                "weights": {name: files.sha256(temporary / name) for name in names},
            }
            files.write_json(temporary / _CARD, card)
        return CachedModel(folder, card)

    def networks(self, model: CachedModel) -> "Sequence[keras.Model]":
        """A cached model's members as Keras networks.

        Raises:
            RegistryError: a file's SHA-256 differs from the card's.
        """
        verified = weights.verified(model.folder, model.card)
        recipe = Recipe.model_validate(model.card["recipe"])
        return reference.members(verified[weights.KERAS], recipe, self.data.scale)

    def _score(self, recogniser: Recogniser, split: Split) -> dict[str, float]:
        probabilities = recogniser.predict(split.images)
        scores = metrics.score(np.asarray(split.labels), probabilities, self._params)
        return {name: scores[name] for name in METRICS}
