"""Trained networks that are kept: each once, in a folder that is named after all it depends on.

A folder holds the weights, the network as ONNX and card.json: figures, and the SHA-256 of both
files, which is checked before they are opened. What is trained and compared is zoo's affair.
"""

import ast
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from digits import artifacts, evaluation, exports, models, weights
from digits.errors import DigitsError
from digits.params import Evaluate, Recipe
from digits.paths import Project
from digits.recogniser import Recogniser
from digits.training import Split

if TYPE_CHECKING:
    import keras

FIGURES = ("accuracy", "precision", "recall", "f1")  # the latter three: mean of the ten digits
_SPLITS = ("train", "val", "test")
_ARRAYS = ("images", "labels")
_CARD = "card.json"
_DIGEST = 16  # hex digits of a folder's name
# What decides which weights come out. Comments and docstrings in them don't count.
_MODULES = ("augmentation", "models", "muon", "training")
_PACKAGES = ("keras", "numpy", "onnx", "tf2onnx")


@dataclass(frozen=True)
class Data:
    """What networks learn from and are judged by.

    `scale` is mean and standard deviation of the training pixels, 0–1; `digest` is the SHA-256 of
    all files.
    """

    train: Split
    val: Split
    test: Split
    scale: tuple[float, float]
    digest: str

    @classmethod
    def read(cls, project: Project) -> "Data":
        """The splits that the preprocess stage has made.

        Raises:
            DataError: a file is missing or damaged.
        """
        files = {
            split: [project.splits / f"{split}-{array}.npy" for array in _ARRAYS]
            for split in _SPLITS
        }
        splits = {name: Split(*map(artifacts.read_array, paths)) for name, paths in files.items()}
        path = project.splits / "scale.json"
        scale = artifacts.read_json(path)
        sums = [artifacts.sha256(file) for paths in [*files.values(), [path]] for file in paths]
        digest = hashlib.sha256(" ".join(sums).encode()).hexdigest()
        return cls(**splits, scale=(scale["mean"], scale["std"]), digest=digest)


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
        self, project: Project, params: Evaluate, data: Data, say: Callable[[str], None] = print
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
        depends_on = (recipe.model_dump(mode="json"), seed, self._data.digest, _code(), versions())
        text = json.dumps(depends_on, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]

    def unfinished(self, recipe: Recipe, seed: int) -> Path:
        """Where the checkpoint of a training belongs."""
        return self._project.zoo / "unfinished" / f"{self.key(recipe, seed)}.npz"

    def find(self, recipe: Recipe, seed: int) -> Kept | None:
        """A network that is kept; None if it isn't, or if a file isn't what it was."""
        folder = self._project.zoo / self.key(recipe, seed)
        if not folder.exists():
            return None
        try:
            kept = Kept(folder, artifacts.read_json(folder / _CARD))
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
        with artifacts.replacing_folder(folder) as temporary:
            network.save_weights(temporary / weights.KERAS)
            exports.write(network, temporary / weights.ONNX)
            recogniser = Recogniser((temporary / weights.ONNX).read_bytes())
            files = (weights.KERAS, weights.ONNX)
            card = {
                "recipe": recipe.model_dump(mode="json"),
                "seed": seed,
                "parameters": int(network.count_params()),
                "seconds": round(seconds, 1),
                "val": self._score(recogniser, self._data.val),
                "test": self._score(recogniser, self._data.test),
                "weights": {name: artifacts.sha256(temporary / name) for name in files},
            }
            artifacts.write_json(temporary / _CARD, card)
        return Kept(folder, card)

    def network(self, kept: Kept) -> "keras.Model":
        """A kept network in Keras, with one head.

        Raises:
            RegistryError: a file isn't the one that was kept.
        """
        files = weights.verified(kept.folder, kept.card)
        model = models.build(Recipe.model_validate(kept.card["recipe"]), *self._data.scale)
        models.joined([model]).load_weights(files[weights.KERAS])
        return model

    def _score(self, recogniser: Recogniser, split: Split) -> dict[str, float]:
        probabilities = recogniser.predict(split.images)
        figures = evaluation.score(np.asarray(split.labels), probabilities, self._params)
        return {name: figures[name] for name in FIGURES}


@cache
def versions() -> dict[str, str]:
    """Packages that decide which bytes come out, with their versions."""
    import tensorflow

    named = {name: metadata.version(name) for name in _PACKAGES}
    return named | {"tensorflow": str(tensorflow.__version__)}


@cache
def _code() -> str:
    """The SHA-256 of the modules that learning depends on."""
    digest = hashlib.sha256()
    for name in _MODULES:
        source = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        digest.update(_essence(source).encode())
    return digest.hexdigest()


def _essence(source: str) -> str:
    """Source code without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            del node.body[0]
    return ast.dump(tree)
