"""Sections on what came out: accuracy on each set and digit, confusions, robustness, curves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from digits.formatting import percent
from digits.gate.changes import SetChange
from digits.gate.comparison import Comparison, p_value, sides
from digits.gate.differences import Change
from digits.gate.evidence import TEST, Evidence, ImageSet, figure, pair
from digits.gate.paired import Difference
from digits.reports.comparison.document import (
    BEFORE_NOW,
    NONE,
    Row,
    Section,
    Tone,
    arrow,
    count,
    name,
    number,
    points,
    row,
    share,
)

_LOUD = ("better", "worse")
_TONES: Mapping[str, Tone] = {"better": "better", "worse": "worse"}
_MOST_PAIRS = 10
_CORRECTED = "p: McNemar's exact test, with Holm's correction for all digits and batches."
_MOST_CORRUPTIONS = 5


def test_set(result: Comparison) -> Section:
    """Accuracy, and the figures that have no test of significance; intervals are in the note."""
    both = (result.old, result.new)
    old, new = ([figure(one.metrics, TEST, key) for one in both] for key in ("accuracy", "errors"))
    n = figure(result.new.metrics, TEST, "n")
    if n is None:
        return Section("test", "Test set")
    change = result.sets.get(TEST)
    outcome = change.outcome if change else "not comparable"
    tone = _TONES.get(outcome, "chance" if outcome == "chance" else "")
    rows = [
        row("accuracy", arrow(*map(share, old)), points(*old), _marked(outcome), tone=tone),
        row("misread", arrow(*map(number, new)), _rise(*new), ""),
        _figure("F1", both, (TEST, "f1")),
        _figure(
            "calibration error",
            both,
            (TEST, "calibration_error"),
            limit=result.policy.max_calibration_error,
        ),
        _figure(
            "MNIST-C error",
            both,
            ("corrupted", "mean_error"),
            rise=result.policy.max_corrupted_rise,
        ),
    ]
    head = ("", "before → now", "change", "")
    note = _intervals(result, change)
    return Section("test", f"Test set: {n:,.0f} images", rows, head, right=(1, 2), note=note)


def _marked(outcome: str, text: str = "") -> str:
    mark = {"better": "✅ ", "worse": "❌ "}.get(outcome, "")
    return f"{mark}{text or outcome}"


def _intervals(result: Comparison, change: SetChange | None) -> str:
    """McNemar's test in words, and the intervals of both accuracies and of their difference."""
    before, now = _interval(result.old), _interval(result.new)
    level = f"{100 * result.policy.confidence_level:g} %"
    words = f"Interval of accuracy: {before} before, {now} now. ≤: limit of the policy."
    if change is None or change.outcome == "same":
        return words
    low, high = (100 * bound for bound in change.difference.interval)
    return (
        f"{sides(change.difference)}; {p_value(change.difference.p_value)} (McNemar's exact "
        f"test). {words} {level} interval of the change: {low:+.2f} to {high:+.2f} points."
    )


def _rise(old: float | None, new: float | None) -> str:
    if old is None or new is None:
        return NONE
    return f"{new - old:+,.0f}" if old != new else "0"


def _interval(one: Evidence) -> str:
    ends = pair(one.metrics, TEST, "accuracy_interval")
    return f"{100 * ends[0]:.2f} – {100 * ends[1]:.2f}" if ends else NONE


def _figure(
    what: str,
    both: Sequence[Evidence],
    path: Sequence[str],
    limit: float | None = None,
    rise: float | None = None,
) -> Row:
    """A share on both sides; `limit` is how large it may be, `rise` how much larger."""
    old, new = (figure(one.metrics, *path) for one in both)
    note, broken = "", False
    if limit is not None:
        note, broken = f"≤ {100 * limit:g} %", new is not None and new > limit
    if rise is not None:
        note = f"rise ≤ {100 * rise:g}"
        broken = old is not None and new is not None and _above(new - old, rise)
    tone: Tone = "worse" if broken else ""
    change = points(old, new)
    return row(what, arrow(share(old), share(new)), change, _marked(tone, note), tone=tone)


def _above(rise: float, limit: float) -> bool:
    return rise > limit + 1e-12


def digits(result: Comparison) -> Iterator[Section]:
    """The recall of each digit, if any image changed sides."""
    if TEST not in result.sets or result.sets[TEST].outcome == "same":
        return
    loud, quiet = _split(
        Row(
            (
                (str(digit),),
                (arrow(percent(one.old), percent(one.new)),),
                (_wrong_right(one.difference),),
                (_p(one.difference),),
            ),
            _TONES.get(one.outcome, "chance"),
        )
        for digit, one in result.sets[TEST].digits.items()
    )
    head = ("digit", "recall", "newly wrong / right", "p")
    right = (1, 2, 3)
    title = f"Digits: {len(loud)} of {len(loud) + len(quiet)} changed by more than chance"
    yield Section("digits", title, loud, head, right, _CORRECTED)
    title = f"{'Other digits' if loud else 'Digits'}: no change beyond chance"
    yield Section("digits-quiet", title, quiet, head, right, _CORRECTED, folded=True, noise=True)


def _split(rows: Iterator[Row]) -> tuple[list[Row], list[Row]]:
    """Rows that matter, and those that chance explains."""
    loud: list[Row] = []
    quiet: list[Row] = []
    for one in rows:
        (quiet if one.tone == "chance" else loud).append(one)
    return loud, quiet


def _wrong_right(one: Difference) -> str:
    return f"{len(one.newly_wrong):,} / {len(one.newly_right):,}"


