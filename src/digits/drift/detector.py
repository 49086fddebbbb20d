"""Is this handwriting still what the model was trained on? Three answers in one result.

Has it changed? `change` tests a batch against a reference window of validation images, with a
calibrated p-value. What changed? The same test names views, features and the strangest images. Does
it hurt? `harm` estimates the accuracy without labels, and the share of images that show no digit.

What the model was trained on belongs to the reference: each batch of handwriting among the training
data is a window of its own, and a batch that is like any of the windows hasn't changed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from digits.core import files, params
from digits.core.errors import DataError
from digits.core.params import Drift
from digits.core.project import Project
from digits.data.dataset import Split
from digits.drift import change, harm, page, picture, workspace
from digits.drift.change import ChangeResult, ChangeTest, Rows, Scores
from digits.drift.harm import Estimate, Harm, Network
from digits.drift.sequence import Sequence
from digits.images import features, glyphs
from digits.recogniser import Recogniser

REFERENCE = "reference.parquet"
VALIDATION = "validation"  # the source of the reference window
_TRAINING = "training.parquet"
_TRAINED = "trained.npy"
_EXAMPLES = "examples.npy"
_MODEL = "model.json"
_TRAINING_COUNT = 5000  # training images that scores are fitted on
_DRAWN = 4  # features in a report on the dashboard; all of them would take seconds
_LEVEL = 0.95  # of the interval of a measured accuracy
_DECIMALS = 6

Verdict = Literal["none", "drift", "harmful"]


@dataclass(frozen=True)
class DriftResult:
    """The verdict on a batch.

    Attributes:
        verdict: `harmful`, `drift` (changed, but read as well as before) or `none`.
        drift: whether the batch has changed: `p_value` below `alpha`.
        harmful: whether the model reads it worse by more than `tolerance`, beyond doubt: as
            measured, if labels are known, else as estimated.
        like: the window that the batch is most like: VALIDATION, or a batch of handwriting that
            the model was trained on; `p_value`, `views`, `tests` and `strangest` refer to it.
        in_sample_share: of the images, those that the model was trained on; on them it is more
            accurate than on others.
        p_value: probability that a batch like the reference differs this much; at least
            1 / (1 + `drift.permutations`).
        n, tested: images of the batch, and how many of them, drawn at random, were looked at.
        estimated_accuracy, accuracy_low, accuracy_high: without labels, with a 95 % interval.
        reference_accuracy: that of the reference window.
        no_digit_share, no_digit_low, no_digit_high: of the images, with a 95 % interval.
        accuracy: share read as labelled, with `measured_low` to `measured_high`, its 95 % interval
            by chance; None without labels.
        views: of each view its adjusted `p_value`; see `change.VIEWS`.
        tests: of each feature its `view`, `distance` (see `change.Finding`), adjusted `p_value`,
            and whether that is below `alpha`: `drift`.
        strangest: row numbers of the images least like the reference, the strangest first.
    """

    verdict: Verdict
    drift: bool
    harmful: bool
    p_value: float
    like: str
    in_sample_share: float
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
    measured_low: float | None
    measured_high: float | None
    views: Mapping[str, float]
    tests: Mapping[str, Mapping[str, Any]]
    strangest: list[int]

    def as_dict(self) -> dict[str, Any]:
        """The fields, for a report."""
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What the detector has seen of a batch.

    Attributes:
        n: images of the batch.
        indices: int `(k,)`, of the images that were looked at: all, or a random part of many.
        images: these, uint8 `(k, 28, 28)`.
        embedding, probabilities: of the network, `(k, e)` and `(k, 10)`.
        rows: as the test for changes sees them.
    """

    n: int
    indices: np.ndarray
    images: np.ndarray
    embedding: np.ndarray
    probabilities: np.ndarray
    rows: Rows

    @property
    def digits(self) -> np.ndarray:
        """The digits read, int `(k,)`."""
        digits: np.ndarray = self.probabilities.argmax(axis=1)
        return digits


