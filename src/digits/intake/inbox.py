"""The inbox: which batches are new there, and whether their handwriting has drifted.

Everything in the inbox, a folder of pictures or a file, is a batch once nothing about it changes
any more. Batches stay where they are; name and content of what was checked are remembered. When
this happens, and who is told, is the flow's business.
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

from digits.core import files, params
from digits.core.errors import DataError, DigitsError
from digits.core.project import Project

if TYPE_CHECKING:
    from digits.drift.detector import DriftDetector, DriftResult

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
_EXAMPLES = 3  # refused files to name; features that moved, in the table
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#])")


@dataclass(frozen=True)
class Batch:
    """Something in the inbox.

    Attributes:
        name: as in the inbox, or, where that isn't fit for file names and tables, made so.
        path: where it is.
        sha256: of all that is in it, names included.
    """

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class Checked:
    """What came out of checking a batch.

    Attributes:
        name: the batch's.
        n: readable images.
        refused: each other file, and why.
        result: the verdict; None if there were too few images for one.
    """

    name: str
    n: int
    refused: tuple[tuple[str, str], ...]
    result: "DriftResult | None"

    @property
    def status(self) -> Literal["drift", "no drift", "too few", "unreadable"]:
        if self.result:
            return "drift" if self.result.drift else "no drift"
        return "too few" if self.n else "unreadable"

    @property
    def moved(self) -> dict[str, float]:
        """The features that drifted, and how far, the furthest first."""
        tests = self.result.tests if self.result else {}
        distances = {name: test["distance"] for name, test in tests.items() if test["drift"]}
        return dict(sorted(distances.items(), key=lambda item: -item[1]))


def new_batches(inbox: Path, remembered: Mapping[str, str], quiet: float = 30) -> list[Batch]:
    """The batches that are complete and were not checked before, by name.

    Hidden files, and those whose name ends in '.part', are still being written, as is what has
    changed in the last `quiet` seconds.

    Args:
        inbox: a folder; if there is none, nothing is new.
        remembered: name → SHA-256 of each batch that was checked.

    Raises:
        DataError: the inbox is no folder, or can't be read.
    """
    if not inbox.exists():
        return []
    try:
        paths = sorted(inbox.iterdir())
    except OSError as exc:
        raise DataError(f"{inbox}: not a folder that can be read ({exc.strerror})") from exc
    batches = (_complete(path, quiet) for path in paths if _is_visible(path.name))
    return [b for b in batches if b and remembered.get(b.name) != b.sha256]


def load_detector(project: Project) -> "DriftDetector":
    """What batches are compared by.

    Raises:
        DigitsError: there is no model yet, or not all of it; the message says what to do.
    """
    from digits.drift.detector import DriftDetector

    try:
        return DriftDetector.load(project.root)
    except DigitsError as exc:
        raise DataError(
            f"new batches wait, but there is nothing to compare them with: {exc}"
        ) from exc


def check(project: Project, batch: Batch, detector: "DriftDetector") -> Checked:
    """Read a batch and compare it with what the model was trained on."""
    from digits.intake import intake

    if not _is_plain(batch.path.lstat().st_mode):
        return Checked(batch.name, 0, ((batch.name, "neither a file nor a folder"),), None)
    try:
        found = intake.inspect(batch.path)
    except DigitsError as exc:
        return Checked(batch.name, 0, ((batch.name, str(exc)),), None)
    refused = tuple((str(file), str(reason)) for file, reason in found.refused)
    n = len(found.images)
    enough = n >= params.load(project.params).drift.min_count
    result = detector.check(found.images, found.labels) if enough else None
    return Checked(batch.name, n, refused, result)


def remembered(project: Project) -> dict[str, str]:
    """Name → SHA-256 of each batch that was checked.

    Raises:
        DataError: the file that holds them is damaged.
    """
    if not _memory(project).exists():
        return {}
    memory: dict[str, str] = files.read_json(_memory(project))
    return memory


def remember(project: Project, batch: Batch, checked: Checked) -> None:
    """Write build/monitor/<batch>.json, and don't check this batch again."""
    document = {
        **(checked.result.as_dict() if checked.result else {"drift": None}),
        "name": batch.name,
        "sha256": batch.sha256,
        "status": checked.status,
        "n": checked.n,
        "refused": [{"file": _printable(f), "reason": _printable(r)} for f, r in checked.refused],
    }
    files.write_json(project.build / "monitor" / f"{batch.name}.json", document)
    files.write_json(_memory(project), {**remembered(project), batch.name: batch.sha256})


def payload(checked: Checked) -> dict[str, Any]:
    """What an event says of a batch."""
    result = checked.result
    return {
        "batch": checked.name,
        "status": checked.status,
        "n": checked.n,
        "refused": len(checked.refused),
        "p_value": result.p_value if result else None,
        "estimated_accuracy": result.estimated_accuracy if result else None,
        "moved": checked.moved,
    }


