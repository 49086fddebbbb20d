"""Does a batch hurt? Verdicts, estimated accuracy and share of no digits, on sets of many kinds.

The estimator was fitted on validation images, on copies distorted in ways that include MNIST-C's,
and on made pictures. It was fitted on no image of any set here, but the figures are not held out:
after a look at these sets, elastic, covered and ruled digits were added to what it is fitted on,
and two of its constants (certainty of harm, prior of widths) were chosen. That includes MNIST's
test images and their damaged copies. Further sets are used where DIGITS_HANDWRITING is a folder
that has them, and clothes where Debian's `dataset-fashion-mnist` is installed.
"""

import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
from faults import pictures
from PIL import Image
from scipy import ndimage

from benchmarks.bench import Bench, Result
from digits.core import files
from digits.core.project import Project
from digits.data.mnist import load
from digits.drift.change import Rows
from digits.drift.detector import DriftDetector, loses
from digits.drift.harm import Estimate
from digits.evaluation import corruptions
from digits.formatting import markdown_table

REPORT = "drift_harm"
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
RUNS = 500  # batches of a set and size
ESTIMATED_N, ESTIMATED_RUNS = 500, 40
DRIFT_N, DRIFT_RUNS = 200, 100
MIXED = 0.5  # of the images, in mixtures with digits
SEED = 11
NO_DIGITS = "no digits"
HANDWRITING = ("usps_zip_train", "chars74k_hnd_digits")
FOREIGN = ("kannada_mnist_test", "notmnist_letters_ood_3000")


@dataclass(frozen=True)
class Set:
    """Images as the estimator sees them; `right` is None if none is a digit."""

    kind: str
    images: np.ndarray
    right: np.ndarray | None
    strangeness: np.ndarray
    probability: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @property
    def accuracy(self) -> float:
        return 0.0 if self.right is None else float(self.right.mean())


def measure(bench: Bench) -> dict[str, Result]:
    detector = DriftDetector.load(bench.project.root)
    rng = np.random.default_rng(SEED)
    sets = {
        name: _look(detector, kind, images, labels)
        for name, (kind, images, labels) in _sources(bench, rng).items()
    }
    clean = sets["MNIST, test"]
    alarms = {n: _harmful(detector, clean, n, rng) for n in SIZES}
    foreign = {name: one for name, one in sets.items() if one.right is None}
    digits = {name: one for name, one in sets.items() if one.right is not None}
    rows = [
        {
            "set": name,
            "kind": one.kind,
            "n": len(one),
            "accuracy": one.accuracy,
            **_estimates(detector, one, rng),
            **({} if one.right is not None else _foreign(detector, one, clean, rng)),
        }
        for name, one in sets.items()
    ]
    drift = {n: _drift(detector, s, rng) for n, s in digits.items() if s.kind == "handwriting"}
    seconds = {n: _seconds(detector, clean, n) for n in (100, 10_000)}
    _write(bench.project, alarms, rows, drift, seconds)
    return _results(alarms, rows, drift, seconds, len(digits), len(foreign))


def _sources(
    bench: Bench, rng: np.random.Generator
) -> dict[str, tuple[str, np.ndarray, np.ndarray | None]]:
    """Kind, images, and labels unless they are no digits, of each set."""
    images, labels = load(bench.project.mnist, "test")
    index = files.read_table(bench.project.ingested / "index.parquet")
    uci = index.loc[index["batch"].eq("uci-digits")]
    ingested = files.read_array(bench.project.ingested / "images.npy")
    sets: dict[str, tuple[str, np.ndarray, np.ndarray | None]] = {
        "MNIST, test": ("clean", images, labels),
        "uci-digits": ("handwriting", ingested[uci["id"]], uci["label"].to_numpy(int)),
    }
    for name in corruptions.NAMES:
        sets[f"MNIST-C {name}"] = "known damage", corruptions.corrupt(images, name, SEED), labels
    for name, change in OTHER.items():
        sets[name] = (
            "other damage",
            np.stack([change(i, rng) for i in images[:2000]]),
            labels[:2000],
        )
    kinds = rng.integers(10, size=1000)
    sets |= {
        "Arabic digits, printed": (
            NO_DIGITS,
            pictures.printed(pictures.ARABIC, kinds, rng),
            None,
        ),
        "Devanagari digits": (NO_DIGITS, pictures.devanagari(kinds, rng), None),
        "clothes": (NO_DIGITS, pictures.clothes(kinds, rng), None),
    }
    folder = Path(os.environ.get("DIGITS_HANDWRITING", ""))
    for name in (*HANDWRITING, *FOREIGN):
        if (folder / f"{name}.npz").is_file():
            with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
                known = name in HANDWRITING
                kind = "handwriting" if known else NO_DIGITS
                sets[name] = kind, file["images"], file["labels"] if known else None
    return sets


def _png(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, format="JPEG", quality=int(rng.integers(4, 12)))
    return np.asarray(Image.open(stored))


