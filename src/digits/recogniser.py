"""A trained network that can be asked. What it is loaded from is verified before it is opened.

The network runs in ONNX Runtime, on the file that the train stage exports: quicker than Keras and
without TensorFlow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.core import files
from digits.core.errors import DataError, RegistryError
from digits.core.project import Project
from digits.models import weights

if TYPE_CHECKING:
    import onnxruntime

_BATCH = 256  # more is no quicker and takes memory
_SIZE = 28  # pixels a side


class Recogniser:
    """Recognises digits in MNIST's form; `digits.images.glyphs` brings other pictures to it."""

    def __init__(self, network: bytes) -> None:
        """A recogniser from an exported network.

        Args:
            network: an ONNX file; images `(n, 28, 28)` to embedding `(n, k)` and probabilities.

        Raises:
            RegistryError: it is no such file.
        """
        self._session = _session(network)
        self._input = self._session.get_inputs()[0].name

    @classmethod
    def load(cls, root: Path | None = None) -> "Recogniser":
        """The model of a project, or of a version that the registry has materialised.

        Args:
            root: the folder with reports/model.json and models/; default: the project around
                the working directory.

        Raises:
            RegistryError: the weights aren't those of the model card, or none are for ONNX.
            DataError: there is no model card.
        """
        project = Project(root) if root else Project.find()
        return cls.from_card(project.root, files.read_json(project.model_card))

    @classmethod
    def from_card(cls, root: Path, card: Mapping[str, Any]) -> "Recogniser":
        """The model that a card describes, with weights under `root`."""
        verified = {path.name: path for path in weights.verified(root, card).values()}
        if weights.ONNX not in verified:
            raise RegistryError(
                f"{root}: the model card has no {weights.ONNX}; run 'dvc repro', or check the "
                "version of the code out that made it"
            )
        return cls(verified[weights.ONNX].read_bytes())

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
        starts = range(0, max(len(images), 1), _BATCH)
        parts = [
            self._session.run(None, {self._input: np.ascontiguousarray(images[i : i + _BATCH])})
            for i in starts
        ]
        embedding, probabilities = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return embedding, probabilities


def _session(network: bytes) -> "onnxruntime.InferenceSession":
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # errors; it warns of what is no user's business
    try:
        return onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its errors share no class of their own
        raise RegistryError(f"not a network that ONNX Runtime can run: {exc}") from exc


def _check(images: Any) -> None:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise DataError(
            f"images must be a uint8 array, got {getattr(images, 'dtype', type(images).__name__)}"
        )
    if images.ndim != 3 or images.shape[1:] != (_SIZE, _SIZE):
        raise DataError(f"images must be (n, {_SIZE}, {_SIZE}), got {images.shape}")
