"""Reading a new batch twice: by the project's model, and by a witness that knows only MNIST."""

from dataclasses import dataclass

import numpy as np

from digits.core import files
from digits.core.project import Project
from digits.data import mnist
from digits.drift.detector import REFERENCE
from digits.recogniser import Recogniser
from digits.validation import witness
from digits.validation.readings import Readings
from digits.validation.witness import Witness

_UNSURE = 0.01  # of the reference window, by the model's confidence, lowest first


@dataclass(frozen=True)
class Readers:
    """A witness that knows MNIST's training set, and the model if there is one.

    `least` is the confidence from which the model counts as sure.
    """

    witness: Witness
    model: Recogniser | None
    least: float

    @classmethod
    def load(cls, project: Project) -> "Readers":
        """Fit the witness, and load the model if it and its reference window exist.

        Raises:
            DataError: MNIST is missing or damaged.
            RegistryError: the weights don't match the model card.
        """
        images, labels = mnist.load(project.mnist, "train")
        known = witness.fit(witness.describe(images), labels.astype(int))
        reference = project.reference / REFERENCE
        if not reference.is_file() or not project.model_card.is_file():
            return cls(known, None, 0)
        confidence = files.read_table(reference)["confidence"]
        return cls(known, Recogniser.load(project.root), float(np.quantile(confidence, _UNSURE)))

    def read(self, images: np.ndarray) -> Readings:
        """What both read in images, uint8 `(n, 28, 28)`."""
        scores = self.witness.scores(witness.describe(images))
        probabilities = None if self.model is None else self.model.predict(images)
        return Readings(scores, probabilities, self.least, self.digits)

    def digits(self, images: np.ndarray) -> np.ndarray:
        """The digits that the better reader reads, int `(n,)`: the model, if there is one."""
        if self.model is None:
            return self.witness.look(images)
        digits: np.ndarray = self.model.predict(images).argmax(axis=1)
        return digits


def unusual_shares(project: Project, labels: np.ndarray) -> str:
    """The digit whose share in a batch is farthest from the reference window's, in words.

    Args:
        labels: of the batch, given or read, int `(n,)`.
    """
    window = files.read_table(project.reference / REFERENCE)["digit"].to_numpy(int)
    here, there = (np.bincount(v, minlength=10)[:10] / len(v) for v in (labels, window))
    digit = int(np.abs(here - there).argmax())
    return f"digit {digit} is {here[digit]:.1%} of the batch, {there[digit]:.1%} of the reference"
