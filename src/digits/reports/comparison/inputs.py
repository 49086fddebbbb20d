"""Sections on what went in: parameters, data, validation, the policy, code."""

from typing import Any

from digits.gate.comparison import Comparison
from digits.gate.differences import Change
from digits.gate.evidence import ImageSet
from digits.reports.comparison.document import (
    BEFORE_NOW,
    NONE,
    Row,
    Section,
    Text,
    Tone,
    count,
    name,
    number,
    row,
    value,
)

_DATA = {"md5": "version (MD5)", "files": "files", "size": "bytes"}


def parameters(result: Comparison) -> Section:
    """The parameters that a stage uses."""
    rows = [_change(one) for one in result.changes.parameters]
    unused = result.changes.unused
    note = f"{count(unused, 'value')} changed that no stage uses." if unused else ""
    if not rows and unused:
        return Section("parameters", "Parameters", [row(note)], folded=True, noise=True)
    return Section("parameters", f"Parameters: {len(rows)} changed", rows, note=note)


def policy(result: Comparison) -> Section:
    """The limits of the gate."""
    loosened = {text.split(" ")[0] for text in result.loosened}
    rows = [
        Row(_change(one).cells, "worse" if one.name in loosened else "")
        for one in result.changes.policy
    ]
    title = f"Policy of the gate: {count(len(rows), 'limit')} changed"
    return Section("policy", title, rows, folded=not loosened)


def _change(one: Change) -> Row:
    return Row(((name(one.name), ": ", value(one.old), " → ", value(one.new)),))


def data(result: Comparison) -> Section:
    """The data version, the number of images, batches that came or went."""
    rows = []
    for one in result.changes.data:
        cells = (_short(one.old), _short(one.new))
        rows.append(Row(((_DATA.get(one.name, one.name),), *((cell,) for cell in cells))))
    for one in result.changes.counts:
        batch = one.name.removeprefix("batch ")
        if batch == one.name:
            rows.append(row(f"{one.name} images", number(one.old), number(one.new)))
            continue
        title: Text = ("batch ", name(batch))
        rows.append(Row((title, (number(one.old),), (number(one.new),))))
        sides = [side.sets.get(batch) for side in (result.old, result.new)]
        for word, edge in (("rarest", min), ("most frequent", max)):
            if any(sides):
                rows.append(row(f"its {word} digit", *(_extreme(side, edge) for side in sides)))
    return Section("data", "Data", rows, ("", *BEFORE_NOW), (1, 2))


def _short(content: Any) -> str:
    return number(content) if isinstance(content, int) else value(content)[:12]


def _extreme(one: ImageSet | None, edge: Any) -> str:
    """A digit and its share: `4: 8.1 %`."""
    if one is None or not one.counts:
        return NONE
    digit, n = edge(one.counts.items(), key=lambda item: item[1])
    return f"{digit}: {100 * n / one.n:.1f} %"


def validation(result: Comparison) -> Section:
    """The expectations whose answer changed."""
    words = {True: "met", False: "not met"}
    rows = []
    for one in result.changes.validation:
        old, new = (words.get(side, NONE) for side in (one.old, one.new))
        tone: Tone = "worse" if one.new is False else ""
        rows.append(Row(((name(one.name),), (old,), (new,)), tone))
    title = f"Data validation: {count(len(rows), 'expectation')} changed"
    return Section("validation", title, rows, ("expectation", *BEFORE_NOW))


def code(result: Comparison) -> Section:
    """The files that a stage depends on; others are counted."""
    rows = [Row(((name(path),),)) for path in result.changes.code]
    others = len(result.changes.other_code)
    note = f"{count(others, 'other file')} of code changed, which no stage uses." if others else ""
    if not rows and others:
        return Section("code", "Code", [row(note)], folded=True, noise=True)
    title = f"Code of stages: {count(len(rows), 'file')} changed"
    return Section("code", title, rows, note=note, folded=True)


def plots(result: Comparison) -> Section:
    """The plots that changed."""
    rows = [Row(((name(path),),)) for path in result.changes.plots]
    return Section("plots", f"Plots: {len(rows)} changed", rows, folded=True)


def stale(result: Comparison) -> Section:
    """The stages whose results aren't those of their inputs."""
    rows = [
        Row(((name(stage), ": ", name(", ".join(why))),))
        for stage, why in result.consistency.stale.items()
    ]
    return Section("stale", "Stale stages, and what changed since they ran", rows)


def unrecorded(result: Comparison) -> Section:
    """What the base's reports lack, so that it can't be compared."""
    old, new = result.old.metrics, result.new.metrics
    names = {
        "batches": "accuracy on batches of handwriting",
        "leaks": "whether test images are among the training images",
        "corrupted": "error under MNIST-C",
    }
    missing = [what for key, what in names.items() if old and key in new and key not in old]
    title = f"Not recorded at {result.commit[:7]}"
    return Section("unrecorded", title, [row(what) for what in missing], folded=True)
