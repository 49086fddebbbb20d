"""A model card in words: sections of facts, lists and tables, which every format renders alike."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from digits.formatting import percent
from digits.registry import card
from digits.registry.card import CONFIDENT, Card, State, Weakness
from digits.registry.record import Batch, at, count, mapping, number, pair, text

MISSING = "not recorded"
_WORST_CORRUPTIONS = 3
_MOST_PROBLEMS = 12
_MARKS = {"pass": "✓", "warning": "!", "fail": "✗", "unknown": "?"}


class Code(str):
    """A path, digest or value, to be set in a fixed-width font."""


class Badge(NamedTuple):
    """A short verdict."""

    state: State
    words: str

    def __str__(self) -> str:
        return f"{_MARKS[self.state]} {self.words}"


Cell = str | Badge


@dataclass(frozen=True)
class Table:
    """A table; `right` are the right-aligned columns, `strong` the rows to emphasise."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: Sequence[int] = ()
    strong: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Section:
    """A part of the card. `facts` are pairs of a name and a value, `notes` a list of sentences."""

    id: str
    title: str
    lead: str = ""
    facts: list[tuple[str, Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    picture: str = ""  # a key of Card.pictures
    picture_text: str = ""


def sections(one: Card) -> list[Section]:
    """All sections, in the order in which a reader needs them."""
    return [
        _checks(one),
        _use(one),
        _digits(one),
        _handwriting(one),
        _calibration(one),
        _robustness(one),
        _data(one),
        _provenance(one),
        _parameters(one),
    ]


def title(one: Card) -> str:
    """What the card is about, for its heading."""
    if one.version is None:
        return f"working tree on commit {one.commit[:7]}"
    return f"{one.version}, the champion" if one.champion else one.version


def status(one: Card) -> str:
    """Where the version comes from, in a line."""
    made = one.registration
    parts = [f"registered {_event(made.date, made.by, made.why)}"] if made else []
    if one.parent:
        parts.append(f"developed from {one.parent}")
    elif one.version:
        parts.append("the first version")
    if one.version:
        parts.append(f"commit {one.commit[:7]}")
    return "; ".join(parts)


def summary(one: Card) -> str:
    """The accuracy in a sentence; empty without one."""
    accuracy, n = number(one.test, "accuracy"), count(one.test, "n")
    if accuracy is None or n is None:
        return ""
    errors = count(one.test, "errors")
    misread = "" if errors is None else f", {errors:,} misread"
    interval = _interval(pair(one.test, "accuracy_interval"))
    known = f"; confidence interval {interval}" if interval != MISSING else ""
    return f"accuracy on {n:,} test images of writers unknown to training{misread}{known}"


# sections


def _checks(one: Card) -> Section:
    return Section(
        "checks",
        "Can it be trusted?",
        tables=[Table(("", ""), [list(row) for row in _findings(one)])],
    )


def _findings(one: Card) -> Iterator[tuple[Cell, str]]:
    yield from _belongs_together(one)
    if one.uncommitted:
        yield Badge("warning", "uncommitted"), f"Differs from HEAD: {_listed(one.uncommitted)}"
    yield _gate(one)
    yield _leaks(one)
    valid = card.validation(one.record)
    if valid is None:
        yield Badge("unknown", "data"), "No validation of the data is recorded."
    else:
        met, total = valid
        state: State = "pass" if met == total else "fail"
        yield Badge(state, "data"), f"{met} of {total} expectations on the data are met."
    checked = [batch for batch in one.record.batches.values() if batch.drift is not None]
    drifted = [
        f"{batch.name} (accuracy {_share(batch.accuracy)})" for batch in checked if batch.drift
    ]
    if drifted:
        yield Badge("warning", "drift"), f"Unlike the training data: {_listed(drifted)}."
    elif checked:
        yield Badge("pass", "no drift"), f"No drift in {len(checked)} checked batches."
    else:
        yield Badge("unknown", "drift"), "No batch of handwriting was checked for drift."


def _gate(one: Card) -> tuple[Badge, str]:
    promotions = one.registration.promotions if one.registration else []
    judged = [promotion for promotion in promotions if promotion.verdict or promotion.forced]
    if not judged:
        name = f" {one.version}" if one.version else ""
        return Badge("unknown", "gate"), f"No verdict of the gate is recorded: 'digits gate{name}'."
    last = judged[-1]
    verdict = f"{last.verdict or 'no verdict'} ({_listed(last.reasons) or 'no reasons'})"
    if last.forced:
        return Badge(
            "warning", "forced"
        ), f"Promoted by force: {last.why}. The gate said: {verdict}"
    return Badge("pass", "gate"), f"The gate's verdict when it was promoted: {verdict}"


def _belongs_together(one: Card) -> Iterator[tuple[Cell, str]]:
    if one.consistent:
        words = "Weights, figures and reports were made from its data, code and parameters."
        yield Badge("pass", "consistent"), words
        return
    if one.consistent is None:
        yield Badge("unknown", "unknown"), "Whether all belongs together can't be checked:"
    else:
        words = "Weights, figures or reports were not made from its data, code and parameters:"
        yield Badge("fail", "inconsistent"), words
    for problem in one.problems[:_MOST_PROBLEMS]:
        yield "", problem


def _leaks(one: Card) -> tuple[Badge, str]:
    leaks = card.leaks(one.record)
    if leaks is None:
        return Badge(
            "unknown", "leaks"
        ), "No check for test images in the training data is recorded."
    found = [f"{n:,} of {text(name).replace('_', ' ')}" for name, n in leaks.items() if n]
    if found:
        return Badge("fail", "leaks"), f"Images are in two splits: {_listed(found)}."
    words = "No test image is among the training or validation images, by id or SHA-256."
    return Badge("pass", "no leaks"), words


def _use(one: Card) -> Section:
    notes = [
        "One digit per picture. Several digits, letters and scribbles are also read as one digit, "
        "often confidently: there is no answer 'none of these'.",
        "MNIST's writers were US census staff and high-school students around 1990. Other "
        "handwriting, such as a 7 with a bar, can be read worse: test it with 'digits drift'.",
    ]
    if one.confident_errors:
        errors = count(one.test, "errors")
        total = f" of its {errors:,}" if errors is not None else ""
        notes.append(
            f"A threshold on confidence doesn't catch everything: {one.confident_errors:,}{total} "
            f"errors on the test set have a confidence of at least {100 * CONFIDENT:.0f} %."
        )
    notes += [*_weaknesses(one)]
    return Section(
        "use",
        "What it is for, and what not",
        "It reads a single handwritten digit, 0–9, dark on light or light on dark, and gives a "
        "probability for each digit: 'digits predict'.",
        notes=notes,
    )


def _weaknesses(one: Card) -> Iterator[str]:
    accuracy = number(one.test, "accuracy")
    against = "" if accuracy is None else f", against {percent(accuracy)} overall"
    if digits := one.weak_digits():
        yield f"Weak digits: {_named(digits)}{against}."
    elif worst := _lowest_recall(one):
        yield f"No digit is clearly weak; lowest recall: {worst}{against}."
    if batches := one.weak_batches():
        yield f"Other handwriting that it reads clearly worse: {_named(batches)}{against}."
    worst_corruptions = _corruptions(one)[:_WORST_CORRUPTIONS]
    if worst_corruptions:
        listed = ", ".join(
            f"{name} ({percent(error)} misread)" for name, error in worst_corruptions
        )
        yield f"Damaged pictures that it reads worst: {listed}."


def _digits(one: Card) -> Section:
    figures = mapping(one.test, "per_digit")
    weak = {weakness.name for weakness in one.weak_digits()}
    names = sorted(figures)
    rows = [
        (
            text(name),
            _count(count(figures, name, "n")),
            _share(number(figures, name, "recall")),
            _interval(pair(figures, name, "recall_interval")),
            _share(number(figures, name, "precision")),
        )
        for name in names
    ]
    head = ("Digit", "Images", "Recall", "Interval", "Precision")
    strong = frozenset(row for row, name in enumerate(names) if name in weak)
    facts: list[tuple[str, Cell]] = [
        (name, f"{_share(number(one.test, key))} ({_interval(pair(one.test, f'{key}_interval'))})")
        for name, key in (
            ("Macro precision", "precision"),
            ("Macro recall", "recall"),
            ("Macro F1", "f1"),
        )
        if number(one.test, key) is not None
    ]
    validation = number(one.record.metrics, "val", "accuracy")
    facts.append(
        ("Accuracy on validation images, on which the model was chosen", _share(validation))
    )
    return Section(
        "digits",
        "Accuracy per digit",
        "Recall: the share of a digit's images that are read as it. "
        + ("In bold: digits whose interval is below the accuracy of all." if weak else ""),
        facts=facts,
        tables=[Table(head, rows, range(1, len(head)), strong)] if rows else [],
        picture="per_digit",
        picture_text="Recall with its confidence interval, and precision, of each digit.",
    )


def _handwriting(one: Card) -> Section:
    batches = one.record.batches.values()
    head = ("Batch", "Images", "Accuracy", "Interval", "Estimated", "Training", "Drift")
    rows = [
        (
            text(batch.name),
            _count(batch.n),
            _share(batch.accuracy),
            _interval(batch.interval),
            _share(batch.estimated_accuracy),
            _training(batch),
            _drift(batch),
        )
        for batch in batches
    ]
    notes = [
        f"{batch.name}: differs most in {_listed(batch.drifted, 5)}"
        for batch in batches
        if batch.drifted
    ]
    reference = count(one.record.drift, "reference", "n")
    window = "" if reference is None else f" {reference:,}"
    return Section(
        "handwriting",
        "Other handwriting",
        f"Each batch is compared with{window} validation images, the drift reference. 'In-sample' "
        "accuracy is on images that the model was trained on: it says nothing about new ones. "
        "'Estimated' is what drift detection expects without labels."
        if rows
        else "No batch of other handwriting was read or checked for drift.",
        tables=[Table(head, rows, (1, 2, 3, 4))] if rows else [],
        notes=notes,
    )


def _training(batch: Batch) -> Cell:
    if batch.trained_on:
        number_of = f" ({batch.in_sample:,} images)" if batch.in_sample else ""
        return Badge("warning", f"in-sample{number_of}")
    return MISSING if batch.trained_on is None else "not trained on"


def _drift(batch: Batch) -> Cell:
    if batch.drift is None:
        return Badge("unknown", "no verdict" if batch.drift_checked else "not checked")
    return Badge("warning", "drift") if batch.drift else Badge("pass", "no drift")


def _calibration(one: Card) -> Section:
    error = number(one.test, "calibration_error")
    confident = MISSING if one.confident_errors is None else f"{one.confident_errors:,}"
    return Section(
        "calibration",
        "Calibration",
        "How far the confidence is from the accuracy, on average: of images that are read with a "
        "confidence of 90 %, about 90 % should be right.",
        facts=[
            ("Calibration error on the test set", _share(error)),
            (
                "On the validation set",
                _share(number(one.record.metrics, "val", "calibration_error")),
            ),
            (
                f"Misread test images with a confidence of at least {100 * CONFIDENT:.0f} %",
                confident,
            ),
        ],
        picture="calibration",
        picture_text="Reliability diagram: accuracy against confidence.",
    )


def _robustness(one: Card) -> Section:
    rows = [(name, percent(error)) for name, error in _corruptions(one)]
    mean = number(one.record.metrics, "corrupted", "mean_error")
    return Section(
        "robustness",
        "Robustness",
        "The share of test images that are misread under each corruption of MNIST-C (Mu and Gilmer "
        "2019). Training doesn't use these corruptions, only milder distortion.",
        facts=[("Mean share misread", _share(mean))],
        tables=[Table(("Corruption", "Misread"), rows, (1,))] if rows else [],
    )


def _data(one: Card) -> Section:
    facts: list[tuple[str, Cell]] = [
        ("Data version (MD5)", Code(one.data) if one.data else MISSING)
    ]
    names = {
        "train": "Training images",
        "val": "Validation images, by other writers than training",
        "test": "Test images, by other writers than both",
    }
    facts += [(words, _count(one.images(split))) for split, words in names.items()]
    trained = one.record.train_batches
    listed = MISSING if trained is None else ", ".join(["MNIST", *trained])
    facts.append(("Trained on", listed))
    others = [batch.name for batch in one.record.batches.values() if not batch.trained_on]
    facts.append(("In the data, not trained on", ", ".join(others) or "none"))
    return Section("data", "Training data", facts=facts)


def _provenance(one: Card) -> Section:
    facts: list[tuple[str, Cell]] = [("Commit" if one.version else "HEAD", Code(one.commit))]
    registration = one.registration
    if registration:
        words = _event(registration.date, registration.by, registration.why)
        facts.append(("Registered", words))
        signed = "yes; 'digits models verify' checks it" if registration.signed else "no"
        facts.append(("Signed", signed))
        for one_of in registration.promotions:
            why = f"forced: {one_of.why}" if one_of.forced else one_of.why
            event = one_of.event[0].upper() + one_of.event[1:]
            facts.append((event, _event(one_of.date, one_of.by, why)))
    facts.append(("Parent version", one.parent or "none"))
    found = one.record.card
    parameters = count(found, "parameters")
    name = text(at(found, "model") or MISSING)
    size = "" if parameters is None else f", {parameters:,} weights"
    facts.append(("Network", f"{name}{size}"))
    facts += [(f"SHA-256 of {path}", Code(digest)) for path, digest in one.record.weights.items()]
    libraries = [
        f"{text(key)} {text(value)}" for key, value in mapping(found, "built_with").items()
    ]
    facts.append(("Libraries", ", ".join(libraries) or MISSING))
    lock = Code(one.environment) if one.environment else MISSING
    facts.append(("SHA-256 of requirements.lock", lock))
    return Section("provenance", "Where it comes from", facts=facts)


def _parameters(one: Card) -> Section:
    facts: list[tuple[str, Cell]] = [
        (text(name), Code(_value(value))) for name, value in one.record.parameters.items()
    ]
    lead = "The values that its results were made with, from dvc.lock."
    return Section("parameters", "Parameters", lead if facts else MISSING, facts=facts)


# words


def _corruptions(one: Card) -> list[tuple[str, float]]:
    """Corruption → share misread, worst first."""
    found = mapping(one.record.metrics, "corrupted")
    errors = [
        (text(name).removesuffix("_error").replace("_", " "), error)
        for name in found
        if name != "mean_error" and (error := number(found, name)) is not None
    ]
    return sorted(errors, key=lambda row: (-row[1], row[0]))


def _lowest_recall(one: Card) -> str:
    figures = mapping(one.test, "per_digit")
    recalls = [
        (recall, text(name)) for name in figures if (recall := number(figures, name, "recall"))
    ]
    if not recalls:
        return ""
    recall, name = min(recalls)
    return f"{name} ({percent(recall)})"


def _named(weak: list[Weakness]) -> str:
    return ", ".join(f"{one.name} ({percent(one.accuracy)})" for one in weak)


def _event(date: str, by: str, reason: str) -> str:
    on = " by ".join(filter(None, (date[:10], by))) or MISSING
    return f"{on}: {reason}" if reason else on


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _value(value: Any) -> str:
    return text(value if isinstance(value, str) else json.dumps(value, default=str))


def _share(value: float | None) -> str:
    return MISSING if value is None else percent(value)


def _count(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"


def _interval(ends: tuple[float, float] | None) -> str:
    return MISSING if ends is None else f"{100 * ends[0]:.2f} – {percent(ends[1])}"


def figures(one: Card) -> list[tuple[str, str]]:
    """The few figures to know first."""
    found: list[tuple[str, Any]] = [
        ("Misread", _count(count(one.test, "errors"))),
        ("Calibration error", _share(number(one.test, "calibration_error"))),
        ("Misread under corruption", _share(number(one.record.metrics, "corrupted", "mean_error"))),
        ("Training images", _count(one.images("train"))),
    ]
    return [(name, value) for name, value in found if value != MISSING]