@dataclass(frozen=True)
class DriftDetector:
    """Compares batches of glyphs with what the model was trained on.

    Attributes:
        reference: `reference_window` of validation images, which no model was fitted on, and of
            each batch of handwriting among the training data; `source` says which.
        scores: fixed functions of an image, fitted on training images.
        estimator: of the accuracy, and of the share of images that show no digit.
        trained: `_keys` of the training images, sorted.
        examples: `picture.typical` of each window, uint8 `(w, 10, 2, 28, 28)`.
    """

    network: Network
    reference: pd.DataFrame
    scores: Scores
    estimator: Harm
    trained: np.ndarray
    examples: np.ndarray
    params: Drift
    ink_level: int

    @classmethod
    def load(cls, root: Path | None = None) -> "DriftDetector":
        """Load the detector of a project whose drift stage has run.

        Raises:
            DataError: the reference window or the model card is missing, or the window was made by
                other code or with another model.
            RegistryError: the weights don't match the model card.
        """
        project = Project(root) if root else Project.find()
        values = params.load(project.params)
        made_with = files.read_json(project.reference / _MODEL)
        if made_with != files.read_json(project.model_card).get("weights"):
            raise DataError(
                f"{project.relative(project.reference)} was made with another model than "
                f"{project.relative(project.model_card)} describes; run 'digits run'"
            )
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
        trained, examples = (files.read_array(folder / n) for n in (_TRAINED, _EXAMPLES))
        scores = Scores.fit(training)
        return cls(network, reference, scores, estimator, trained, examples, params, ink_level)

    @classmethod
    def fit(
        cls,
        network: Network,
        train: Split,
        val: Split,
        batches: Mapping[str, np.ndarray],
        params: Drift,
        ink_level: int,
        folder: Path,
    ) -> "DriftDetector":
        """Make a detector, and write what `read` needs.

        Args:
            train: images that the network was trained on.
            val: images that it was not trained on; the reference window is a part of them.
            batches: rows in `train` of each batch of handwriting that is a part of it.
            folder: to write to.
        """
        rng = np.random.default_rng(params.seed)
        rows = np.sort(rng.permutation(len(train.images))[:_TRAINING_COUNT])
        training = describe(network, np.asarray(train.images)[rows], ink_level)
        reference = reference_window(network, val.images, val.labels, params, ink_level)
        scores = Scores.fit(training)
        windows = [reference.assign(source=VALIDATION)]
        examples = [_examples(scores, reference, val.images, params)]
        for name, members in batches.items():
            part = train.images[members], train.labels[members]
            window = reference_window(network, *part, params, ink_level)
            windows.append(window.assign(source=name))
            examples.append(_examples(scores, window, part[0], params))
        reference, typical = pd.concat(windows, ignore_index=True), np.stack(examples)
        trained = np.sort(_keys(train.images))
        estimator = Harm.fit(network, val.images, val.labels, params.seed)
        files.write_table(folder / REFERENCE, reference)
        files.write_table(folder / _TRAINING, training)
        files.write_array(folder / _TRAINED, trained)
        files.write_json(folder / harm.FILE, estimator.as_dict())
        files.write_array(folder / _EXAMPLES, typical)
        return cls(network, reference, scores, estimator, trained, typical, params, ink_level)

    def check(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        html: Path | None = None,
        png: Path | None = None,
        name: str = "",
    ) -> DriftResult:
        """Compare a batch with the reference.

        Args:
            images, labels, html, png, name: as for `look` and `judge`.

        Raises:
            DataError: as `look`.
        """
        return self.judge(self.look(images), labels, html, png, name)

    def look(self, images: np.ndarray, n: int | None = None) -> Seen:
        """Look at a batch; of more than `change.MAX_ROWS` images, at as many, drawn at random.

        Args:
            images: uint8 `(n, 28, 28)`, in MNIST's form, n ≥ 1; may be memory-mapped.
            n: images of the batch, if these were drawn from more.

        Raises:
            DataError: there are no images, they have another form, or the reference window lacks a
                feature that this version of the code measures.
        """
        if images.dtype != np.uint8 or images.shape[1:] != (glyphs.SIZE, glyphs.SIZE):
            raise DataError(f"images are {images.dtype} {images.shape}, expected uint8 (n, 28, 28)")
        if not len(images):
            raise DataError("no images; a verdict needs at least one")
        indices = np.arange(len(images))
        if len(images) > change.MAX_ROWS:
            rng = np.random.default_rng(self.params.seed)
            indices = np.sort(rng.choice(len(images), change.MAX_ROWS, replace=False))
        tested = np.ascontiguousarray(images[indices])
        embedding, probabilities = self.network.embed(tested)
        table = _table(tested, embedding, probabilities, self.ink_level)
        rows = self.scores.rows(table)
        return Seen(n or len(images), indices, tested, embedding, probabilities, rows)

    def judge(
        self,
        seen: Seen,
        labels: np.ndarray | None = None,
        html: Path | None = None,
        png: Path | None = None,
        name: str = "",
    ) -> DriftResult:
        """The verdict on a batch.

        Args:
            labels: int `(n,)` of all of its images, 0–9, if known.
            html: where to write Evidently's own report, if anywhere.
            png: where to write a page for people, `plots.drift.page`, if anywhere.
            name: of the batch, for these pages.
        """
        found = {name: test.check(seen.rows) for name, test in self.tests.items()}
        like = max(found, key=lambda name: found[name].p_value)  # of equal ones, the first
        given = seen.images, seen.embedding, seen.probabilities
        hurt = self.estimator.estimate(*given, self.params.tolerance)
        right = None if labels is None else seen.digits == np.asarray(labels)[seen.indices]
        result = self._result(seen, like, found[like], hurt, right)
        if html:
            page.write(html, self._report(seen, result, name))
        if png:
            examples = self.examples[list(self.tests).index(like)]
            shown = self.tests[like], examples, seen.rows, seen.images, list(found[like].strangest)
            picture.write(png, name, result.as_dict(), *shown)
        return result

    def add_to_dashboard(
        self, project: Project, name: str, seen: Seen, result: DriftResult
    ) -> None:
        """Add a check to the project's dashboard, Evidently's UI; see `workspace.add`.

        Args:
            name: of the batch.
        """
        workspace.add(project, name, result, self._report(seen, result, name, _DRAWN))

    def _report(self, seen: Seen, result: DriftResult, name: str, draw: int | None = None) -> Any:
        """Evidently's report."""
        lowest = self.estimator.accuracy - self.params.tolerance
        window = self.tests[result.like].reference
        return page.report(result, lowest, self.scores, window, seen.rows, name, draw)

    def follow(self, sequence: Sequence | None, name: str, last: str, seen: Seen) -> Sequence:
        """Add a batch to the sequence of all batches; a new one, if the reference is another.

        Args:
            name, last: as in `Sequence.add`.
        """
        window = self.tests[VALIDATION].reference
        identity = hashlib.sha256(window.above.tobytes() + self.scores.edges.tobytes()).hexdigest()
        if sequence is None or sequence.reference != identity:
            sequence = Sequence.start(identity, self.scores, window)
        return sequence.add(name, last, self.scores, seen.rows, self.params.alpha)

    @cached_property
    def reference_accuracy(self) -> float:
        """Share of the validation images in the reference that the model reads right."""
        window = self.reference.loc[self.reference["source"].eq(VALIDATION), "read"]
        return round(float(window.mean()), _DECIMALS)

    @cached_property
    def tests(self) -> dict[str, ChangeTest]:
        """A test for each window; they are described once, not for every batch."""
        return {
            str(source): ChangeTest(
                self.scores, self.scores.rows(window), self.params.seed, self.params.permutations
            )
            for source, window in self.reference.groupby("source", sort=False)
        }

    def _result(
        self,
        seen: Seen,
        like: str,
        changed: ChangeResult,
        hurt: Estimate,
        right: np.ndarray | None,
    ) -> DriftResult:
        drift, harmful = changed.p_value < self.params.alpha, hurt.harmful
        accuracy, low, high = None, None, None
        if right is not None:
            accuracy = round(float(right.mean()), _DECIMALS)
            low, high = interval(int(right.sum()), len(right))
            harmful = loses(high, self.reference_accuracy, self.params.tolerance)
        verdict: Verdict = "harmful" if harmful else "drift" if drift else "none"
        return DriftResult(
            verdict=verdict,
            drift=drift,
            harmful=harmful,
            p_value=changed.p_value,
            like=like,
            in_sample_share=round(
                float(np.isin(_keys(seen.images), self.trained).mean()), _DECIMALS
            ),
            n=seen.n,
            tested=len(seen.indices),
            alpha=self.params.alpha,
            tolerance=self.params.tolerance,
            estimated_accuracy=hurt.estimated_accuracy,
            accuracy_low=hurt.accuracy_low,
            accuracy_high=hurt.accuracy_high,
            reference_accuracy=self.reference_accuracy,
            no_digit_share=hurt.no_digit_share,
            no_digit_low=hurt.no_digit_low,
            no_digit_high=hurt.no_digit_high,
            accuracy=accuracy,
            measured_low=low,
            measured_high=high,
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
            strangest=[int(seen.indices[row]) for row in changed.strangest],
        )


