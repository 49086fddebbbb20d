"""Sequences of batches: no false alarms however long one looks, and slow drift is seen."""

import json

import numpy as np
import pytest
from ink_reader import InkReader

from digits.core.errors import DataError
from digits.drift import detector
from digits.drift.change import ChangeTest, Rows, Scores
from digits.drift.sequence import Sequence

ALPHA = 0.05


@pytest.fixture(scope="module")
def scores(real_digits: tuple[np.ndarray, np.ndarray]) -> Scores:
    network = InkReader(*(array[:600] for array in real_digits))
    return Scores.fit(detector.describe(network, real_digits[0][:600], 128))


def rows(scores: Scores, digits: tuple[np.ndarray, np.ndarray], images: np.ndarray) -> Rows:
    network = InkReader(*(array[:600] for array in digits))
    return scores.rows(detector.describe(network, images, 128))


def follow(scores: Scores, window: Rows, stream: Rows, size: int) -> Sequence:
    """The sequence after batches of some size, until the first alarm."""
    sequence = Sequence.start("window", scores, window)
    for start in range(0, len(stream) - size + 1, size):
        batch = stream.take(np.arange(start, start + size))
        sequence = sequence.add(f"batch-{start}", f"{start}", scores, batch, ALPHA)
        if sequence.since:
            break
    return sequence


def test_false_alarms_are_rare_over_the_whole_history(
    scores: Scores, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    unseen = rows(scores, real_digits, real_digits[0][600:])
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(40):
        order = rng.permutation(len(unseen))
        ended = follow(scores, unseen.take(order[:500]), unseen.take(order[500:]), 7)
        alarms += bool(ended.since)
    assert alarms <= 2 + 3 * 1.4  # 40 × 5 %, and three standard deviations


def test_a_drift_within_chance_in_each_batch_is_seen_over_many(
    scores: Scores, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    order = np.random.default_rng(0).permutation(len(real_digits[0]) - 600) + 600
    images = real_digits[0][order]
    window = rows(scores, real_digits, images[:600])
    late = images[600:].copy()
    late[::5] = np.roll(late[::5], 3, axis=2)  # every fifth is off its place
    stream = rows(scores, real_digits, late)
    ended = follow(scores, window, stream, 3)
    assert ended.since
    assert ended.slow(ALPHA).drift
    assert ended.feature in scores.views
    test = ChangeTest(scores, window, seed=7, permutations=199)
    batches = [stream.take(np.arange(i, i + 3)) for i in range(0, 3 * ended.batches, 3)]
    assert np.mean([test.p_value(batch) <= ALPHA for batch in batches]) < 0.8


def test_the_state_survives_json_and_a_batch_counts_once(
    scores: Scores, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    unseen = rows(scores, real_digits, real_digits[0][600:])
    whole = follow(scores, unseen.take(np.arange(500)), unseen.take(np.arange(500, 560)), 10)
    parts = Sequence.start("window", scores, unseen.take(np.arange(500)))
    for start in range(500, 560, 10):
        batch = unseen.take(np.arange(start, start + 10))
        for _ in range(2):  # as after a run that was killed
            parts = parts.add(f"batch-{start}", f"{start - 500}", scores, batch, ALPHA)
            parts = Sequence.from_dict(json.loads(json.dumps(parts.as_dict())))
    assert (parts.batches, parts.images) == (6, 60)
    assert parts.slow(ALPHA) == whole.slow(ALPHA)
    np.testing.assert_array_equal(parts.counts, whole.counts)


def test_a_damaged_state_is_an_error() -> None:
    with pytest.raises(DataError, match="not the state of a sequence"):
        Sequence.from_dict({"counts": [[1]], "ranks": []})
