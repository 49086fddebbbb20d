"""A model card in words: sections of facts, lists and tables, which every format renders alike."""

from typing import Any

from digits.formatting import percent
from digits.gate.evidence import at, figure, pair
from digits.registry import card_findings
from digits.registry.card import CONFIDENT, Card
from digits.registry.card_elements import (
    MISSING,
    Badge,
    Cell,
    Code,
    Section,
    Table,
    amount,
    event,
    interval,
    literal,
    share,
)
from digits.registry.card_findings import corruptions
from digits.registry.record import Batch, count, mapping, text
from digits.versioning.consistency import listed


def sections(one: Card) -> list[Section]:
    """All sections, in the order in which a reader needs them."""
    return [
        card_findings.checks(one),
        card_findings.use(one),
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
    parts = [f"registered {event(made.date, made.by, made.why)}"] if made else []
    if one.parent:
        parts.append(f"developed from {one.parent}")
    elif one.version:
        parts.append("the first version")
    if one.version:
        parts.append(f"commit {one.commit[:7]}")
    return "; ".join(parts)


def summary(one: Card) -> str:
    """The accuracy in a sentence; empty without one."""
    accuracy, n = figure(one.test, "accuracy"), count(one.test, "n")
    if accuracy is None or n is None:
        return ""
    errors = count(one.test, "errors")
    misread = "" if errors is None else f", {errors:,} misread"
    ends = pair(one.test, "accuracy_interval")
    known = f"; confidence interval {interval(ends)}" if ends else ""
    return f"accuracy on {n:,} test images of writers unknown to training{misread}{known}"


# sections


def _digits(one: Card) -> Section:
    figures = mapping(one.test, "per_digit")
    weak = {weakness.name for weakness in one.weak_digits()}
    names = sorted(figures)
    rows = [
        (
            text(name),
            amount(count(figures, name, "n")),
            share(figure(figures, name, "recall")),
            interval(pair(figures, name, "recall_interval")),
            share(figure(figures, name, "precision")),
        )
        for name in names
    ]
    head = ("Digit", "Images", "Recall", "Interval", "Precision")
    strong = frozenset(row for row, name in enumerate(names) if name in weak)
    facts: list[tuple[str, Cell]] = [
        (name, f"{share(figure(one.test, key))} ({interval(pair(one.test, f'{key}_interval'))})")
        for name, key in (
            ("Macro precision", "precision"),
            ("Macro recall", "recall"),
            ("Macro F1", "f1"),
        )
        if figure(one.test, key) is not None
    ]
    validation = figure(one.record.metrics, "val", "accuracy")
    facts.append(
        ("Accuracy on validation images, on which the model was chosen", share(validation))
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
            amount(batch.n),
            share(batch.accuracy),
            interval(batch.interval),
            share(batch.estimated_accuracy),
            _training(batch),
            _drift(batch),
        )
        for batch in batches
    ]
    notes = [
        f"{batch.name}: differs most in {listed(batch.drifted, 5)}"
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
    error = figure(one.test, "calibration_error")
    confident = MISSING if one.confident_errors is None else f"{one.confident_errors:,}"
    return Section(
        "calibration",
        "Calibration",
        "How far the confidence is from the accuracy, on average: of images that are read with a "
        "confidence of 90 %, about 90 % should be right.",
        facts=[
            ("Calibration error on the test set", share(error)),
            (
                "On the validation set",
                share(figure(one.record.metrics, "val", "calibration_error")),
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
    rows = [(name, percent(error)) for name, error in corruptions(one)]
    mean = figure(one.record.metrics, "corrupted", "mean_error")
    return Section(
        "robustness",
        "Robustness",
        "The share of test images that are misread under each corruption of MNIST-C (Mu and Gilmer "
        "2019). Training doesn't use these corruptions, only milder distortion.",
        facts=[("Mean share misread", share(mean))],
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
    facts += [(words, amount(one.images(split))) for split, words in names.items()]
    trained = one.record.train_batches
    sources = MISSING if trained is None else ", ".join(["MNIST", *trained])
    facts.append(("Trained on", sources))
    others = [batch.name for batch in one.record.batches.values() if not batch.trained_on]
    facts.append(("In the data, not trained on", ", ".join(others) or "none"))
    return Section("data", "Training data", facts=facts)


def _provenance(one: Card) -> Section:
    facts: list[tuple[str, Cell]] = [("Commit" if one.version else "HEAD", Code(one.commit))]
    registration = one.registration
    if registration:
        words = event(registration.date, registration.by, registration.why)
        facts.append(("Registered", words))
        signed = "yes; 'digits models verify' checks it" if registration.signed else "no"
        facts.append(("Signed", signed))
        for change in registration.promotions:
            why = f"forced: {change.why}" if change.forced else change.why
            name = change.event[0].upper() + change.event[1:]
            facts.append((name, event(change.date, change.by, why)))
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
        (text(name), Code(literal(value))) for name, value in one.record.parameters.items()
    ]
    lead = "The values that its results were made with, from dvc.lock."
    return Section("parameters", "Parameters", lead if facts else MISSING, facts=facts)


def figures(one: Card) -> list[tuple[str, str]]:
    """The few figures to know first."""
    found: list[tuple[str, Any]] = [
        ("Misread", amount(count(one.test, "errors"))),
        ("Calibration error", share(figure(one.test, "calibration_error"))),
        ("Misread under corruption", share(figure(one.record.metrics, "corrupted", "mean_error"))),
        ("Training images", amount(one.images("train"))),
    ]
    return [(name, value) for name, value in found if value != MISSING]
