"""Does a batch hurt? The model's accuracy on it, and how many of its images are no digits.

No labels are needed. Two logistic regressions on what the network says of an image (embedding,
probabilities) and on its gradients (`witness.describe`) give it two figures: a *strangeness*, the
log odds that it is no digit, and the probability that the model reads it right if it is one. They
are fitted on one part of the validation images, on `distorted` ones and on `foreign` pictures.

Single images can't be told apart for sure: a circle is a zero in many scripts, and blurred digits
look strange. The batch as a whole tells. Its strangeness is explained as a mixture of digits, as
strange as they may be together, and of pictures that are none (compare Saerens et al. 2002, who
adapt shares alone); all mixtures on a grid are weighed by how well they explain the batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from digits.drift import distorted, foreign
from digits.validation import witness

FILE = "harm.json"
_FIT_SHARE = 0.6  # of the validation images; the others, by other writers, set the scale
_MODERATE, _FOREIGN = 3, 2  # distorted copies, and foreign pictures, of each image
_HIDDEN, _SPREAD, _LIMIT = 1000, 2.0, 5.0  # random units, their inputs' spread and limit
_STRENGTH = 0.003  # inverse of the penalty on weights
_LEAST = 1e-7  # probability
_CHUNK = 2000

# the mixtures that are weighed; strangeness in log odds
_BINS = np.arange(-14, 14.01, 0.25)
_MOVES = np.arange(-4, 2.1, 0.5)  # of digits, against validation images
_MOVE_SCALE = 0.7  # of the Laplace prior of these moves
_WIDTHS = (1.0, 0.6), (1.25, 0.3), (1.5, 0.1)  # of digits, against validation images; their prior
_FOREIGN_MOVES = -1.5, -0.75, 0.0, 0.75, 2.0  # of foreign pictures, against made ones
_FOREIGN_WIDTHS = 0.5, 0.75, 1.0, 1.3
_SHARES = np.linspace(0, 1, 41)
_NONE, _ALL = 0.6, 0.2  # prior probability that no image, and that each image, is no digit
_COUNTED = 100  # images; more are no better evidence, as the mixture is only a model

# The estimate's own error, as standard deviation: a constant, and a share of the estimated loss.
# Chosen so that intervals cover the truth in most of the sets of digits that were looked at.
_ERROR, _RELATIVE_ERROR = 0.003, 0.25
_MIXED = 0.2  # estimated loss from which the fitted probabilities replace the network's own
_Z = 1.959964  # 95 %
# Harm is called if the accuracy is too low, with a certainty of 90 %; in few images, of 99 %: one
# that is strange among a handful is often just that.
_SURE, _FEW, _SURER = 1.281552, 10, 2.326348
_DECIMALS = 4


class Network(Protocol):
    """`Recogniser`, or `Reference` for committed reports."""

    def embed(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The last hidden layer `(n, k)` and the probabilities `(n, 10)`."""


@dataclass(frozen=True)
class Estimate:
    """What a batch is like, with 95 % intervals.

    Attributes:
        estimated_accuracy: share of all images that the model reads right; what is no digit can't
            be. `accuracy_low` to `accuracy_high` allows for chance and for the estimator's error.
        no_digit_share: share of images that are no digits, `no_digit_low` to `no_digit_high`.
        harmful: whether the accuracy is below the reference's by more than the tolerance, with a
            certainty of 90 %; in fewer than 10 images, of 99 %.
        no_digit: probability that an image is no digit, float64 `(n,)`.
    """

    estimated_accuracy: float
    accuracy_low: float
    accuracy_high: float
    no_digit_share: float
    no_digit_low: float
    no_digit_high: float
    harmful: bool
    no_digit: np.ndarray