def headline(checked: Sequence[Checked]) -> str:
    """All batches in one line, drift first."""
    drifted = [c.name for c in checked if c.status == "drift"]
    batches = f"{len(checked)} new batch{'es' if len(checked) != 1 else ''}"
    if drifted:
        verdict = f"drift in {len(drifted)} of {batches}: {', '.join(drifted)}"
    elif any(c.result for c in checked):
        verdict = f"no drift in {batches}"
    else:
        verdict = f"no verdict on {batches}"
    for status in ("too few", "unreadable"):
        names = [c.name for c in checked if c.status == status]
        if names:
            verdict += f"; {status}{' images' if status == 'too few' else ''}: {', '.join(names)}"
    return verdict


def sentence(checked: Checked) -> str:
    """One batch in a few sentences."""
    result = checked.result
    if result is None:
        what = "nothing in it can be read" if not checked.n else "too few images for a verdict"
        text = f"{checked.name}: {what} ({checked.n} readable)."
    else:
        verdict = "DRIFT" if result.drift else "no drift"
        text = (
            f"{checked.name}: {verdict} in {checked.n:,} images (p = {result.p_value:.2g}); the "
            f"model reads an estimated {result.estimated_accuracy:.1%} of them correctly."
        )
    if checked.moved:
        text += _moved(checked.moved)
    return text + _refusals(checked.refused)


def markdown(checked: Sequence[Checked]) -> str:
    """All batches for a reader: the verdict, a table, what each one is like, what to do."""
    line = headline(checked)
    lines = ["| batch | images | refused | drift | p | estimated accuracy | moved |"]
    lines += ["|---|---:|---:|---|---:|---:|---|", *map(_row, checked)]
    blocks = [f"**{_escaped(line[0].upper() + line[1:])}.**", "\n".join(lines)]
    blocks += [_escaped(sentence(c)) for c in checked if c.moved or c.refused]
    if any(c.status == "drift" for c in checked):
        blocks.append(
            "Look at the pictures first: a new scanner or pen shows at once. If the handwriting is "
            "sound, have it labelled, take it in with `digits add`, and train on it."
        )
    return "\n\n".join(blocks) + "\n"


def _row(checked: Checked) -> str:
    result, moved = checked.result, list(checked.moved)
    cells = [
        checked.name,
        f"{checked.n:,}",
        f"{len(checked.refused):,}",
        "**DRIFT**" if checked.status == "drift" else checked.status,
        f"{result.p_value:.2g}" if result else "–",
        f"{result.estimated_accuracy:.3f}" if result else "–",
        ", ".join(moved[:_EXAMPLES]) + (", …" if len(moved) > _EXAMPLES else "") or "–",
    ]
    return f"| {' | '.join(cells)} |"


def _moved(moved: Mapping[str, float]) -> str:
    """Distances in words; that of the digits read is a divergence, all others are in σ."""
    distances = ", ".join(f"{name} by {by:.2f}" for name, by in moved.items() if name != "digit")
    text = f" What moved, in standard deviations: {distances}." if distances else ""
    if "digit" in moved:
        text += " How often each digit occurs has changed."
    return text


def _refusals(refused: Sequence[tuple[str, str]]) -> str:
    if not refused:
        return ""
    shown = "; ".join(f"{_printable(f)} ({_printable(r)})" for f, r in refused[:_EXAMPLES])
    more = len(refused) - _EXAMPLES
    rest = f"; and {more:,} more" if more > 0 else ""
    return f" Refused: {shown}{rest}."


def _memory(project: Project) -> Path:
    return project.state / "monitor.json"


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(".part")


def _is_plain(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _complete(path: Path, quiet: float) -> Batch | None:
    """The batch at a path; None if it is empty, or not yet, or no longer, all there."""
    try:
        files = list(_files(path))
        # ctime, as copies may carry the mtime of their original
        changed = max(p.lstat().st_ctime for p in [path, *files])
        if (path.is_dir() and not files) or time.time() - changed < quiet:
            return None
        return Batch(_fit(path.name), path, _sha256(path, files))
    except FileNotFoundError:
        return None


def _files(path: Path) -> Iterator[Path]:
    """All that isn't a folder below `path` (or `path` itself), sorted; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in sorted([*names, *links]))


def _sha256(path: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(os.fsencode(file.relative_to(path)) + b"\0")
        digest.update(_content(file).encode() + b"\0")
    return digest.hexdigest()


def _content(file: Path) -> str:
    """Stands for what is in a file; pipes and devices, which may never end, are not opened."""
    mode = file.lstat().st_mode
    if not stat.S_ISREG(mode):
        return f"type {stat.S_IFMT(mode)}"
    try:
        return files.sha256(file)
    except PermissionError:
        return "unreadable"


def _fit(name: str) -> str:
    """A batch's name, with all that file names, tables and logs can't take replaced."""
    if _NAME.fullmatch(name):
        return name
    plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip("_.-")[:80]
    return f"{plain or 'batch'}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def _printable(text: str) -> str:
    text = text.encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)
