"""Trained networks that are kept: each once, in a folder that is named after all it depends on.

A folder holds the weights, the network as ONNX and card.json: figures, and the SHA-256 of both
files, which is checked before they are opened. What is trained and compared is zoo's affair.
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

FIGURES = ("accuracy", "precision", "recall", "f1")  # the latter three: mean of the ten digits
_CARD = "card.json"


@dataclass(frozen=True)
class Kept:
    """A trained network in its folder.

    `card` has `recipe`, `seed`, `parameters`, `seconds` of training, `val` and `test` (each with
    FIGURES) and `weights` (file → SHA-256).
    """

    folder: Path
    card: dict[str, Any]

    @property
    def onnx_bytes(self) -> int:
        """Size of the ONNX file."""
        return (self.folder / weights.ONNX).stat().st_size

    def recogniser(self) -> Recogniser:
        """The network, ready to be asked.

        Raises:
            RegistryError: a file isn't the one that was kept.
        """
        return Recogniser.from_card(self.folder, self.card)


class Shelf:
    """The folder of a project in which trained networks are kept."""

    def __init__(
        self, project: Project, params: Evaluate, data: Dataset, say: Callable[[str], None] = print
    ) -> None:
        """A shelf for networks that learned from `data`.

        Args:
            say: called with a line on what can't be used.
        """
        self._project = project
        self._params = params
        self._data = data
        self._say = say

    def key(self, recipe: Recipe, seed: int) -> str:
        """The name of a network's folder."""
        return fingerprint.fingerprint(recipe, seed, self._data.digest)

    def unfinished(self, recipe: Recipe, seed: int) -> Path:
        """Where the checkpoint of a training belongs."""
        return self._project.zoo / "unfinished" / f"{self.key(recipe, seed)}.npz"

    def find(self, recipe: Recipe, seed: int) -> Kept | None:
        """A network that is kept; None if it isn't, or if a file isn't what it was."""
        folder = self._project.zoo / self.key(recipe, seed)
        if not folder.exists():
            return None
        try:
            kept = Kept(folder, files.read_json(folder / _CARD))
            weights.verified(folder, kept.card)
        except DigitsError as exc:
            self._say(f"{str(exc).partition(';')[0]}; not used")
            return None
        return kept

    def put(self, recipe: Recipe, seed: int, network: "keras.Model", seconds: float) -> Kept:
        """Keep a two-headed network and what it scores on val and test, in ONNX Runtime.

        Args:
            seconds: of training, wall time.
        """
        folder = self._project.zoo / self.key(recipe, seed)
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
                "val": self._score(recogniser, self._data.val),
                "test": self._score(recogniser, self._data.test),
                "weights": {name: files.sha256(temporary / name) for name in names},
            }
            files.write_json(temporary / _CARD, card)
        return Kept(folder, card)

    def members(self, kept: Kept) -> "Sequence[keras.Model]":
        """A kept network in Keras, member by member.

        Raises:
            RegistryError: a file isn't the one that was kept.
        """
        verified = weights.verified(kept.folder, kept.card)
        recipe = Recipe.model_validate(kept.card["recipe"])
        return reference.members(verified[weights.KERAS], recipe, self._data.scale)

    def _score(self, recogniser: Recogniser, split: Split) -> dict[str, float]:
        probabilities = recogniser.predict(split.images)
        figures = metrics.score(np.asarray(split.labels), probabilities, self._params)
        return {name: figures[name] for name in FIGURES}