def interval(successes: int, count: int) -> tuple[float, float]:
    """The exact 95 % interval of a probability (Clopper and Pearson 1934)."""
    exact = binomtest(successes, count).proportion_ci(_LEVEL, method="exact")
    return round(float(exact.low), _DECIMALS), round(float(exact.high), _DECIMALS)


def record_model(folder: Path, weights: Mapping[str, str]) -> None:
    """Write which model a detector was fitted for: SHA-256 by path, as in the model card."""
    files.write_json(folder / _MODEL, dict(weights))


def loses(accuracy: float, reference: float, tolerance: float) -> bool:
    """Whether an accuracy is below the reference's by more than the tolerance, all 0–1."""
    return reference - accuracy > tolerance


def reference_window(
    network: Network, images: np.ndarray, labels: np.ndarray, params: Drift, ink_level: int
) -> pd.DataFrame:
    """`describe` a random sample of labelled images; `read` says whether each was read correctly.

    Args:
        images: uint8 `(n, 28, 28)`.
        labels: int `(n,)`, 0–9.
    """
    rows = _window(len(images), params)
    table = describe(network, images[rows], ink_level)
    table["read"] = table["digit"].to_numpy() == labels[rows]
    return table


def _window(n: int, params: Drift) -> np.ndarray:
    """Rows of the reference window among `n` images, ascending."""
    rng = np.random.default_rng(params.seed)
    return np.sort(rng.permutation(n)[: params.reference_count])


def _examples(
    scores: Scores, window: pd.DataFrame, images: np.ndarray, params: Drift
) -> np.ndarray:
    """`picture.typical` of a `reference_window` of these images."""
    return picture.typical(scores, scores.rows(window), images[_window(len(images), params)])


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


def _keys(images: np.ndarray) -> np.ndarray:
    """A hash of each image, uint64 `(n,)`."""
    digests = (hashlib.sha256(image.tobytes()).digest()[:8] for image in images)
    return np.frombuffer(b"".join(digests), dtype=np.uint64)
