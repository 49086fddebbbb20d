"""The first lines of a comparison: the verdict, its reasons, what changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from digits.formatting import percent
from digits.gate.comparison import Comparison, Reason, p_value, sides
from digits.gate.evidence import TEST
from digits.reports.comparison.document import Name, Text, count, name, sentence, value

_MAX_SHORT = 9  # further reasons of a kind named in one line
_MAX_BATCHES = 3
_HEADLINES = {
    "regression": "❌ Regression",
    "better": "✅ Better",
    "no change": "✅ No change beyond chance",
    "same": "✅ Same model",
    "cannot judge": "⚠️ Can't be judged",
    "no results before": "✅ First results",
}


@dataclass(frozen=True)
class Head:
    """The first lines: the verdict, the revision compared with, reasons, what changed.

    `alarms` must be seen: a policy that was loosened. `notes` may be small.
    """

    headline: str
    base: Text
    alarms: list[str]
    reasons: list[str]
    inputs: Text
    notes: list[str]


def head(result: Comparison) -> Head:
    """The verdict and its reasons in a few lines."""
    alarms = [f"the policy was loosened: {'; '.join(result.loosened)}"] if result.loosened else []
    return Head(
        headline=_HEADLINES[result.verdict],
        base=base(result),
        alarms=[sentence(alarm) for alarm in alarms],
        reasons=[sentence(reason) for reason in _reasons(result)],
        inputs=_inputs(result),
        notes=[sentence(note) for note in _notes(result)],
    )


def base(result: Comparison) -> Text:
    """The revision that the tree is compared with."""
    commit = result.commit[:7]
    if result.commit.startswith(result.base):
        return (Name(commit),)
    return (name(result.base), f" ({commit})")


def _reasons(result: Comparison) -> list[str]:
    if result.verdict == "cannot judge":
        return [unknown(result)]
    if result.worse:
        lines = _listed(result.worse, "Also worse")
        return [*lines, f"Better: {_items(result.better)}"] if result.better else lines
    if result.verdict == "no results before":
        return [f"{result.base} has no reports/metrics.json to compare with"]
    if result.better:
        return _listed(result.better, "Also better")
    return [_by_chance(result)] if TEST in result.sets else []


def _listed(reasons: Sequence[Reason], more: str) -> list[str]:
    first, *others = reasons
    return [first.text, *([f"{more}: {_items(others)}"] if others else [])]


def _items(reasons: Sequence[Reason]) -> str:
    """The reasons in short, by groups."""
    groups: dict[str, list[str]] = {}
    for one in reasons:
        groups.setdefault(one.group, []).append(one.short)
    lists = []
    for group, items in groups.items():
        rest = len(items) - _MAX_SHORT
        more = [f"and {rest:,} more"] if rest > 0 else []
        lists.append(f"{group} {', '.join([*items[:_MAX_SHORT], *more])}".strip())
    return "; ".join(lists)


def unknown(result: Comparison) -> str:
    """Why there can't be a verdict."""
    text = "; ".join(result.unknown[:3])
    stale = bool(result.consistency.stale)
    return f"{text}. Run 'digits run' and commit the results" if stale else text


def _by_chance(result: Comparison) -> str:
    test = result.sets[TEST]
    if test.outcome == "same":
        n = len(result.new.sets[TEST].misread)
        return f"the same {n:,} of {test.difference.n:,} test images are misread"
    figures = f"accuracy on the test set {percent(test.old)} → {percent(test.new)}"
    chance = p_value(test.difference.p_value)
    return f"{figures} ({sides(test.difference)}); chance explains this ({chance})"


def _notes(result: Comparison) -> list[str]:
    notes = []
    if result.verdict == "regression" and result.unknown:
        notes.append(f"moreover, {unknown(result)}.")
    if result.verdict == "cannot judge" and result.worse:
        notes.append(f"as reported, it is worse: {_items(result.worse)}.")
    elif result.verdict == "cannot judge" and not result.better and TEST in result.sets:
        notes.append(f"as reported: {_by_chance(result)}.")
    if result.broken:
        notes.append(f"limits that the policy sets and {result.base} breaks, too: ")
        notes[-1] += f"{'; '.join(result.broken)}."
    if files := result.consistency.uncommitted:
        notes.append(f"{count(len(files), 'file')} not committed.")
    return [*notes, *([result.rebuild] if result.rebuild else [])]


# what changed


def _inputs(result: Comparison) -> Text:
    """What changed among parameters, data and code, in one line."""
    changes = result.changes
    found: list[Text] = []
    for change in changes.parameters[:2]:
        found.append((name(change.name), " ", value(change.old), " → ", value(change.new)))
    if (rest := len(changes.parameters) - 2) > 0:
        found.append((f"{count(rest, 'more parameter')}",))
    if changes.data or changes.counts:
        found += [("data",), *_batches(result)]
    if changes.code:
        found.append((f"{count(len(changes.code), 'file')} of code that stages use",))
    if not found:
        return ("Parameters, data and the code of all stages are the same.",)
    fields = {"parameters": changes.parameters, "data": changes.data or changes.counts}
    same = [what for what, change in (fields | {"code": changes.code}).items() if not change]
    pieces = [piece for one in found for piece in (", ", *one)][1:]
    return ("Changed: ", *pieces, f"; same {' and '.join(same)}." if same else ".")


def _batches(result: Comparison) -> list[Text]:
    """Batches that were added or removed."""
    found: list[Text] = []
    for change in result.changes.counts:
        if change.name.startswith("batch ") and (change.old is None) != (change.new is None):
            state = "removed" if change.new is None else "added"
            n = change.old if change.new is None else change.new
            batch = name(change.name.removeprefix("batch "))
            found.append(("batch ", batch, f" {state} ({n:,.0f} images)"))
    rest = len(found) - _MAX_BATCHES
    return [*found[:_MAX_BATCHES], *([(f"and {rest:,} more",)] if rest > 0 else [])]
