"""Slow drift over many small batches: false alarms over whole histories, batches until an alarm.

A random half of the validation images is the reference; batches of 10 come from the other half,
none twice. In some, images are replaced by the same ones with thinner strokes, a share that grows
from 0 to 1 over the history. `drift.alpha` bounds the share of histories with any false alarm.
"""

from statistics import mean, median

import numpy as np
from scipy import ndimage

from benchmarks.bench import Bench, Result
from digits.drift.change import ChangeTest, Rows
from digits.drift.detector import DriftDetector
from digits.drift.sequence import Sequence

SIZE = 10
HISTORIES = {"clean": 200, "changing": 40}
SEED = 5


def measure(bench: Bench) -> dict[str, Result]:
    detector = DriftDetector.load(bench.project.root)
    alpha = detector.params.alpha
    images = np.asarray(bench.data.val.images)
    clean = detector.scores.rows(_describe(detector, images))
    thin = detector.scores.rows(_describe(detector, _thinner(images)))
    rng = np.random.default_rng(SEED)
    quiet = [_history(detector, clean, clean, rng)[0] for _ in range(HISTORIES["clean"])]
    ended = [_history(detector, clean, thin, rng) for _ in range(HISTORIES["changing"])]
    seen = [batches for alarm, batches, _ in ended if alarm]
    single = [share for _, _, share in ended]
    of = f"histories of {len(images) // 2 // SIZE} batches of {SIZE} images"
    return {
        "drift_slow_false_alarms": Result(
            mean(map(float, quiet)),
            f"share of {of}",
            f"α = {alpha:g}",
            f"≤ {alpha:g}",
            [float(alarm) for alarm in quiet],
        ),
        "drift_slow_batches": Result(
            median(seen) if seen else float("nan"),
            "batches until the alarm, median",
            f"{mean(single):.1%} of the batches until then are drift on their own",
            "–",
            seen,
            f"seen in {len(seen)} of {len(ended)} {of}",
        ),
    }


def _describe(detector: DriftDetector, images: np.ndarray):
    from digits.drift import detector as module

    return module.describe(detector.network, images, detector.ink_level)


def _thinner(images: np.ndarray) -> np.ndarray:
    """A tenth of the way to strokes that are a pixel thinner."""
    eroded = ndimage.grey_erosion(images, size=(1, 2, 2)).astype(float)
    return np.rint(0.9 * images + 0.1 * eroded).astype(np.uint8)


def _history(
    detector: DriftDetector, clean: Rows, changed: Rows, rng: np.random.Generator
) -> tuple[bool, int, float]:
    """Whether there was an alarm, after how many batches, and their share that alone are drift."""
    order, alpha = rng.permutation(len(clean)), detector.params.alpha
    half = len(order) // 2
    window, rest = clean.take(order[:half]), order[half:]
    test = ChangeTest(detector.scores, window, SEED)
    sequence = Sequence.start("window", detector.scores, window)
    alone = []
    batches = len(rest) // SIZE
    for number in range(batches):
        rows = rest[number * SIZE : (number + 1) * SIZE]
        new = rng.random(SIZE) < number / batches
        batch = Rows(
            np.where(new[:, None], changed.values[rows], clean.values[rows]),
            np.where(new[:, None], changed.above[rows], clean.above[rows]),
        )
        if changed is not clean:
            alone.append(test.p_value(batch) < alpha)
        sequence = sequence.add(f"{number}", f"{number}", detector.scores, batch, alpha)
        if sequence.since:
            break
    return bool(sequence.since), sequence.batches, float(np.mean(alone or [0]))