def _elastic(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    moves = [ndimage.gaussian_filter(rng.uniform(-1, 1, (28, 28)), 4) * 60 for _ in range(2)]
    places = np.mgrid[:28, :28] + moves
    return _grey(ndimage.map_coordinates(image.astype(float), places, order=1))


def _perspective(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    corners = np.array([(0, 0), (0, 28), (28, 28), (28, 0)]) + rng.uniform(-5, 5, (4, 2))
    quad = tuple(corners.ravel().tolist())
    return np.asarray(
        Image.fromarray(image).transform((28, 28), Image.Transform.QUAD, quad, _SMOOTH)
    )


def _covered(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    y, x = rng.integers(4, 16, 2)
    image = image.copy()
    image[y : y + 8, x : x + 8] = 0
    return image


def _ruled(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = image.copy()
    image[rng.integers(7) :: 7] |= 150
    return image


def _fading(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return _grey(image * np.linspace(0.15, 1, 28))


def _grey(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


_SMOOTH = Image.Resampling.BILINEAR
OTHER: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "JPEG, quality 4 to 11": _png,
    "elastic": _elastic,
    "perspective": _perspective,
    "a covered square": _covered,
    "ruled paper": _ruled,
    "fading ink": _fading,
    "gamma 3": lambda image, _: _grey(255 * (image / 255) ** 3),
    "gamma 0.3": lambda image, _: _grey(255 * (image / 255) ** 0.3),
}


def _look(detector: DriftDetector, kind: str, images: np.ndarray, labels: np.ndarray | None) -> Set:
    images = np.ascontiguousarray(images)
    embedding, probabilities = detector.network.embed(images)
    strangeness, right = detector.estimator.look(images, embedding, probabilities)
    read = None if labels is None else probabilities.argmax(axis=1) == labels
    return Set(kind, images, read, strangeness, right, probabilities.max(axis=1).astype(float))


def _judge(detector: DriftDetector, parts: list[tuple[Set, np.ndarray]]) -> Estimate:
    """The estimate for a batch of rows of sets."""
    arrays = (
        np.concatenate([getattr(one, name)[rows] for one, rows in parts])
        for name in ("strangeness", "probability", "confidence")
    )
    return detector.estimator.judge(*arrays, detector.params.tolerance)


def _rows(one: Set, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(len(one), n, replace=n > len(one))


def _harmful(detector: DriftDetector, one: Set, n: int, rng: np.random.Generator) -> float:
    runs = (_judge(detector, [(one, _rows(one, n, rng))]).harmful for _ in range(RUNS))
    return mean(map(float, runs))


def _estimates(detector: DriftDetector, one: Set, rng: np.random.Generator) -> dict[str, float]:
    """Errors and coverage of the estimated accuracy in batches of ESTIMATED_N images."""
    errors, covered = [], []
    for _ in range(ESTIMATED_RUNS):
        rows = _rows(one, ESTIMATED_N, rng)
        found = _judge(detector, [(one, rows)])
        truth = 0.0 if one.right is None else float(one.right[rows].mean())
        errors.append(found.estimated_accuracy - truth)
        covered.append(found.accuracy_low <= truth <= found.accuracy_high)
    return {
        "bias": float(np.mean(errors)),
        "error": float(np.mean(np.abs(errors))),
        "covered": float(np.mean(covered)),
        "harmful_200": _harmful(detector, one, DRIFT_N, rng),
    }


def _foreign(
    detector: DriftDetector, one: Set, clean: Set, rng: np.random.Generator
) -> dict[str, float]:
    """How often harm is seen in 10 images; how far the share of no digits is off in 100."""
    errors, mixed = [], []
    half = round(100 * MIXED)
    for _ in range(100):
        whole = _judge(detector, [(one, _rows(one, 100, rng))])
        errors.append(abs(whole.no_digit_share - 1))
        parts = [(one, _rows(one, half, rng)), (clean, _rows(clean, 100 - half, rng))]
        mixed.append(abs(_judge(detector, parts).no_digit_share - MIXED))
    return {
        "harmful_10": _harmful(detector, one, 10, rng),
        "share_error": float(np.mean(errors)),
        "mixed_error": float(np.mean(mixed)),
    }


def _drift(detector: DriftDetector, one: Set, rng: np.random.Generator) -> dict[str, float]:
    """Shares of batches of DRIFT_N images that have drifted, and that do harm, by all of it."""
    rows: Rows = detector.look(one.images).rows
    test = detector.tests["validation"]
    drift = [
        test.p_value(rows.take(_rows(one, DRIFT_N, rng))) < detector.params.alpha
        for _ in range(DRIFT_RUNS)
    ]
    return {"drift": float(np.mean(drift)), "harmful": _harmful(detector, one, DRIFT_N, rng)}


def _seconds(detector: DriftDetector, one: Set, n: int) -> float:
    """The fastest of three checks of n images, in a process that has checked others before."""
    detector.check(one.images[:100])
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        detector.check(one.images[:n])
        taken.append(time.perf_counter() - started)
    return min(taken)


def _results(
    alarms: dict[int, float],
    rows: list[dict],
    drift: dict[str, dict[str, float]],
    seconds: dict[int, float],
    digits: int,
    foreign: int,
) -> dict[str, Result]:
    of_digits = [row for row in rows if row["kind"] != NO_DIGITS]
    others = [row for row in rows if row["kind"] == NO_DIGITS]
    errors = [100 * row["error"] for row in of_digits]
    every = [100 * row["error"] for row in rows]
    points, reference = "points, mean absolute error", "–"
    batches = f"{ESTIMATED_RUNS} batches of {ESTIMATED_N} images each"
    return {
        "drift_harmful_clean": Result(
            max(alarms.values()),
            "share of batches of MNIST's test set",
            reference,
            "≤ 0.005",
            list(alarms.values()),
            f"n = {', '.join(map(str, alarms))}; {RUNS} batches each",
        ),
        "drift_harmful_foreign": Result(
            min(r["harmful_10"] for r in others),
            "share of batches of 10, lowest of all sets",
            reference,
            "≥ 0.99",
            [r["harmful_10"] for r in others],
            f"{foreign} sets of no digits",
        ),
        "drift_no_digit_share": Result(
            max(100 * max(r["share_error"], r["mixed_error"]) for r in others),
            "points, largest mean error, n = 100",
            reference,
            "≤ 10",
            [100 * r[k] for r in others for k in ("share_error", "mixed_error")],
            f"{foreign} sets, whole and half of them MNIST's test images",
        ),
        "drift_estimate_digits": Result(
            mean(errors),
            points,
            reference,
            "≤ 1",
            errors,
            f"{digits} sets of digits, {batches}",
        ),
        "drift_estimate_all": Result(
            mean(every),
            points,
            reference,
            "≤ 2",
            every,
            f"and {foreign} sets of no digits",
        ),
        "drift_estimate_covered": Result(
            mean(r["covered"] for r in of_digits),
            "share of intervals with the truth",
            reference,
            "≥ 0.9",
            [r["covered"] for r in of_digits],
            f"{digits} sets of digits, {batches}",
        ),
        "drift_handwriting": Result(
            min(one["drift"] for one in drift.values()),
            f"share of batches of {DRIFT_N} seen",
            reference,
            "≥ 0.99",
            [one["drift"] for one in drift.values()],
            ", ".join(drift),
        ),
        "drift_seconds_10000": Result(
            seconds[10_000], "s to check 10,000 images", reference, "≤ 5", [seconds[10_000]]
        ),
        "drift_seconds_100": Result(
            seconds[100], "s to check 100 images", reference, "≤ 0.2", [seconds[100]]
        ),
    }


def _write(
    project: Project,
    alarms: dict[int, float],
    rows: list[dict],
    drift: dict[str, dict[str, float]],
    seconds: dict[int, float],
) -> None:
    path = project.benchmarks.with_name(f"{REPORT}.json")
    report = {"clean": alarms, "sets": rows, "handwriting": drift, "seconds": seconds}
    files.write_json(path, report)
    head = (
        *("set", "kind", "accuracy", "estimated, mean error", "absolute error", "covered"),
        *("harmful, n = 200", "harmful, n = 10", "share off", "half mixed, off"),
    )
    table = [
        (
            row["set"],
            row["kind"],
            f"{row['accuracy']:.3f}",
            f"{100 * row['bias']:+.1f}",
            f"{100 * row['error']:.1f}",
            f"{row['covered']:.2f}",
            f"{row['harmful_200']:.3f}" + _expected(row),
            *(
                f"{row[key]:.2f}" if key in row else ""
                for key in ("harmful_10", "share_error", "mixed_error")
            ),
        )
        for row in rows
    ]
    quiet = [(f"{n:,}", f"{share:.3f}") for n, share in alarms.items()]
    seen = [(n, f"{one['drift']:.2f}", f"{one['harmful']:.3f}") for n, one in drift.items()]
    page = [
        "# Harm: accuracy without labels, and what is no digit",
        "",
        f"`make bench NAME={REPORT}`. {__doc__.split(chr(10) + chr(10))[1].strip()}",
        "",
        f"## Clean batches called harmful, share of {RUNS}",
        "",
        markdown_table(("n", "MNIST's test set"), quiet, right={0, 1}),
        "",
        f"## Other people's handwriting, {DRIFT_N} images: shares called drift, and harmful",
        "",
        markdown_table(("set", "drift", "harmful"), seen, right={1, 2}),
        "",
        f"## Sets: {ESTIMATED_RUNS} batches of {ESTIMATED_N} images, in points",
        "",
        markdown_table(head, table, right=set(range(2, 10))),
        "",
    ]
    files.write_text(path.with_suffix(".md"), "\n".join(page))


def _expected(row: dict) -> str:
    """Whether the true loss exceeds the tolerance."""
    return " (true)" if loses(row["accuracy"], 0.995, 0.05) else ""
