"""Is this handwriting still what the model was trained on? Three answers in one result.

Has it changed? `change` tests a batch against a reference window of validation images, with a
calibrated p-value. What changed? The same test names views, features and the strangest images. Does
it hurt? `harm` estimates the accuracy without labels, and the share of images that show no digit.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from digits.core import files, params
from digits.core.errors import DataError
from digits.core.params import Drift
from digits.core.project import Project
from digits.data.dataset import Split
from digits.drift import change, harm, page
from digits.drift.change import ChangeResult, ChangeTest, Scores
from digits.drift.harm import Estimate, Harm, Network
from digits.images import features
from digits.recogniser import Recogniser

REFERENCE = "reference.parquet"
_TRAINING = "training.parquet"
_TRAINING_COUNT = 5000  # training images that scores are fitted on
_DECIMALS = 6

Verdict = Literal["none", "drift", "harmful"]


@dataclass(frozen=True)
class DriftResult:
    """The verdict on a batch.

    Attributes:
        verdict: `harmful`, `drift` (changed, but read as well as before) or `none`.
        drift: whether the batch has changed: `p_value` below `alpha`.
        harmful: whether the model reads it worse by more than `tolerance`, as estimated.
        p_value: probability that a batch like the reference differs this much; at least
            1 / (1 + `drift.permutations`).
        n, tested: images of the batch, and how many of them, drawn at random, were looked at.
        estimated_accuracy, accuracy_low, accuracy_high: without labels, with a 95 % interval.
        reference_accuracy: that of the reference window.
        no_digit_share, no_digit_low, no_digit_high: of the images, with a 95 % interval.
        accuracy: share read as labelled; None without labels.
        views: of each view its adjusted `p_value`; see `change.VIEWS`.
        tests: of each feature its `view`, `distance` (see `change.Finding`), adjusted `p_value`,
            and whether that is below `alpha`: `drift`.
        strangest: row numbers of the images least like the reference, the strangest first.
    """

    verdict: Verdict
    drift: bool
    harmful: bool
    p_value: float
    n: int
    tested: int
    alpha: float
    tolerance: float
    estimated_accuracy: float
    accuracy_low: float
    accuracy_high: float
    reference_accuracy: float
    no_digit_share: float
    no_digit_low: float
    no_digit_high: float
    accuracy: float | None
    views: Mapping[str, float]
    tests: Mapping[str, Mapping[str, Any]]
    strangest: list[int]

    def as_dict(self) -> dict[str, Any]:
        """The fields, for a report."""
        return asdict(self)


@dataclass(frozen=True)
class DriftDetector:
    """Compares batches of glyphs with a reference window that no model was fitted on.

    Attributes:
        reference: `reference_window` of validation images.
        scores: fixed functions of an image, fitted on training images.
        estimator: of the accuracy, and of the share of images that show no digit.
    """

    network: Network
    reference: pd.DataFrame
    scores: Scores
    estimator: Harm
    params: Drift
    ink_level: int

    @classmethod
    def load(cls, root: Path | None = None) -> "DriftDetector":
        """Load the detector of a project whose drift stage has run.

        Raises:
            DataError: the reference window or the model card is missing, or made by other code.
            RegistryError: the weights don't match the model card.
        """
        project = Project(root) if root else Project.find()
        values = params.load(project.params)
        network = Recogniser.load(project.root)
        return cls.read(project.reference, network, values.drift, values.ingest.ink_level)

    @classmethod
    def read(cls, folder: Path, network: Network, params: Drift, ink_level: int) -> "DriftDetector":
        """Read what `fit` has written.

        Raises:
            DataError: a file is missing or damaged, or made by other code.
        """
        reference, training = (files.read_table(folder / n) for n in (REFERENCE, _TRAINING))
        estimator = Harm.from_dict(files.read_json(folder / harm.FILE))
        return cls(network, reference, Scores.fit(training), estimator, params, ink_level)

    @classmethod
    def fit(
        cls, network: Network, train: Split, val: Split, params: Drift, ink_level: int, folder: Path
    ) -> "DriftDetector":
        """Make a detector, and write what `read` needs.

        Args:
            train: images that the network was trained on.
            val: images that it was not trained on; the reference window is a part of them.
            folder: to write to.
        """
        rng = np.random.default_rng(params.seed)
        rows = np.sort(rng.permutation(len(train.images))[:_TRAINING_COUNT])
        training = describe(network, np.asarray(train.images)[rows], ink_level)
        reference = reference_window(network, val.images, val.labels, params, ink_level)
        estimator = Harm.fit(network, val.images, val.labels, params.seed)
        files.write_table(folder / REFERENCE, reference)
        files.write_table(folder / _TRAINING, training)
        files.write_json(folder / harm.FILE, estimator.as_dict())
        return cls(network, reference, Scores.fit(training), estimator, params, ink_level)

    def check(
        self, images: np.ndarray, labels: np.ndarray | None = None, html: Path | None = None
    ) -> DriftResult:
        """Compare a batch with the reference window.

        Of more than `change.MAX_ROWS` images, as many are drawn at random.

        Args:
            images: uint8 `(n, 28, 28)`, in MNIST's form, n ≥ 1.
            labels: int `(n,)`, 0–9, if known.
            html: where to write Evidently's own report, if anywhere.

        Raises:
            DataError: there are no images, or the reference window lacks a feature that this
                version of the code measures.
        """
        if not len(images):
            raise DataError("no images; a verdict needs at least one")
        rows = np.arange(len(images))
        if len(images) > change.MAX_ROWS:
            rng = np.random.default_rng(self.params.seed)
            rows = np.sort(rng.choice(len(images), change.MAX_ROWS, replace=False))
        tested = np.ascontiguousarray(images[rows])
        embedding, probabilities = self.network.embed(tested)
        table = _table(tested, embedding, probabilities, self.ink_level)
        batch = self.scores.rows(table)
        changed = self._test.check(batch)
        hurt = self.estimator.estimate(tested, embedding, probabilities, self.params.tolerance)
        if html:
            page.write(html, self.scores, self._test.reference, batch, changed, self.params.alpha)
        read = table["digit"].to_numpy()
        accuracy = None if labels is None else float((read == labels[rows]).mean())
        return self._result(changed, hurt, rows, len(images), accuracy)

    @cached_property
    def _test(self) -> ChangeTest:
        """The reference is described once, not for every batch."""
        reference = self.scores.rows(self.reference)
        return ChangeTest(self.scores, reference, self.params.seed, self.params.permutations)

    def _result(
        self,
        changed: ChangeResult,
        hurt: Estimate,
        rows: np.ndarray,
        n: int,
        accuracy: float | None,
    ) -> DriftResult:
        drift = changed.p_value < self.params.alpha
        verdict: Verdict = "harmful" if hurt.harmful else "drift" if drift else "none"
        return DriftResult(
            verdict=verdict,
            drift=drift,
            harmful=hurt.harmful,
            p_value=changed.p_value,
            n=n,
            tested=len(rows),
            alpha=self.params.alpha,
            tolerance=self.params.tolerance,
            estimated_accuracy=hurt.estimated_accuracy,
            accuracy_low=hurt.accuracy_low,
            accuracy_high=hurt.accuracy_high,
            reference_accuracy=round(float(self.reference["read"].mean()), _DECIMALS),
            no_digit_share=hurt.no_digit_share,
            no_digit_low=hurt.no_digit_low,
            no_digit_high=hurt.no_digit_high,
            accuracy=None if accuracy is None else round(accuracy, _DECIMALS),
            views={name: found.p_value for name, found in changed.views.items()},
            tests={
                name: {
                    "view": found.view,
                    "p_value": found.p_value,
                    "distance": found.distance,
                    "drift": found.p_value < self.params.alpha,
                }
                for name, found in changed.features.items()
            },
            strangest=[int(rows[row]) for row in changed.strangest],
        )


def reference_window(
    network: Network, images: np.ndarray, labels: np.ndarray, params: Drift, ink_level: int
) -> pd.DataFrame:
    """`describe` a random sample of labelled images; `read` says whether each was read correctly.

    Args:
        images: uint8 `(n, 28, 28)`, not used for training.
        labels: int `(n,)`, 0–9.
    """
    rng = np.random.default_rng(params.seed)
    rows = np.sort(rng.permutation(len(images))[: params.reference_count])
    table = describe(network, images[rows], ink_level)
    table["read"] = table["digit"].to_numpy() == labels[rows]
    return table


def describe(network: Network, images: np.ndarray, ink_level: int) -> pd.DataFrame:
    """The features of each image: one row per image.

    Args:
        images: uint8 `(n, 28, 28)`.

    Returns:
        The columns of `features.measure`; the `digit` that the network reads; its `confidence`
        (0–1); its `doubt` (log10 of the probability of all other digits together, −7 to 0; higher
        is less sure); and its embedding `e0`, `e1`, ….
    """
    return _table(images, *network.embed(images), ink_level)


def _table(
    images: np.ndarray, embedding: np.ndarray, probabilities: np.ndarray, ink_level: int
) -> pd.DataFrame:
    table = features.measure(images, ink_level)
    probabilities = probabilities.astype(np.float64)
    others = np.maximum(probabilities.sum(axis=1) - probabilities.max(axis=1), 1e-7)
    table["digit"] = probabilities.argmax(axis=1)
    table["confidence"] = probabilities.max(axis=1)
    table["doubt"] = np.log10(others).round(_DECIMALS)  # the logarithm differs by CPU, by 1e-16
    columns = {f"e{i}": column.astype(np.float64) for i, column in enumerate(embedding.T)}
    return table.join(pd.DataFrame(columns))
