"""The trained model: images in, probabilities out. Its file is verified before it is opened.

The network runs in ONNX Runtime, which starts faster than Keras and needs no TensorFlow.
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

_BATCH = 256  # larger batches are no faster and need more memory
_SIZE = 28  # pixels a side


class Recogniser:
    """Recognises digits in MNIST's form; `digits.images.glyphs` converts other pictures."""

    def __init__(self, network: bytes) -> None:
        """Open an exported network.

        Args:
            network: content of an ONNX file that maps images `(n, 28, 28)` to embeddings `(n, k)`
                and probabilities `(n, 10)`.

        Raises:
            RegistryError: ONNX Runtime can't run it.
        """
        self._session = _session(network)
        self._input = self._session.get_inputs()[0].name

    @classmethod
    def load(cls, root: Path | None = None) -> "Recogniser":
        """Load the model of a project, or of a version that the registry has checked out.

        Args:
            root: the folder with reports/model.json and models/; default: the project around
                the working directory.

        Raises:
            RegistryError: the weights don't match the model card, or lack an ONNX file.
            DataError: the model card is missing.
        """
        project = Project(root) if root else Project.find()
        return cls.from_card(project.root, files.read_json(project.model_card))

    @classmethod
    def from_card(cls, root: Path, card: Mapping[str, Any]) -> "Recogniser":
        """Load the model that a model card describes, with weights under `root`."""
        names = {path.name: name for name, path in weights.verified(root, card).items()}
        if weights.ONNX not in names:
            raise RegistryError(
                f"{root}: the model card lists no {weights.ONNX}; run 'dvc repro', or check out "
                "the version of the code that made it"
            )
        return cls(weights.content(root, card, names[weights.ONNX]))

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

    onnxruntime.set_default_logger_severity(3)  # errors only; its warnings don't concern users
    try:
        return onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its errors have no common base class
        raise RegistryError(f"not a network that ONNX Runtime can run: {exc}") from exc


def _check(images: Any) -> None:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise DataError(
            f"images must be a uint8 array, got {getattr(images, 'dtype', type(images).__name__)}"
        )
    if images.ndim != 3 or images.shape[1:] != (_SIZE, _SIZE):
        raise DataError(f"images must be (n, {_SIZE}, {_SIZE}), got {images.shape}")
