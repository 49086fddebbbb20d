"""The inbox: finds new batches of handwriting, checks them for drift and describes the results.

Each folder or file in the inbox is a batch, which is checked once nothing in it changes any more.
Batches stay in the inbox; name and SHA-256 of those checked are recorded in build/state.
"""

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from digits.core import files
from digits.core.errors import DataError, DigitsError
from digits.core.project import Project
from digits.formatting import markdown_table, markdown_text

if TYPE_CHECKING:
    from digits.drift.detector import DriftDetector, DriftResult

_SAFE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
ALARMS = ("harmful", "drift")  # statuses that somebody should know of
_STATUSES = {"harmful": "harm in", "drift": "drift in", "unreadable": "nothing readable in"}
_EXAMPLES = 3  # how many refused files and drifted features to list


@dataclass(frozen=True)
class Batch:
    """A folder or file in the inbox.

    Attributes:
        name: as in the inbox, or a similar name that is safe in file names and tables.
        sha256: of all names and contents.
    """

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class CheckedBatch:
    """The result of checking a batch.

    Attributes:
        n: number of readable images.
        refused: name and reason of each unreadable file.
        result: None if no image could be read.
    """

    name: str
    n: int
    refused: tuple[tuple[str, str], ...]
    result: "DriftResult | None"

    @property
    def status(self) -> Literal["harmful", "drift", "no drift", "unreadable"]:
        if self.result is None:
            return "unreadable"
        return "no drift" if self.result.verdict == "none" else self.result.verdict

    @property
    def moved(self) -> dict[str, float]:
        """Drifted features and their distances from the reference, largest first."""
        tests = self.result.tests if self.result else {}
        distances = {name: test["distance"] for name, test in tests.items() if test["drift"]}
        return dict(sorted(distances.items(), key=lambda item: -item[1]))


def new_batches(inbox: Path, known: Mapping[str, str], quiet: float = 30) -> list[Batch]:
    """The complete batches that haven't been checked, sorted by name; none without an inbox.

    Batches that are hidden, end in '.part' or changed within the last `quiet` seconds count as
    incomplete.

    Args:
        known: name → SHA-256 of each batch that has been checked.

    Raises:
        DataError: the inbox isn't a readable folder.
    """
    if not inbox.exists():
        return []
    try:
        paths = sorted(inbox.iterdir())
    except OSError as exc:
        raise DataError(f"{inbox}: not a readable folder ({exc.strerror})") from exc
    visible = (p for p in paths if not p.name.startswith(".") and not p.name.endswith(".part"))
    batches = (_complete_batch(path, quiet) for path in visible)
    return [b for b in batches if b and known.get(b.name) != b.sha256]


def load_detector(project: Project) -> "DriftDetector":
    """The drift detector of the project's model.

    Raises:
        DataError: the model or its reference window is missing.
    """
    from digits.drift.detector import DriftDetector

    try:
        return DriftDetector.load(project.root)
    except DigitsError as exc:
        raise DataError(f"new batches can't be checked without a model: {exc}") from exc


def check(project: Project, batch: Batch, detector: "DriftDetector") -> CheckedBatch:
    """Read a batch and compare it with the reference window."""
    from digits.intake import intake

    if batch.path.is_symlink() or not (batch.path.is_file() or batch.path.is_dir()):
        return CheckedBatch(batch.name, 0, ((batch.name, "neither a file nor a folder"),), None)
    try:
        parsed = intake.parse(batch.path)
    except DigitsError as exc:
        return CheckedBatch(batch.name, 0, ((batch.name, str(exc)),), None)
    refused = tuple((str(file), str(reason)) for file, reason in parsed.refused)
    n = len(parsed.images)
    result = detector.check(parsed.images, parsed.labels) if n else None
    return CheckedBatch(batch.name, n, refused, result)


def known_batches(project: Project) -> dict[str, str]:
    """Name → SHA-256 of each batch that has been checked.

    Raises:
        DataError: the record is damaged.
    """
    path = _record(project)
    return dict(files.read_json(path)) if path.exists() else {}


def record(project: Project, batch: Batch, checked: CheckedBatch) -> None:
    """Write build/monitor/<batch>.json, and record that the batch has been checked."""
    document = {
        **(checked.result.as_dict() if checked.result else {"drift": None, "verdict": None}),
        "name": batch.name,
        "sha256": batch.sha256,
        "status": checked.status,
        "n": checked.n,
        "refused": [{"file": _printable(f), "reason": _printable(r)} for f, r in checked.refused],
    }
    files.write_json(project.build / "monitor" / f"{batch.name}.json", document)
    files.write_json(_record(project), {**known_batches(project), batch.name: batch.sha256})


def event_payload(checked: CheckedBatch) -> dict[str, Any]:
    """The payload of a batch's Prefect event."""
    result = checked.result
    return {
        "batch": checked.name,
        "status": checked.status,
        "n": checked.n,
        "refused": len(checked.refused),
        "p_value": result.p_value if result else None,
        "estimated_accuracy": result.estimated_accuracy if result else None,
        "no_digit_share": result.no_digit_share if result else None,
        "moved": checked.moved,
    }


