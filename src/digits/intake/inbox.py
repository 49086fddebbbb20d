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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from digits.core import files
from digits.core.errors import DataError, DigitsError
from digits.core.project import Project
from digits.formatting import markdown_table, markdown_text

if TYPE_CHECKING:
    import pandas as pd

    from digits.drift.detector import DriftDetector, DriftResult, Seen
    from digits.drift.sequence import Sequence as History
    from digits.drift.sequence import Slow
    from digits.intake.intake import ParsedBatch

_SAFE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
ALARMS = ("harmful", "drift")  # statuses that somebody should know of
_STATUSES = {"harmful": "harm in", "drift": "drift in", "unreadable": "nothing readable in"}
_MOVED = 8  # how many drifted features to describe
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
        read: `name`, `digit` and `confidence` of each image that was looked at.
        history: of all batches with this one; None if it isn't part of a history.
        pictures: in the batch, readable or not.
    """

    name: str
    n: int
    refused: tuple[tuple[str, str], ...]
    result: "DriftResult | None"
    read: "pd.DataFrame | None" = None
    history: "History | None" = None
    pictures: int = 0

    @property
    def status(self) -> Literal["harmful", "drift", "no drift", "unreadable"]:
        if self.result is None:
            return "unreadable"
        return "no drift" if self.result.verdict == "none" else self.result.verdict

    @property
    def slow(self) -> "Slow | None":
        """What the history shows, if it shows a slow drift."""
        if self.history is None or self.result is None:
            return None
        found = self.history.slow(self.result.alpha)
        return found if found.drift else None

    @property
    def begins_slow_drift(self) -> bool:
        """Whether the slow drift is seen with this batch first."""
        return self.slow is not None and self.slow.since == self.name

    @property
    def moved(self) -> dict[str, float]:
        """Drifted features and their distances from the reference, largest first."""
        tests = self.result.tests if self.result else {}
        distances = {name: test["distance"] for name, test in tests.items() if test["drift"]}
        return dict(sorted(distances.items(), key=lambda item: -item[1]))


def new_batches(
    inbox: Path, known: Mapping[str, str], quiet: float = 30
) -> tuple[list[Batch], list[str]]:
    """The batches that haven't been checked, sorted by name, and the names of those that settle.

    There are none without an inbox. Batches that are hidden or end in '.part' are left out; those
    that changed within the last `quiet` seconds still settle.

    Args:
        known: name → SHA-256 of each batch that has been checked.

    Raises:
        DataError: the inbox isn't a readable folder.
    """
    if not inbox.exists():
        return [], []
    try:
        paths = sorted(inbox.iterdir())
    except OSError as exc:
        raise DataError(f"{inbox}: not a readable folder ({exc.strerror})") from exc
    new, settling = [], []
    for path in paths:
        if path.name.startswith(".") or path.name.endswith(".part"):
            continue
        batch = _batch(path, quiet)
        if isinstance(batch, str):
            settling.append(batch)
        elif batch and known.get(batch.name) != batch.sha256:
            new.append(batch)
    return new, settling


def nothing_new(project: Project, inbox: Path, settling: Sequence[str], quiet: float) -> str:
    """Why there is nothing to check."""
    if settling:
        batches = f"{len(settling)} batch{'es' if len(settling) != 1 else ''}"
        return (
            f"waiting for {batches} to settle ({', '.join(settling[:_EXAMPLES])}): checked once "
            f"nothing has changed for {quiet:g} s"
        )
    missing = "" if inbox.is_dir() else ", which does not exist yet"
    return f"no new batches in {project.relative(inbox)}{missing}"


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
    """Read a batch, compare it with the reference, and add this to the dashboard.

    Batches that are within chance, each on its own, make up the history, in which a slow drift is
    seen. Those that drift would hide it, and those like a batch that was trained on are another
    kind of handwriting.
    """
    from digits.drift.change import MAX_ROWS
    from digits.drift.detector import VALIDATION
    from digits.intake import intake

    if batch.path.is_symlink() or not (batch.path.is_file() or batch.path.is_dir()):
        return CheckedBatch(batch.name, 0, ((batch.name, "neither a file nor a folder"),), None)
    try:
        parsed = intake.parse(batch.path, at_most=MAX_ROWS)
    except DigitsError as exc:
        return CheckedBatch(batch.name, 0, ((batch.name, str(exc)),), None)
    seen = detector.look(parsed.images, parsed.total - len(parsed.refused))
    picture = results(project) / f"{batch.name}.png"
    result = detector.judge(seen, parsed.labels, png=picture, name=batch.name)
    detector.add_to_dashboard(project, batch.name, seen, result)
    history = None
    if result.verdict == "none" and result.like == VALIDATION:
        history = detector.follow(_history(project), batch.name, batch.sha256, seen)
    return describe(batch.name, parsed, seen, result, history)


def describe(
    name: str,
    parsed: "ParsedBatch",
    seen: "Seen",
    result: "DriftResult",
    history: "History | None" = None,
) -> CheckedBatch:
    """A batch that was read and judged."""
    import pandas as pd

    read = pd.DataFrame(
        {
            "name": [printable(parsed.names[i]) for i in seen.indices],
            "digit": seen.digits,
            "confidence": seen.probabilities.max(axis=1).round(4),
        }
    )
    refused = tuple((str(file), str(reason)) for file, reason in parsed.refused)
    return CheckedBatch(name, result.n, refused, result, read, history, parsed.total)


def results(project: Project) -> Path:
    """The folder with what was found in each batch: .json, .csv and .png."""
    return project.build / "monitor"


def known_batches(project: Project) -> dict[str, str]:
    """Name → SHA-256 of each batch that has been checked.

    Raises:
        DataError: the record is damaged.
    """
    path = _record(project)
    return dict(files.read_json(path)) if path.exists() else {}


def record(project: Project, batch: Batch, checked: CheckedBatch) -> None:
    """Keep what was found, and that the batch has been checked: last, so a kill loses nothing."""
    keep(project, batch.sha256, checked)
    if checked.history:
        files.write_json(_history_file(project), checked.history.as_dict())
    files.write_json(_record(project), {**known_batches(project), batch.name: batch.sha256})


def keep(project: Project, sha256: str, checked: CheckedBatch) -> None:
    """Write build/monitor/<batch>.json and .csv: the verdict, and the digits read."""
    document = {
        **(checked.result.as_dict() if checked.result else {"drift": None, "verdict": None}),
        "name": checked.name,
        "sha256": sha256,
        "status": checked.status,
        "slow_drift": asdict(checked.slow) if checked.slow else None,
        "n": checked.n,
        "pictures": checked.pictures,
        "refused": [{"file": printable(f), "reason": printable(r)} for f, r in checked.refused],
    }
    folder = results(project)
    if checked.read is not None:
        files.write_table(folder / f"{checked.name}.csv", checked.read)
    files.write_json(folder / f"{checked.name}.json", document)


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
        "slow_drift": asdict(checked.slow) if checked.slow else None,
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
    line = "; ".join(found) or f"no drift in {batches}"
    if slow := next((c.slow for c in reversed(checked) if c.slow), None):
        line += (
            f"; slow drift since {slow.since}, over {slow.batches:,} batches "
            f"({slow.feature}, p ≤ {slow.p_value:.2g})"
        )
    return line


def title(checked: Sequence[CheckedBatch]) -> str:
    """The worst that was found in one or two words, for the name of a state."""
    statuses = {c.status for c in checked}
    if "harmful" in statuses:
        return "Harmful"
    if "drift" in statuses:
        return "Drift"
    if any(c.slow for c in checked):
        return "Slow drift"
    return "Unreadable" if statuses == {"unreadable"} else "No drift"


def verdict(checked: CheckedBatch) -> str:
    """The verdict on one batch in a sentence or two."""
    result = checked.result
    if result is None:
        return f"{checked.name}: nothing in it can be read."
    status = checked.status.upper() if result.verdict != "none" else checked.status
    text = (
        f"{checked.name}: {status} in {checked.n:,} images (p = {result.p_value:.2g}); "
        f"estimated accuracy {result.estimated_accuracy:.1%}, no digit in "
        f"{result.no_digit_share:.0%}."
    )
    if result.in_sample_share:
        text += f" The model was trained on {result.in_sample_share:.0%} of them."
    return text


def summary(checked: CheckedBatch) -> str:
    """One batch in a few sentences: the verdict, what moved, what was refused."""
    return verdict(checked) + _describe_moved(checked.moved) + _describe_refused(checked.refused)


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
    elif any(c.status == "drift" or c.slow for c in checked):
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
    distances = [f"{name} by {by:.2f}" for name, by in moved.items() if name != "digit"]
    more = f" and {len(distances) - _MOVED} more" if len(distances) > _MOVED else ""
    listed = ", ".join(distances[:_MOVED])
    text = f" What moved, in standard deviations: {listed}{more}." if distances else ""
    return text + (" The frequencies of the digits changed." if "digit" in moved else "")


def _describe_refused(refused: Sequence[tuple[str, str]]) -> str:
    if not refused:
        return ""
    listed = "; ".join(f"{printable(f)} ({printable(r)})" for f, r in refused[:_EXAMPLES])
    more = len(refused) - _EXAMPLES
    return f" Refused: {listed}" + (f"; and {more:,} more." if more > 0 else ".")


def _record(project: Project) -> Path:
    return project.state / "monitor.json"


def _history_file(project: Project) -> Path:
    return project.state / "history.json"


def _history(project: Project) -> "History | None":
    """The history so far; None without one, or if it is damaged: then a new one begins."""
    from digits.drift.sequence import Sequence as History

    try:
        return History.from_dict(files.read_json(_history_file(project)))
    except DataError:
        return None


def _batch(path: Path, quiet: float) -> Batch | str | None:
    """The batch at a path; its name alone while it settles; None if it is empty or gone."""
    try:
        members = list(_members(path))
        # ctime, because a copy may keep the mtime of its original
        changed = max(p.lstat().st_ctime for p in [path, *members])
        if path.is_dir() and not path.is_symlink() and not members:
            return None
        if abs(time.time() - changed) < quiet:  # far ahead: the clock was set back since
            return safe_name(path.name)
        return Batch(safe_name(path.name), path, _sha256(path, members))
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


def safe_name(name: str) -> str:
    """`name`, if it is safe in file names, tables and logs; else a similar name and a hash."""
    if _SAFE_NAME.fullmatch(name):
        return name
    plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip("_.-")[:80]
    return f"{plain or 'batch'}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def printable(text: str) -> str:
    """The text on one line, control characters as escapes."""
    text = text.encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
