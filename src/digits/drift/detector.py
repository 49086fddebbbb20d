"""Is this handwriting still what the model was trained on? Evidently is used only here.

Each feature of a batch (columns of `features.measure`, what the network reads, how sure it is, its
embedding) is tested against a reference window of validation images. A feature has drifted if the
difference is significant (two-sample test, Holm's correction over all features) and large enough
to matter. A batch has drifted if any feature has.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from digits.core import files, params
from digits.core.errors import DataError
from digits.core.params import Drift
from digits.core.project import Project
from digits.images import features
from digits.recogniser import Recogniser

REFERENCE = "reference.parquet"
_COMPONENTS = 6  # principal directions of the embedding that are tested
_CATEGORICAL = "digit"
_UNTESTED = ["read", "confidence"]  # `doubt` says the same as confidence, on a useful scale
_DECIMALS = 6


class Network(Protocol):
    """What describes a batch: `Recogniser`, or `Reference` for committed reports."""

    def embed(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The last hidden layer `(n, k)` and the probabilities `(n, 10)`."""


@dataclass(frozen=True)
class DriftResult:
    """The verdict on a batch.

    `p_value` bounds the probability that a batch like the reference differs this much in any
    feature (smallest Holm-adjusted p). `tests` maps a feature to its `distance` (Wasserstein, in
    standard deviations of the reference; for `digit` Jensen–Shannon, 0–1), adjusted `p_value` and
    `drift`. `estimated_accuracy` needs no labels; `accuracy` is None without them.
    """

    drift: bool
    p_value: float
    n: int
    alpha: float
    min_distance: float
    estimated_accuracy: float
    accuracy: float | None
    tests: dict[str, dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """The fields, for a report."""
        return asdict(self)


@dataclass(frozen=True)
class DriftDetector:
    """Compares batches of glyphs with a reference window."""

    network: Network
    reference: pd.DataFrame
    params: Drift
    ink_level: int

    @classmethod
    def load(cls, root: Path | None = None) -> "DriftDetector":
        """Load the detector of a project whose drift stage has run.

        Raises:
            DataError: the reference window or the model card is missing.
            RegistryError: the weights don't match the model card.
        """
        project = Project(root) if root else Project.find()
        reference = files.read_table(project.reference / REFERENCE)
        values = params.load(project.params)
        return cls(Recogniser.load(project.root), reference, values.drift, values.ingest.ink_level)

    def check(
        self, images: np.ndarray, labels: np.ndarray | None = None, html: Path | None = None
    ) -> DriftResult:
        """Compare a batch with the reference window.

        Args:
            images: uint8 `(n, 28, 28)`, in MNIST's form.
            labels: int `(n,)`, 0–9, if known.
            html: where to write Evidently's own report, if anywhere.

        Raises:
            DataError: the batch has fewer images than `drift.min_count`, or the reference window
                lacks a feature that this version of the code measures.
        """
        if len(images) < self.params.min_count:
            raise DataError(
                f"{len(images)} images; a verdict needs at least {self.params.min_count} "
                "('drift.min_count' in params.yaml)"
            )
        batch = describe(self.network, images, self.ink_level)
        if missing := [column for column in batch if column not in self.reference]:
            raise DataError(
                f"the reference window has no {', '.join(missing)}; run 'digits run' to rebuild it"
            )
        directions = _principal_directions(self.reference)
        tests = verdicts(
            _compare(_tested(self.reference, *directions), _tested(batch, *directions), html),
            self.params,
        )
        accuracy = None if labels is None else float((batch["digit"].to_numpy() == labels).mean())
        return DriftResult(
            drift=any(test["drift"] for test in tests.values()),
            p_value=min(test["p_value"] for test in tests.values()),
            n=len(images),
            alpha=self.params.alpha,
            min_distance=self.params.min_distance,
            estimated_accuracy=_estimated_accuracy(self.reference, batch),
            accuracy=None if accuracy is None else round(accuracy, _DECIMALS),
            tests=tests,
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
    embedding, probabilities = network.embed(images)
    table = features.measure(images, ink_level)
    probabilities = probabilities.astype(np.float64)
    others = np.maximum(probabilities.sum(axis=1) - probabilities.max(axis=1), 1e-7)
    table["digit"] = probabilities.argmax(axis=1)
    table["confidence"] = probabilities.max(axis=1)
    table["doubt"] = np.log10(others).round(_DECIMALS)  # the logarithm differs by CPU, by 1e-16
    columns = {f"e{i}": column.astype(np.float64) for i, column in enumerate(embedding.T)}
    return table.join(pd.DataFrame(columns))


def _embedding(table: pd.DataFrame) -> pd.DataFrame:
    return table.filter(regex=r"^e\d+$")


def _principal_directions(reference: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Mean `(k,)` and first principal directions `(k, 6)` of the reference's embedding."""
    embedding = _embedding(reference).to_numpy()
    mean = embedding.mean(axis=0)
    _, _, directions = np.linalg.svd(embedding - mean, full_matrices=False)
    return mean, directions[:_COMPONENTS].T


def _tested(table: pd.DataFrame, mean: np.ndarray, directions: np.ndarray) -> pd.DataFrame:
    """The tested features: the embedding is replaced by its principal directions."""
    embedding = _embedding(table)
    projected = (embedding.to_numpy() - mean) @ directions
    columns = {f"embedding {i + 1}": column for i, column in enumerate(projected.T)}
    kept = table.drop(columns=[*embedding.columns, *_UNTESTED], errors="ignore")
    return kept.join(pd.DataFrame(columns)).astype({_CATEGORICAL: str})


def _compare(
    reference: pd.DataFrame, batch: pd.DataFrame, html: Path | None
) -> dict[str, tuple[float, float]]:
    """Each feature's p-value and its distance, in units for which a threshold makes sense."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    names = list(batch.columns)
    definition = DataDefinition(
        numerical_columns=[n for n in names if n != _CATEGORICAL],
        categorical_columns=[_CATEGORICAL],
    )
    metrics = []
    for name in names:
        categorical = name == _CATEGORICAL
        test, distance = ("chisquare", "jensenshannon") if categorical else ("ks", "wasserstein")
        metrics += [ValueDrift(column=name, method=test), ValueDrift(column=name, method=distance)]
    snapshot = Report(metrics).run(
        Dataset.from_pandas(batch, definition), Dataset.from_pandas(reference, definition)
    )
    if html:
        html.parent.mkdir(parents=True, exist_ok=True)
        snapshot.save_html(str(html))
    values = [float(metric["value"]) for metric in snapshot.dict()["metrics"]]
    return dict(zip(names, zip(values[::2], values[1::2], strict=True), strict=True))


def verdicts(measured: dict[str, tuple[float, float]], params: Drift) -> dict[str, dict[str, Any]]:
    """Which features differ significantly, by Holm's (1979) correction, and by enough to matter."""
    from statsmodels.stats.multitest import multipletests

    p_values, distances = zip(*measured.values(), strict=True)
    _, adjusted, _, _ = multipletests(p_values, method="holm")
    return {
        name: {
            "p_value": float(f"{p_value:.3g}"),
            "distance": round(distance, 4),
            "drift": bool(p_value < params.alpha) and distance >= params.min_distance,
        }
        for name, p_value, distance in zip(measured, adjusted, distances, strict=True)
    }


def _estimated_accuracy(reference: pd.DataFrame, batch: pd.DataFrame) -> float:
    """The share of the batch below the doubt that separates right from wrong in the reference.

    Average thresholded confidence (Garg et al. 2022): as much of the reference is above this
    threshold as was misread there.
    """
    threshold = float(np.quantile(reference["doubt"], reference["read"].mean()))
    return round(float((batch["doubt"] <= threshold).mean()), 4)
