"""The gate's verdict as Markdown, JSON and pictures, below build/gate."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from digits.core import files
from digits.core.errors import DataError
from digits.core.project import Project
from digits.formatting import markdown_table, markdown_text
from digits.gate import pictures
from digits.gate.infrastructure import Trial
from digits.gate.judgement import Finding, Judgement, Status
from digits.registry.decision import Decision

HEADLINES = {
    "promote": "✅ Promote: may ship",
    "keep": "✅ Keep the champion",
    "reject": "❌ Reject: must not ship",
    "cannot judge": "⚠️ Can't be judged",
}
SYMBOLS: dict[Status, str] = {
    "pass": "✓",
    "better": "▲ better",
    "worse": "▼ worse",
    "fail": "✗ fails",
    "unknown": "? unknown",
    "warning": "! note",
}
_ORDER: tuple[Status, ...] = ("fail", "worse", "unknown", "warning", "better", "pass")
_CAPTIONS = {"newly wrong": "newly-wrong.png", "newly right": "newly-right.png"}


def headline(result: Judgement) -> str:
    """The verdict and who was compared, in one line."""
    against = f" against {result.champion}, the champion" if result.champion else ""
    first = "" if result.champion else " (no champion yet)"
    return f"{HEADLINES[result.verdict]} · {result.challenger}{against}{first}"


def others(result: Judgement) -> list[Finding]:
    """The findings that are no reasons of the verdict, what weighs most first."""
    found = [one for one in result.findings if one.text not in result.reasons]
    return sorted(found, key=lambda one: _ORDER.index(one.status))


def document(decision: Decision) -> dict[str, Any]:
    """The judgement with the commits that it compares and the trials, as plain types."""
    sides = {"challenger_commit": decision.challenger.commit}
    sides["champion_commit"] = decision.champion.commit if decision.champion else None
    trials = {digest: asdict(trial) for digest, trial in decision.trials.items()}
    return decision.judgement.as_dict() | sides | {"trials": trials}


def known_trials(project: Project) -> dict[str, Trial]:
    """The trials of the last `digits gate`, for `decide`; empty if there was none."""
    try:
        stored = files.read_json(project.gate_report / "gate.json")["trials"]
        return TypeAdapter(dict[str, Trial]).validate_python(stored)
    except (DataError, KeyError, TypeError, ValidationError):
        return {}


def markdown(decision: Decision, images: bool = True) -> str:
    """The verdict, its reasons, and everything else that was checked.

    Args:
        images: refer to the pictures that `write` puts beside the file.
    """
    result = decision.judgement
    reasons = "\n".join(f"- {markdown_text(reason)}" for reason in result.reasons)
    rows = [
        (SYMBOLS[one.status], markdown_text(one.check), markdown_text(one.text))
        for one in others(result)
    ]
    parts = [f"## {markdown_text(headline(result))}", reasons]
    parts.append(markdown_table(("", "checked, too", "finding"), rows) if rows else "")
    for side, tiles in decision.tiles.items() if images else ():
        if any(tile.image is not None for tile in tiles):
            parts.append(f"**{len(tiles)} {side}**\n\n![{side}]({_CAPTIONS[side]})")
    return "\n\n".join(filter(None, parts)) + "\n"


def write(project: Project, decision: Decision) -> Path:
    """Write gate.json, gate.md and the pictures; returns their folder."""
    with files.replacing_folder(project.gate_report) as folder:
        files.write_json(folder / "gate.json", document(decision))
        files.write_text(folder / "gate.md", markdown(decision))
        for side, tiles in decision.tiles.items():
            if any(tile.image is not None for tile in tiles):
                (folder / _CAPTIONS[side]).write_bytes(pictures.draw(tiles))
    return project.gate_report