def headline(checked: Sequence[CheckedBatch]) -> str:
    """All batches in one line, the harmful ones first."""
    named = {s: [c.name for c in checked if c.status == s] for s in _STATUSES}
    batches = f"{len(checked)} new batch{'es' if len(checked) != 1 else ''}"
    found: list[str] = []
    for status, words in _STATUSES.items():
        if named[status]:
            count = f"{len(named[status])} of {batches}" if not found else str(len(named[status]))
            found.append(f"{words} {count}: {', '.join(named[status])}")
    if found:
        return "; ".join(found)
    return f"no drift in {batches}"


def summary(checked: CheckedBatch) -> str:
    """One batch in a few sentences."""
    result = checked.result
    if result is None:
        text = f"{checked.name}: nothing in it can be read."
    else:
        verdict = checked.status.upper() if result.verdict != "none" else checked.status
        text = (
            f"{checked.name}: {verdict} in {checked.n:,} images (p = {result.p_value:.2g}); "
            f"estimated accuracy {result.estimated_accuracy:.1%}, no digit in "
            f"{result.no_digit_share:.0%}."
        )
    return text + _describe_moved(checked.moved) + _describe_refused(checked.refused)


def markdown(checked: Sequence[CheckedBatch]) -> str:
    """A report on all batches: the headline, a table, details, what to do next."""
    line = headline(checked)
    head = [
        *("batch", "images", "refused", "verdict", "p", "estimated accuracy", "no digit"),
        "moved",
    ]
    blocks = [
        f"**{markdown_text(line[0].upper() + line[1:])}.**",
        markdown_table(head, map(_row, checked), right=(1, 2, 4, 5, 6)),
    ]
    blocks += [markdown_text(summary(c)) for c in checked if c.moved or c.refused]
    if any(c.status == "harmful" for c in checked):
        blocks.append(
            "Don't trust what the model reads in a harmful batch. Look at the pictures first: "
            "other things than digits, a new scanner or pen are easy to see. If the handwriting "
            "is fine, label it, add it with `digits add --accept-drift` and train on it."
        )
    elif any(c.status == "drift" for c in checked):
        blocks.append(
            "Drift that does no harm: the model reads these about as well as its test data."
        )
    return "\n\n".join(blocks) + "\n"


def _row(checked: CheckedBatch) -> list[str]:
    result, moved = checked.result, list(checked.moved)
    return [
        markdown_text(checked.name),
        f"{checked.n:,}",
        f"{len(checked.refused):,}",
        f"**{checked.status.upper()}**" if checked.status in ALARMS else checked.status,
        f"{result.p_value:.2g}" if result else "–",
        f"{result.estimated_accuracy:.3f}" if result else "–",
        f"{result.no_digit_share:.0%}" if result else "–",
        ", ".join(moved[:_EXAMPLES]) + (", …" if len(moved) > _EXAMPLES else "") or "–",
    ]


def _describe_moved(moved: Mapping[str, float]) -> str:
    """Drifted features in words; only the distance of `digit` isn't in standard deviations."""
    distances = ", ".join(f"{name} by {by:.2f}" for name, by in moved.items() if name != "digit")
    text = f" What moved, in standard deviations: {distances}." if distances else ""
    return text + (" The frequencies of the digits changed." if "digit" in moved else "")


def _describe_refused(refused: Sequence[tuple[str, str]]) -> str:
    if not refused:
        return ""
    listed = "; ".join(f"{_printable(f)} ({_printable(r)})" for f, r in refused[:_EXAMPLES])
    more = len(refused) - _EXAMPLES
    return f" Refused: {listed}" + (f"; and {more:,} more." if more > 0 else ".")


def _record(project: Project) -> Path:
    return project.state / "monitor.json"


def _complete_batch(path: Path, quiet: float) -> Batch | None:
    """The batch at a path; None if it is empty, incomplete or gone."""
    try:
        members = list(_members(path))
        # ctime, because a copy may keep the mtime of its original
        changed = max(p.lstat().st_ctime for p in [path, *members])
        if (path.is_dir() and not members) or time.time() - changed < quiet:
            return None
        return Batch(_safe_name(path.name), path, _sha256(path, members))
    except FileNotFoundError:
        return None


def _members(path: Path) -> Iterator[Path]:
    """Everything below `path` except folders, or `path` itself; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in sorted([*names, *links]))


def _sha256(path: Path, members: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in members:
        digest.update(os.fsencode(file.relative_to(path)) + b"\0")
        digest.update(_fingerprint(file).encode() + b"\0")
    return digest.hexdigest()


def _fingerprint(file: Path) -> str:
    """The file's SHA-256, or its type: pipes and devices may never end, so they aren't opened."""
    mode = file.lstat().st_mode
    if not stat.S_ISREG(mode):
        return f"type {stat.S_IFMT(mode)}"
    try:
        return files.sha256(file)
    except PermissionError:
        return "unreadable"


def _safe_name(name: str) -> str:
    """`name`, if it is safe in file names, tables and logs; else a similar name and a hash."""
    if _SAFE_NAME.fullmatch(name):
        return name
    plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip("_.-")[:80]
    return f"{plain or 'batch'}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def _printable(text: str) -> str:
    text = text.encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
