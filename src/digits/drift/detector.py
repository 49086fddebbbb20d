"""Is this handwriting still what the model was trained on? All of Evidently is here.

Each feature of a batch (what the network sees, how sure it is, how the ink lies) is tested against
a reference window of validation images. A feature has drifted if chance can't explain the
difference (two-sample test, Holm's correction over all features) and the difference is large
enough to matter. One such feature makes the batch's verdict.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from digits.core import files, params
from digits.core.errors import DataError
from digits.core.params import Drift
from digits.core.project import Project
from digits.images import features

if TYPE_CHECKING:
    from digits.recogniser import Recogniser

REFERENCE = "reference.parquet"
_COMPONENTS = 6  # principal directions of the embedding
_CATEGORICAL = "digit"
_PLACES = 6


@dataclass(frozen=True)
class DriftResult:
    """The verdict on a batch.

    `p_value` is the chance, at most, that a batch of the reference's kind differs by as much in
    any feature (smallest Holm-adjusted p). `tests` has a feature's `distance` (in standard
    deviations of the reference; for `digit` Jensen–Shannon, 0–1), adjusted `p_value` and `drift`.
    `estimated_accuracy` needs no labels; `accuracy` is None without them.
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
        """For reports: plain types, rounded."""
        return asdict(self)


class DriftDetector:
    """Compares batches of glyphs with a reference window."""

    def __init__(
        self, recogniser: "Recogniser", reference: pd.DataFrame, params: Drift, ink_level: int
    ) -> None:
        self._recogniser = recogniser
        self._reference = reference
        self._params = params
        self._ink_level = ink_level

    @classmethod
    def load(cls, root: Path | None = None) -> "DriftDetector":
        """The detector of a project whose drift stage has run.

        Raises:
            DataError: there is no reference window, or no model card.
            RegistryError: the weights aren't those of the model card.
        """
        from digits.recogniser import Recogniser

        project = Project(root) if root else Project.find()
        reference = files.read_table(project.reference / REFERENCE)
        values = params.load(project.params)
        return cls(Recogniser.load(project.root), reference, values.drift, values.ingest.ink_level)

    def check(
        self, images: np.ndarray, labels: np.ndarray | None = None, page: Path | None = None
    ) -> DriftResult:
        """Compare a batch with the reference window.

        Args:
            images: uint8 `(n, 28, 28)`, in MNIST's form.
            labels: int `(n,)`, 0–9, where known.
            page: where Evidently's own HTML goes.

        Raises:
            DataError: fewer images than a verdict needs.
        """
        if len(images) < self._params.min_count:
            raise DataError(
                f"{len(images)} images; a verdict needs at least {self._params.min_count} "
                "('drift.min_count' in params.yaml)"
            )
        batch = describe(self._recogniser, images, self._ink_level)
        directions = _directions(self._reference)
        reference = _tested(self._reference, directions)
        tests = _verdicts(_compare(reference, _tested(batch, directions), page), self._params)
        return DriftResult(
            drift=any(test["drift"] for test in tests.values()),
            p_value=min(test["p_value"] for test in tests.values()),
            n=len(images),
            alpha=self._params.alpha,
            min_distance=self._params.min_distance,
            estimated_accuracy=_estimated_accuracy(self._reference, batch),
            accuracy=None
            if labels is None
            else round(float((batch["digit"].to_numpy() == labels).mean()), _PLACES),
            tests=tests,
        )


def window(
    recogniser: "Recogniser", images: np.ndarray, labels: np.ndarray, params: Drift, ink_level: int
) -> pd.DataFrame:
    """The reference window: `describe` of a sample of labelled images, and whether each was `read`.

    Args:
        images: uint8 `(n, 28, 28)`, not learned from.
        labels: int `(n,)`, 0–9.
    """
    rng = np.random.default_rng(params.seed)
    rows = np.sort(rng.permutation(len(images))[: params.reference_count])
    table = describe(recogniser, images[rows], ink_level)
    table["read"] = table["digit"].to_numpy() == labels[rows]
    return table