@dataclass(frozen=True)
class Harm:
    """A fitted estimator.

    Attributes:
        accuracy: of the model on the validation images.
        mean, scale: of the random units' inputs, `(k,)`.
        strange, right: weights of the features, with the constant last, `(f + 1,)`: of the log
            odds that an image is no digit, and that the model reads it right if it is one.
        digits: mode of digits' strangeness, and standard deviations below and above it.
        others: mean and standard deviation of foreign pictures' strangeness.
        seed: of the random units.
    """

    accuracy: float
    mean: np.ndarray
    scale: np.ndarray
    strange: np.ndarray
    right: np.ndarray
    digits: np.ndarray
    others: np.ndarray
    seed: int

    @classmethod
    def fit(cls, network: Network, images: np.ndarray, labels: np.ndarray, seed: int) -> "Harm":
        """Fit on labelled images that the network wasn't trained on.

        Args:
            images: uint8 `(n, 28, 28)`, at least a thousand; neighbours may share writers.
            labels: int `(n,)`, 0–9.
        """
        images, labels = np.asarray(images), np.asarray(labels).astype(int)
        count = round(_FIT_SHARE * len(images))
        seen, unseen = images[:count], images[count:]
        sets = [seen, *(distorted.moderately(seen, seed + i) for i in range(_MODERATE))]
        sets.append(distorted.heavily(seen, seed))
        sets += [unseen, foreign.pictures(_FOREIGN * count, seen, labels[:count], seed)]
        sets.append(foreign.pictures(count // 2, unseen, labels[count:], seed + 1))
        outputs = [_outputs(network, pictures) for pictures in sets]
        inputs = np.concatenate([_inputs(*output) for output in (*outputs[:2], outputs[-2])])
        mean, scale = inputs.mean(axis=0).round(4), (inputs.std(axis=0) + 1e-3).round(4)
        units = [_features(*output, mean, scale, seed) for output in outputs]
        *digits, heavy, clean, others, more_others = units
        read = [output[1].argmax(axis=1) == labels[:count] for output in outputs[: len(digits) + 1]]
        strange = _logistic([*digits, heavy, others], [0] * (len(digits) + 1) + [1])
        right = _logistic([*digits, heavy], read)
        strangeness = _product(clean, strange)
        found = np.concatenate([outputs[0][1], outputs[-3][1]]).argmax(axis=1)
        return cls(
            accuracy=round(float((found == labels).mean()), 6),
            mean=mean,
            scale=scale,
            strange=strange,
            right=right,
            digits=_split_normal(strangeness).round(3),
            others=_mean_and_spread(_product(more_others, strange)).round(3),
            seed=seed,
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Harm":
        """The estimator in `FILE`, as `as_dict` gave it."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = document[field.name]
            values[field.name] = np.array(value) if isinstance(value, list) else value
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """The fields, for `FILE`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}

    def estimate(
        self,
        images: np.ndarray,
        embedding: np.ndarray,
        probabilities: np.ndarray,
        tolerance: float,
    ) -> Estimate:
        """Estimate accuracy and the share of what is no digit.

        Args:
            images: uint8 `(n, 28, 28)`, in MNIST's form, n ≥ 1.
            embedding: of the network that this was fitted for, `(n, k)`.
            probabilities: the same network's, `(n, 10)`.
            tolerance: loss of accuracy that is no harm yet, 0–1.
        """
        strangeness, right = self.look(images, embedding, probabilities)
        confidence = probabilities.max(axis=1).astype(np.float64)
        return self.judge(strangeness, right, confidence, tolerance)

    def look(
        self, images: np.ndarray, embedding: np.ndarray, probabilities: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Each image's strangeness, and the probability that it is read right if it is a digit."""
        parts = []
        gradients = witness.describe(images)
        for start in range(0, len(images), _CHUNK):
            rows = slice(start, start + _CHUNK)
            given = embedding[rows], probabilities[rows], gradients[rows]
            features = _features(*given, self.mean, self.scale, self.seed)
            parts.append([_product(features, self.strange), _product(features, self.right)])
        strangeness, odds = np.concatenate(parts, axis=1)
        return strangeness, 1 / (1 + np.exp(-odds))

    def judge(
        self, strangeness: np.ndarray, right: np.ndarray, confidence: np.ndarray, tolerance: float
    ) -> Estimate:
        """The estimate for a batch of which `look` and the network's confidence are known."""
        n = len(strangeness)
        share, low, high, spread, no_digit = self._shares(strangeness)
        digits = 1 - no_digit
        loss = float((digits * (1 - right)).sum() / max(digits.sum(), 1e-9))
        weight = min(loss / _MIXED, 1.0)
        read = digits * (weight * right + (1 - weight) * confidence)
        accuracy = float(read.mean())
        chance = float((read * (1 - read)).sum()) / n**2
        own = _ERROR + _RELATIVE_ERROR * max(0.0, 1 - share - accuracy)
        error = float(np.sqrt(chance + own**2 + (spread * accuracy / max(1 - share, 0.05)) ** 2))
        sure = _SURE if n >= _FEW else _SURER
        return Estimate(
            estimated_accuracy=round(accuracy, _DECIMALS),
            accuracy_low=round(max(0.0, accuracy - _Z * error), _DECIMALS),
            accuracy_high=round(min(1.0, accuracy + _Z * error), _DECIMALS),
            no_digit_share=round(share, _DECIMALS),
            no_digit_low=round(low, _DECIMALS),
            no_digit_high=round(high, _DECIMALS),
            harmful=self.accuracy - (accuracy + sure * error) > tolerance,
            no_digit=no_digit.round(_DECIMALS),
        )

    def _shares(self, strangeness: np.ndarray) -> tuple[float, float, float, float, np.ndarray]:
        """The no-digit share: mean, 95 % interval, standard deviation; and each image's odds."""
        bins = np.clip(np.searchsorted(_BINS, strangeness.round(6)), 1, len(_BINS) - 1) - 1
        used, where, counts = np.unique(bins, return_inverse=True, return_counts=True)
        centres = (_BINS[:-1] + np.diff(_BINS) / 2)[used]
        one, one_prior = self._of_digits(centres)
        other, other_prior = self._of_others(centres)
        shares = _SHARES[:, None, None, None]
        parts = shares * other[None, None]
        mixed = (1 - shares) * one[None, :, None] + parts
        evidence = min(1.0, _COUNTED / len(strangeness))
        weights = np.log(mixed) @ (counts * evidence)
        prior = np.full(len(_SHARES), (1 - _NONE - _ALL) / (len(_SHARES) - 2))
        prior[0], prior[-1] = _NONE, _ALL
        weights += np.log(prior)[:, None, None] + one_prior[:, None] + other_prior
        weights = np.exp(weights - weights.max())
        weights /= weights.sum()
        no_digit = np.einsum("sab,sabk->k", weights, parts / mixed)
        marginal = weights.sum(axis=(1, 2))
        mean = float(marginal @ _SHARES)
        low, high = np.interp((0.025, 0.975), np.cumsum(marginal), _SHARES)
        spread = float(np.sqrt(max(marginal @ _SHARES**2 - mean**2, 0)))
        return mean, min(float(low), mean), max(float(high), mean), spread, no_digit[where]

    def _of_digits(self, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Densities of digits at `centres`, `(a, k)`, and the logarithms of their priors."""
        mode, below, above = self.digits
        densities, priors = [], []
        for move in _MOVES:
            for width, prior in _WIDTHS:
                z = centres - mode - move
                z = z / (width * np.where(z < 0, below, above))
                densities.append(_tailed(z) / (width * (below + above) / 2))
                priors.append(np.log(prior) - abs(move) / _MOVE_SCALE)
        return np.array(densities), _log_shares(priors)

    def _of_others(self, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Densities of foreign pictures at `centres`, `(b, k)`, and the logs of their priors."""
        mean, spread = self.others
        densities = [
            _tailed((centres - mean - move) / (width * spread)) / (width * spread)
            for move in _FOREIGN_MOVES
            for width in _FOREIGN_WIDTHS
        ]
        return np.array(densities), _log_shares([0.0] * len(densities))


def _outputs(network: Network, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    embedding, probabilities = network.embed(images)
    return embedding, probabilities, witness.describe(images)


def _inputs(embedding: np.ndarray, _: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    return np.concatenate([embedding, gradients], axis=1).astype(np.float64)


def _features(
    embedding: np.ndarray,
    probabilities: np.ndarray,
    gradients: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    seed: int,
) -> np.ndarray:
    """The embedding, its squares, sorted log probabilities and random units: `(n, f)`.

    The units are what a hidden layer with random weights sees (Huang et al. 2006).
    """
    inputs = _inputs(embedding, probabilities, gradients)
    values = np.clip((inputs - mean) / scale, -_LIMIT, _LIMIT)
    weights, offsets = _hidden(len(mean), seed)
    with witness.one_thread():
        units = np.maximum(values @ weights + offsets, 0)
    logs = np.log(np.maximum(np.sort(probabilities.astype(np.float64), axis=1), _LEAST))
    first = inputs[:, : embedding.shape[1]]
    return np.concatenate([first, first**2, logs.round(6), units], axis=1)


@lru_cache(maxsize=2)
def _hidden(inputs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the random units `(inputs, 1000)`, and their offsets `(1000,)`."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((inputs, _HIDDEN)) * (_SPREAD / np.sqrt(inputs))
    return weights, rng.standard_normal(_HIDDEN)


def _logistic(parts: list[np.ndarray], targets: list[Any]) -> np.ndarray:
    """Weights of logistic regression, with the constant last: `(f + 1,)`.

    Args:
        parts: features `(n, f)` of each set.
        targets: of each set, one for all or one for each row, 0 or 1.
    """
    from sklearn.linear_model import LogisticRegression

    features = np.concatenate(parts)
    of_rows = [np.broadcast_to(t, len(p)) for p, t in zip(parts, targets, strict=True)]
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
    model = LogisticRegression(C=_STRENGTH, max_iter=300)
    with witness.one_thread():
        model.fit((features - mean) / scale, np.concatenate(of_rows).astype(int))
    weights = _rounded(model.coef_[0] / scale)
    return np.append(weights, round(float(model.intercept_[0] - weights @ mean), 4))


def _rounded(values: np.ndarray) -> np.ndarray:
    """To four significant digits, as the last bits of what is fitted depend on the CPU."""
    return np.array([float(f"{value:.4g}") for value in values])


def _product(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    with witness.one_thread():
        return features @ weights[:-1] + weights[-1]


def _split_normal(values: np.ndarray) -> np.ndarray:
    """The median, and the standard deviations of normal halves below and above it."""
    low, median, high = np.quantile(values, (0.025, 0.5, 0.975))
    return np.array([median, (median - low) / _Z, (high - median) / _Z])


def _mean_and_spread(values: np.ndarray) -> np.ndarray:
    return np.array([values.mean(), values.std()])


def _tailed(z: np.ndarray) -> np.ndarray:
    """A normal density with a little of a three times wider one, for what no model foresees."""
    return 0.97 * np.exp(-(z**2) / 2) + 0.01 * np.exp(-(z**2) / 18)


def _log_shares(logs: list[float]) -> np.ndarray:
    values = np.array(logs)
    return values - np.log(np.exp(values).sum())