def _p(one: Difference) -> str:
    return p_value(one.p_value).removeprefix("p ").removeprefix("= ").replace("< ", "<")


def batches(result: Comparison) -> Iterator[Section]:
    """Each batch of handwriting: what is read of it, and its drift verdict."""
    rows = (_batch(result, batch, drift) for batch, drift in result.changes.drift.items())
    loud, quiet = _split(rows)
    loud.sort(key=lambda one: one.tone != "worse")
    head = ("batch", "accuracy", "newly wrong / right", "p", "drift")
    right = (1, 2, 3)
    yield Section("batches", "Handwriting: accuracy and drift", loud, head, right, _CORRECTED)
    title = f"{'Other batches' if loud else 'Handwriting'}: no change beyond chance"
    yield Section("batches-quiet", title, quiet, head, right, folded=True, noise=True)


def _batch(result: Comparison, batch: str, drift: Change) -> Row:
    old, new = (one.sets.get(batch) for one in (result.old, result.new))
    change = result.sets.get(batch)
    tone: Tone = ""
    sides, p = NONE, NONE if old is None or new is None else "other images"
    if change:
        quiet = change.outcome in ("same", "chance") and drift.old == drift.new
        tone = _TONES.get(change.outcome, "chance" if quiet else "")
        sides = _wrong_right(change.difference)
        p = _marked(change.outcome, _p(change.difference))
    if any(one and one.in_sample for one in (old, new)):
        p = "in-sample"
    words = {True: "drift", False: "no drift"}
    verdicts = arrow(*(words.get(one, NONE) for one in (drift.old, drift.new)))
    accuracies = arrow(*map(_accuracy, (old, new)))
    return Row(((name(batch),), (accuracies,), (sides,), (p,), (verdicts,)), tone)


def _accuracy(one: ImageSet | None) -> str:
    return NONE if one is None else percent(one.accuracy)


def confusion(result: Comparison) -> Iterator[Section]:
    """What was read as what, more or less often than before."""
    if TEST not in result.sets:
        return
    test = result.sets[TEST]
    loud = test.outcome in _LOUD or any(one.outcome in _LOUD for one in test.digits.values())
    rows = [
        row(one.name, str(one.old), str(one.new), f"{one.new - one.old:+d}")
        for one in result.changes.confusion
    ]
    title = "Confusions on the test set: " + ("what changed most" if loud else "changed by chance")
    rest = len(rows) - _MOST_PAIRS
    note = f"{count(rest, 'more pair')} changed." if rest > 0 else ""
    head, right = ("written, read", *BEFORE_NOW, "change"), (1, 2, 3)
    quiet = not loud
    yield Section(
        "confusion", title, rows[:_MOST_PAIRS], head, right, note, folded=quiet, noise=quiet
    )


def corruptions(result: Comparison) -> Iterator[Section]:
    """The error under each corruption; those that rose more than the policy's limit stand out."""
    if all(one.old == one.new for one in result.changes.corruptions):
        return
    limit = result.policy.max_corrupted_rise
    rows = []
    for one in result.changes.corruptions:
        rose = one.old is not None and one.new is not None and _above(one.new - one.old, limit)
        cells = ((share(one.old),), (share(one.new),), (points(one.old, one.new),))
        rows.append(Row(((name(one.name),), *cells), "worse" if rose else "chance"))
    risen = sum(one.tone == "worse" for one in rows)
    shown = min(risen, _MOST_CORRUPTIONS)
    head, right = ("corruption", "error before", "now", "change"), (1, 2, 3)
    rise = f"more than {100 * limit:.2f} points"
    title = f"MNIST-C: error rose by {rise} on {risen} of {len(rows)} corruptions"
    yield Section("corruptions", title, rows[:shown], head, right)
    title = "MNIST-C: other corruptions" if risen else f"MNIST-C: no error rose by {rise}"
    yield Section(
        "corruptions-quiet", title, rows[shown:], head, right, folded=True, noise=not risen
    )


def curves(result: Comparison) -> Section:
    """The learning curves' last and best values."""
    changed = result.changes.curves
    if all(curve.old == curve.new for curve in changed.values()):
        return Section("curves", "Learning curves")
    epochs = changed["val/loss"]
    rows = [row("epochs", *(str(len(side)) if side else NONE for side in (epochs.old, epochs.new)))]
    for key, what, best in (
        ("val/accuracy", "validation accuracy", max),
        ("val/loss", "validation objective", min),
        ("train/accuracy", "training accuracy", None),
        ("train/loss", "training objective", None),
    ):
        show = percent if key.endswith("accuracy") else "{:.4f}".format
        both = (changed[key].old, changed[key].new)
        rows.append(row(f"{what}, last", *(show(side[-1]) if side else NONE for side in both)))
        if best is not None:
            rows.append(row(f"{what}, best", *(_best(side, best, show) for side in both)))
    return Section("curves", "Learning curves", rows, ("", *BEFORE_NOW), (1, 2), folded=True)


def _best(curve: Sequence[float], best: Any, show: Any) -> str:
    if not curve:
        return NONE
    top = best(curve)
    return f"{show(top)} (epoch {curve.index(top) + 1})"


def metrics(result: Comparison) -> Section:
    """Everything else that is a number in reports/metrics.json."""
    rows = [
        Row(((name(one.name),), *(((_decimal(side)),) for side in (one.old, one.new))))
        for one in result.changes.metrics
    ]
    title = f"Other metrics: {len(rows)} changed"
    return Section("metrics", title, rows, ("", *BEFORE_NOW), (1, 2), folded=True, noise=True)


def _decimal(number: float | None) -> str:
    return NONE if number is None else f"{number:.6g}"