def describe(recogniser: "Recogniser", images: np.ndarray, ink_level: int) -> pd.DataFrame:
    """What a batch looks like, a row an image: `features.measure`, and what the network sees.

    Args:
        images: uint8 `(n, 28, 28)`.

    Returns:
        Also `digit` (read), `confidence` (0–1), `doubt` (log10 of the other digits' probability:
        −7 to 0, the higher the less sure)
        and the embedding `e0`, `e1`, ….
    """
    embedding, probabilities = recogniser.embed(images)
    table = features.measure(images, ink_level)
    probabilities = probabilities.astype(np.float64)
    others = np.maximum(probabilities.sum(axis=1) - probabilities.max(axis=1), 1e-7)
    table["digit"] = probabilities.argmax(axis=1)
    table["confidence"] = probabilities.max(axis=1)
    table["doubt"] = np.log10(others)
    columns = {f"e{i}": column.astype(np.float64) for i, column in enumerate(embedding.T)}
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def _directions(reference: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Mean `(k,)` and first principal directions `(k, 6)` of the reference's embedding."""
    embedding = _embedding(reference)
    mean = embedding.mean(axis=0)
    _, _, directions = np.linalg.svd(embedding - mean, full_matrices=False)
    return mean, directions[:_COMPONENTS].T


def _tested(table: pd.DataFrame, directions: tuple[np.ndarray, np.ndarray]) -> pd.DataFrame:
    """The columns that are tested: all but the embedding, of which only principal directions."""
    mean, components = directions
    projected = (_embedding(table) - mean) @ components
    columns = {f"embedding {i + 1}": column for i, column in enumerate(projected.T)}
    kept = [c for c in table.columns if not c[1:].isdigit() and c not in ("read", "confidence")]
    tested = pd.concat([table[kept], pd.DataFrame(columns)], axis=1)
    return tested.astype({_CATEGORICAL: str})


def _embedding(table: pd.DataFrame) -> np.ndarray:
    return table[[c for c in table.columns if c[0] == "e" and c[1:].isdigit()]].to_numpy()


def _compare(
    reference: pd.DataFrame, batch: pd.DataFrame, page: Path | None
) -> dict[str, tuple[float, float]]:
    """Each feature's p-value and distance, by Evidently."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    names = list(batch.columns)
    definition = DataDefinition(
        numerical_columns=[n for n in names if n != _CATEGORICAL],
        categorical_columns=[_CATEGORICAL],
    )
    metrics = [
        ValueDrift(column=name, method=method) for name in names for method in _methods(name)
    ]
    snapshot = Report(metrics).run(
        Dataset.from_pandas(batch, definition), Dataset.from_pandas(reference, definition)
    )
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        snapshot.save_html(str(page))
    values = [float(metric["value"]) for metric in snapshot.dict()["metrics"]]
    return {name: (values[2 * i], values[2 * i + 1]) for i, name in enumerate(names)}


def _methods(name: str) -> tuple[str, str]:
    """A test that gives a p-value, and a distance in units that a threshold can be set for."""
    return ("chisquare", "jensenshannon") if name == _CATEGORICAL else ("ks", "wasserstein")


def _verdicts(measured: dict[str, tuple[float, float]], params: Drift) -> dict[str, dict[str, Any]]:
    """Holm's (1979) step-down correction, and the smallest distance that matters."""
    ordered = sorted(measured, key=lambda name: measured[name][0])
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(ordered):
        highest = max(highest, min(1.0, measured[name][0] * (len(ordered) - rank)))
        adjusted[name] = highest
    return {
        name: {
            "p_value": float(f"{adjusted[name]:.3g}"),
            "distance": round(distance, 4),
            "drift": adjusted[name] < params.alpha and distance >= params.min_distance,
        }
        for name, (_, distance) in measured.items()
    }


def _estimated_accuracy(reference: pd.DataFrame, batch: pd.DataFrame) -> float:
    """The share of a batch that is at least as sure as what the reference got right.

    Average thresholded confidence (Garg et al. 2022): the threshold leaves as many of the
    reference below it as were misread there.
    """
    threshold = float(np.quantile(reference["doubt"], reference["read"].mean()))
    return round(float((batch["doubt"] <= threshold).mean()), 4)
