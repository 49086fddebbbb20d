"""How surely a change of handwriting is seen, and how often one is seen where there is none.

The protocol of Rabanser et al. (2019, arXiv 1810.11953): part of a batch, or all of it, is changed;
power is the share of batches of which a test says so. Of MNIST's test images, a random half is the
reference and batches come from the other half, divided anew for each batch, so that both are
exchangeable. What the test is fitted on are training images.

Rivals, on the same batches: BBSDs (Lipton et al. 2018; the best of that paper), a
Kolmogorov–Smirnov test of each of ten softmax outputs with Bonferroni's correction, against as many
reference images as the batch has, at the same level; and the default rules of Evidently's data
drift preset on the detector's features, recomputed for speed: p < .05 of that test if the reference
has at most 1,000 rows, else a normed Wasserstein distance of at least .1; drift if it is in at
least half of the columns.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import mean

import numpy as np
import pandas as pd
from scipy.special import gammaln

from benchmarks.bench import Bench, Result
from digits.core import files
from digits.core.project import Project
from digits.drift import detector
from digits.drift.change import ChangeTest, Rows, Scores
from digits.formatting import markdown_table
from digits.recogniser import Recogniser

REPORT = "drift_power"
ALPHA = 0.05  # of power
SIZES, TARGETS = (10, 50, 200, 1000), (0.62, 0.80, 0.90, 0.955)
RUNS = 100  # batches a cell
QUIET_SIZES = (1, 10, 20, 50, 100, 200, 500, 1000, 5000)
QUIET_RUNS = 2000  # batches without a change
QUIET_ALPHAS = (0.01, 0.05)
SHARES = (0.1, 0.5, 1.0)
FITTED = 10_000  # training images
SEED = 7
NOISE = {"noise 1": 1, "noise 10": 10, "noise 100": 100}  # standard deviation, of 255
# as Keras' ImageDataGenerator: degrees, share of the side, radians, share, flips
TRANSFORMS = {
    "transform small": (10, 0.05, 0.1, 0.1, ()),
    "transform medium": (40, 0.2, 0.2, 0.2, (2,)),
    "transform large": (90, 0.4, 0.3, 0.4, (1, 2)),
}
KNOCK_OUT, ONLY_ZERO, CLEAN = "knock-out of 0", "only 0, transform medium", "clean"
RIVALS = ("BBSDs", "Evidently")
EVIDENTLY_RUNS = 25  # of RUNS; it is slow
KINDS = (*NOISE, *TRANSFORMS, KNOCK_OUT, ONLY_ZERO)
_CHUNK = 1000


@dataclass(frozen=True)
class Pool:
    """All test images under one shift: as the test sees them, and their softmax `(n, 10)`."""

    rows: Rows
    softmax: np.ndarray

    def take(self, rows: np.ndarray) -> "Pool":
        return Pool(self.rows.take(rows), self.softmax[rows])


def measure(bench: Bench) -> dict[str, Result]:
    started = time.monotonic()
    recogniser = Recogniser.load(bench.project.root)
    scores = _fit(bench, recogniser)
    test = bench.data.test
    pools = _pools(recogniser, scores, np.asarray(test.images), bench.params.ingest.ink_level)
    zeros = test.labels == 0
    quiet = {n: _quiet(scores, pools[CLEAN], n) for n in QUIET_SIZES}
    cells = {
        (kind, share, n): _power(scores, pools, zeros, kind, share, n)
        for n in SIZES
        for kind in KINDS
        for share in SHARES
    }
    minutes = (time.monotonic() - started) / 60
    _write(bench.project, quiet, cells, minutes)
    return _results(quiet, cells)


def _fit(bench: Bench, recogniser: Recogniser) -> Scores:
    rows = np.random.default_rng(SEED).permutation(len(bench.data.train.images))[:FITTED]
    images = np.asarray(bench.data.train.images)[np.sort(rows)]
    return Scores.fit(detector.describe(recogniser, images, bench.params.ingest.ink_level))


def _pools(
    recogniser: Recogniser, scores: Scores, images: np.ndarray, ink_level: int
) -> dict[str, Pool]:
    rng = np.random.default_rng(SEED)
    pools = {}
    for name in (CLEAN, *NOISE, *TRANSFORMS):
        network = _Remembering(recogniser)
        table = detector.describe(network, _shifted(images, name, rng), ink_level)
        pools[name] = Pool(scores.rows(table), network.softmax)
        print(f"{name}: read", flush=True)
    return pools


def _shifted(images: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    if name in NOISE:
        return _noisy(images, NOISE[name], rng)
    return _transformed(images, name, rng) if name in TRANSFORMS else images


class _Remembering:
    """A network whose last softmax is kept, so that images are read only once."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser
        self.softmax = np.empty((0, 10))

    def embed(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        embedding, self.softmax = self.recogniser.embed(images)
        return embedding, self.softmax


def _noisy(images: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    parts = [images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK)]
    noisy = [np.rint(part + rng.normal(0, sigma, part.shape)) for part in parts]
    return np.concatenate([np.clip(part, 0, 255).astype(np.uint8) for part in noisy])


def _transformed(images: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """Each image turned, shifted, sheared, zoomed and flipped at random, as by Keras."""
    degrees, shift, shear, zoom, flips = TRANSFORMS[name]
    n, side = images.shape[:2]
    turn, lean = np.deg2rad(rng.uniform(-degrees, degrees, n)), rng.uniform(-shear, shear, n)
    scale = rng.uniform(1 - zoom, 1 + zoom, (n, 2))
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.moveaxis(np.array([[cos, -sin], [sin, cos]]), -1, 0)
    leaning = np.moveaxis(np.array([[cos**0, -np.sin(lean)], [0 * cos, np.cos(lean)]]), -1, 0)
    offsets = turned @ (rng.uniform(-shift, shift, (n, 2)) * side)[:, :, None]
    moved = _affine(images, turned @ leaning * scale[:, None, :], offsets[:, :, 0])
    for axis in flips:
        chosen = rng.random(n) < 0.5
        moved[chosen] = np.flip(moved[chosen], axis)
    return moved


def _affine(images: np.ndarray, matrices: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Bilinear interpolation; what lies outside repeats the edge.

    Args:
        images: uint8 `(n, side, side)`.
        matrices: `(n, 2, 2)`, from a place in the result to one in the image, from the centre.
        offsets: `(n, 2)`, down and to the right, in px.
    """
    n, side = images.shape[:2]
    centre = (side - 1) / 2
    grid = np.mgrid[:side, :side].reshape(2, -1) - centre
    moved = np.empty((n, side * side), np.uint8)
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        places = matrices[part] @ grid + offsets[part, :, None] + centre
        places = np.clip(places, 0, side - 1)
        first = np.minimum(places.astype(int), side - 2)
        (y, x), (down, right) = first.swapaxes(0, 1), (places - first).swapaxes(0, 1)
        values = images[part].astype(float)
        k = np.arange(len(values))[:, None]
        above = values[k, y, x] * (1 - right) + values[k, y, x + 1] * right
        below = values[k, y + 1, x] * (1 - right) + values[k, y + 1, x + 1] * right
        moved[part] = np.rint(above * (1 - down) + below * down)
    return moved.reshape(images.shape)


@dataclass(frozen=True)
class Quiet:
    """Batches without a change: our p-values, and the share in which each rival sees one."""

    p_values: np.ndarray
    rivals: dict[str, float]


def _quiet(scores: Scores, pool: Pool, n: int) -> Quiet:
    rng = np.random.default_rng([SEED, n])
    p_values, rivals = [], []
    for run in range(QUIET_RUNS):
        reference, rest = _halves(len(pool.softmax), rng)
        batch, window = pool.rows.take(rest[:n]), pool.rows.take(reference)
        p_values.append(ChangeTest(scores, window, SEED).p_value(batch))
        if run < RUNS:
            bbsds = _bbsds(pool.softmax[reference[:n]], pool.softmax[rest[:n]])
            rivals.append((bbsds, _evidently(window.values, batch.values)))
    print(f"no change, n = {n}: {np.mean(np.array(p_values) <= ALPHA):.3f} alarms", flush=True)
    shares = dict(zip(RIVALS, np.mean(rivals, axis=0).tolist(), strict=True))
    return Quiet(np.array(p_values), shares)


def _power(
    scores: Scores, pools: dict[str, Pool], zeros: np.ndarray, kind: str, share: float, n: int
) -> dict[str, float]:
    """The share of changed batches that each test sees."""
    rng = np.random.default_rng([SEED, n, KINDS.index(kind), SHARES.index(share)])
    clean = pools[CLEAN]
    seen: dict[str, list[bool]] = {"ours": [], **{name: [] for name in RIVALS}}
    for run in range(RUNS):
        reference, rest = _halves(len(zeros), rng)
        rows, changed = _batch(kind, share, n, rest, zeros, rng)
        shifted = pools[_pool(kind)]
        batch = _join(shifted.take(rows[:changed]), clean.take(rows[changed:]))
        window = clean.take(reference)
        test = ChangeTest(scores, window.rows, SEED)
        seen["ours"].append(test.p_value(batch.rows) <= ALPHA)
        seen["BBSDs"].append(_bbsds(window.softmax[:n], batch.softmax))
        if run < EVIDENTLY_RUNS:
            seen["Evidently"].append(_evidently(window.rows.values, batch.rows.values))
    power = {name: mean(map(float, runs)) for name, runs in seen.items()}
    print(f"{kind}, {share:.0%}, n = {n}: {power}", flush=True)
    return power


def _pool(kind: str) -> str:
    return {KNOCK_OUT: CLEAN, ONLY_ZERO: "transform medium"}.get(kind, kind)


def _halves(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(n)
    return order[: n // 2], order[n // 2 :]


def _batch(
    kind: str, share: float, n: int, rest: np.ndarray, zeros: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """The rows of a batch, and how many of them, from the first, are changed."""
    changed = round(share * n)
    if kind == KNOCK_OUT:
        candidates = rest[zeros[rest]]
        removed = candidates[: round(share * len(candidates))]
        rest, changed = rest[~np.isin(rest, removed)], 0
    elif kind == ONLY_ZERO:
        rest = rest[zeros[rest]]
    return rng.choice(rest, n, replace=n > len(rest)), changed  # there are only some 490 zeros


def _join(one: Pool, other: Pool) -> Pool:
    values = np.concatenate([one.rows.values, other.rows.values])
    above = np.concatenate([one.rows.above, other.rows.above])
    return Pool(Rows(values, above), np.concatenate([one.softmax, other.softmax]))


def _bbsds(reference: np.ndarray, batch: np.ndarray) -> bool:
    return bool(_ks(reference, batch).min() <= ALPHA / reference.shape[1])


def _ks(reference: np.ndarray, batch: np.ndarray) -> np.ndarray:
    """Exact p-values of two-sample Kolmogorov–Smirnov tests of each column, `(n, k)` each."""
    n = len(batch)
    p_values = []
    for there, here in zip(np.sort(reference.T), np.sort(batch.T), strict=True):
        both = np.concatenate([there, here])
        above = np.searchsorted(there, both, "right") - np.searchsorted(here, both, "right")
        p_values.append(_ks_tail(n, int(np.abs(above).max())))
    return np.array(p_values)


@lru_cache(maxsize=100_000)
def _ks_tail(n: int, steps: int) -> float:
    """The probability of a gap of at least `steps` / n, of two samples of n (Gnedenko 1951)."""
    if steps == 0:
        return 1.0
    j = np.arange(1, n // steps + 1)
    logs = 2 * gammaln(n + 1) - gammaln(n - j * steps + 1) - gammaln(n + j * steps + 1)
    return float(min(1.0, 2 * ((-1.0) ** (j + 1) * np.exp(logs)).sum()))


def _evidently(reference: np.ndarray, batch: np.ndarray) -> bool:
    """Its preset's rule where the reference has more than 1,000 rows, as here."""
    quantiles = (np.arange(1000) + 0.5) / 1000
    here, there = (_quantiles(table[:, :-10], quantiles) for table in (batch, reference))
    distance = np.abs(here - there).mean(axis=0) / np.maximum(reference.std(axis=0)[:-10], 0.001)
    return bool((distance >= 0.1).mean() >= 0.5)


def _quantiles(table: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return np.sort(table, axis=0)[(shares * len(table)).astype(int)]


def _results(
    quiet: dict[int, Quiet], cells: dict[tuple[str, float, int], dict[str, float]]
) -> dict[str, Result]:
    results = {}
    for alpha in QUIET_ALPHAS:
        shares = [float((found.p_values <= alpha).mean()) for found in quiet.values()]
        bound = alpha + 3 * (alpha * (1 - alpha) / QUIET_RUNS) ** 0.5
        results[f"drift_false_alarms_{alpha:g}"] = Result(
            max(shares),
            "share of batches, largest of all sizes",
            f"α = {alpha:g}",
            f"≤ {bound:.4f}: α and three standard errors",
            shares,
            f"n = {', '.join(f'{n:,}' for n in quiet)}; {QUIET_RUNS:,} batches each",
        )
    for n, target in zip(SIZES, TARGETS, strict=True):
        power = [cell for (_, _, size), cell in cells.items() if size == n]
        rivals = ", ".join(f"{name} {mean(c[name] for c in power):.3f}" for name in RIVALS)
        results[f"drift_power_{n}"] = Result(
            mean(cell["ours"] for cell in power),
            f"share seen at α = {ALPHA:g}",
            f"{rivals}, same batches",
            f"≥ {target:g}",
            [cell["ours"] for cell in power],
            f"{len(power)} kinds of change, {RUNS} batches each",
        )
    return results


def _write(
    project: Project,
    quiet: dict[int, Quiet],
    cells: dict[tuple[str, float, int], dict[str, float]],
    minutes: float,
) -> None:
    alarms = {
        str(n): {
            **{f"{a:g}": round(float((found.p_values <= a).mean()), 6) for a in QUIET_ALPHAS},
            **found.rivals,
        }
        for n, found in quiet.items()
    }
    rows = [
        {"change": kind, "share": share, "n": n, **cell} for (kind, share, n), cell in cells.items()
    ]
    report = {
        "alpha": ALPHA,
        "runs": RUNS,
        "minutes": round(minutes, 1),
        "false_alarms": alarms,
        "power": rows,
    }
    path = project.benchmarks.with_name(f"{REPORT}.json")
    files.write_json(path, report)
    files.write_text(path.with_suffix(".md"), _page(alarms, pd.DataFrame(rows), minutes))


def _page(alarms: dict[str, dict[str, float]], power: pd.DataFrame, minutes: float) -> str:
    tests = ("ours", *RIVALS)
    header = ["change", "share", *(f"{test}, n = {n:,}" for test in tests for n in SIZES)]
    table = power.pivot_table(
        index=["change", "share"], columns="n", values=list(tests), sort=False
    )
    rows = [
        (kind, f"{share:.0%}", *_cells(table.loc[kind, share], tests))
        for kind, share in table.index
    ]
    rows.append(("**mean**", "", *_cells(table.mean(), tests)))
    return "\n".join(
        [
            "# Power of the drift check",
            "",
            f"`make bench NAME={REPORT}`, {minutes:.0f} minutes on one core: MNIST's test images, "
            "a random half as reference, batches from the other half, divided anew for each batch "
            "(protocol of Rabanser et al. 2019). `tests/benchmarks/drift_power.py` describes the "
            "changes and the rivals.",
            "",
            f"## False alarms: share of {QUIET_RUNS:,} batches without a change",
            "",
            markdown_table(
                (
                    "n",
                    *(f"ours, α = {alpha:g}" for alpha in QUIET_ALPHAS),
                    *(f"{rival}, {RUNS} batches" for rival in RIVALS),
                ),
                [
                    (f"{int(n):,}", *(f"{share:.4f}" for share in shares.values()))
                    for n, shares in alarms.items()
                ],
            ),
            "",
            f"## Power: share of {RUNS} changed batches that are seen, α = {ALPHA:g}",
            "",
            markdown_table(tuple(header), rows),
            "",
        ]
    )


def _cells(row: "pd.Series[float]", tests: Sequence[str]) -> list[str]:
    return [f"{row[test, n]:.2f}" for test in tests for n in SIZES]
