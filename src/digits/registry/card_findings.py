"""What decides whether to use a model: can it be trusted, what is it for, where is it weak?"""

from collections.abc import Iterator

from digits.formatting import percent
from digits.gate.evidence import figure
from digits.registry import card
from digits.registry.card import CONFIDENT, Card, State, Weakness
from digits.registry.card_elements import Badge, Cell, Section, Table, share
from digits.registry.record import count, mapping, text
from digits.versioning.consistency import listed

_WORST_CORRUPTIONS = 3
_MOST_PROBLEMS = 12
_MOST = 8  # names in a sentence


def checks(one: Card) -> Section:
    """Whether its figures can be relied on."""
    return Section(
        "checks",
        "Can it be trusted?",
        tables=[Table(("", ""), [list(row) for row in _findings(one)])],
    )


def _findings(one: Card) -> Iterator[tuple[Cell, str]]:
    yield from _belongs_together(one)
    if one.uncommitted:
        yield (
            Badge("warning", "uncommitted"),
            f"Differs from HEAD: {listed(one.uncommitted, _MOST)}",
        )
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
        f"{batch.name} (accuracy {share(batch.accuracy)})" for batch in checked if batch.drift
    ]
    if drifted:
        yield Badge("warning", "drift"), f"Unlike the training data: {listed(drifted, _MOST)}."
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
    verdict = f"{last.verdict or 'no verdict'} ({listed(last.reasons, _MOST) or 'no reasons'})"
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
        return Badge("fail", "leaks"), f"Images are in two splits: {listed(found, _MOST)}."
    words = "No test image is among the training or validation images, by id or SHA-256."
    return Badge("pass", "no leaks"), words


def use(one: Card) -> Section:
    """What it is for, and its limits."""
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
    accuracy = figure(one.test, "accuracy")
    against = "" if accuracy is None else f", against {percent(accuracy)} overall"
    if digits := one.weak_digits():
        yield f"Weak digits: {_named(digits)}{against}."
    elif worst := _lowest_recall(one):
        yield f"No digit is clearly weak; lowest recall: {worst}{against}."
    if batches := one.weak_batches():
        yield f"Other handwriting that it reads clearly worse: {_named(batches)}{against}."
    worst_corruptions = corruptions(one)[:_WORST_CORRUPTIONS]
    if worst_corruptions:
        listed = ", ".join(
            f"{name} ({percent(error)} misread)" for name, error in worst_corruptions
        )
        yield f"Damaged pictures that it reads worst: {listed}."


def corruptions(one: Card) -> list[tuple[str, float]]:
    """Corruption → share misread, worst first."""
    found = mapping(one.record.metrics, "corrupted")
    errors = [
        (text(name).removesuffix("_error").replace("_", " "), error)
        for name in found
        if name != "mean_error" and (error := figure(found, name)) is not None
    ]
    return sorted(errors, key=lambda row: (-row[1], row[0]))


def _lowest_recall(one: Card) -> str:
    figures = mapping(one.test, "per_digit")
    recalls = [
        (recall, text(name)) for name in figures if (recall := figure(figures, name, "recall"))
    ]
    if not recalls:
        return ""
    recall, name = min(recalls)
    return f"{name} ({percent(recall)})"


def _named(weak: list[Weakness]) -> str:
    return ", ".join(f"{one.name} ({percent(one.accuracy)})" for one in weak)
