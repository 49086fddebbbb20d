"""The model card: all that is recorded of one version, for those who decide whether to use it.

It is made from files that git tracks and from the registry's tags, so equal commits and tags give
an equal card. `card_sections` puts it into words, `card_formats` into Markdown and HTML.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.formatting import one_line
from digits.gate import evidence
from digits.gate.evidence import at, figure, pair
from digits.registry import catalogue, history, lineage
from digits.registry.catalogue import WORKSPACE
from digits.registry.history import Registration
from digits.registry.record import Record, count, mapping
from digits.registry.tags import CHAMPION
from digits.versioning import consistency, git

CONFIDENT = 0.9  # an error with at least this confidence passes for a sure answer
_ENVIRONMENT = "requirements.lock"
_PICTURES = ("per_digit", "calibration", "mistakes")
_PNG = b"\x89PNG\r\n\x1a\n"
_PICTURE_LIMIT = 2 << 20  # bytes

State = Literal["pass", "warning", "fail", "unknown"]


@dataclass(frozen=True)
class Weakness:
    """A slice of the test data, or a batch, that is read worse than the test set as a whole."""

    name: str
    accuracy: float  # recall, for a digit; 0–1
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Card:
    """What is known of a model. `record` holds the figures as the reports have them."""

    name: str
    commit: str  # HEAD for the working tree
    version: str | None
    champion: bool
    registration: Registration | None
    parent: str | None
    record: Record
    data: str  # MD5 of the data version; empty if not recorded
    consistent: bool | None  # None: could not be checked
    problems: list[str]  # why not, and what else is wrong
    uncommitted: list[str]
    environment: str  # SHA-256 of requirements.lock; empty without one
    confident_errors: int | None  # misread test images with a confidence of at least CONFIDENT
    pictures: dict[str, bytes]  # PNG

    @property
    def test(self) -> dict[str, Any]:
        """The figures on the test set."""
        return mapping(self.record.metrics, "test")

    def weak_digits(self) -> list[Weakness]:
        """Digits whose interval of recall is below the accuracy of all, weakest first."""
        accuracy = figure(self.test, "accuracy")
        digits = [
            Weakness(digit, recall, pair(figures, "recall_interval"))
            for digit, figures in mapping(self.test, "per_digit").items()
            if (recall := figure(figures, "recall")) is not None
        ]
        if accuracy is None:
            return []
        weak = [one for one in digits if one.interval and one.interval[1] < accuracy]
        return sorted(weak, key=lambda one: (one.accuracy, one.name))

    def weak_batches(self) -> list[Weakness]:
        """Batches, not trained on, whose interval is below the test set's, weakest first."""
        low = pair(self.test, "accuracy_interval")
        weak = []
        for batch in self.record.batches.values():
            if batch.trained_on or batch.accuracy is None or low is None:
                continue
            high = batch.interval[1] if batch.interval else batch.accuracy
            if high < low[0]:
                weak.append(Weakness(batch.name, batch.accuracy, batch.interval))
        return sorted(weak, key=lambda one: (one.accuracy, one.name))

    def as_dict(self) -> dict[str, Any]:
        """As plain types, for JSON."""
        record = self.record
        metrics = {name: record.metrics.get(name) for name in ("test", "val", "corrupted", "leaks")}
        return {
            "name": self.name,
            "version": self.version,
            "champion": self.champion,
            "commit": self.commit,
            "parent": self.parent,
            "registration": asdict(self.registration) if self.registration else None,
            "consistency": {
                "ok": self.consistent,
                "problems": self.problems,
                "uncommitted": self.uncommitted,
            },
            "data": {
                "md5": self.data or None,
                "images": {split: self.images(split) for split in ("train", "val", "test")},
                "batches": [asdict(batch) for batch in record.batches.values()],
            },
            "metrics": metrics,
            "confident_errors": self.confident_errors,
            "weak_digits": [asdict(one) for one in self.weak_digits()],
            "weak_batches": [asdict(one) for one in self.weak_batches()],
            "drift_reference": count(record.drift, "reference", "n"),
            "weights": record.weights,
            "model": {key: record.card.get(key) for key in ("model", "parameters", "built_with")},
            "environment": self.environment or None,
            "parameters": record.parameters,
        }

    def images(self, split: str) -> int | None:
        """The number of images in train, val or test."""
        found = count(self.record.metrics, split, "n")
        return self.record.images(split) if found is None else found


def read(project: Project, name: str = CHAMPION) -> Card:
    """The card of a version, of the champion, or of `workspace`.

    Raises:
        RegistryError: the version is not registered, or there is no champion.
    """
    workspace = name == WORKSPACE
    version = None if workspace else catalogue.find(project, name)
    commit = version.commit if version else git.resolve(project, "HEAD")
    reports = version.commit if version else None
    record = Record.read(project, reports)
    checked, found = _check(project, reports)
    parent = version.parent if version else None
    return Card(
        name=version.name if version else WORKSPACE,
        commit=commit,
        version=version.name if version else None,
        champion=bool(version and version.champion),
        registration=history.registrations(project).get(version.name) if version else None,
        parent=parent or lineage.parent(project, commit, catalogue.versions(project), workspace),
        record=record,
        data=lineage.built_from(project, record)[0],
        consistent=checked.ok and not record.problems if checked else None,
        problems=list(dict.fromkeys([*record.problems, *found])),
        uncommitted=[one_line(path) for path in checked.uncommitted] if checked else [],
        environment=_sha256(git.read_bytes(project, _ENVIRONMENT, reports)),
        confident_errors=_confident_errors(project, reports),
        pictures=_pictures(project, reports),
    )


def _check(
    project: Project, commit: str | None
) -> tuple[consistency.Consistency | None, list[str]]:
    """Whether everything belongs together; None, and why, if that can't be found out."""
    try:
        checked = consistency.check(project, commit)
    except DigitsError as exc:
        return None, [one_line(str(exc))]
    return checked, [one_line(problem) for problem in checked.problems]


def _confident_errors(project: Project, commit: str | None) -> int | None:
    try:
        found = evidence.read(project, commit).sets.get(evidence.TEST)
    except DigitsError:
        return None
    if found is None:
        return None
    return sum(one.confidence >= CONFIDENT for one in found.misread.values())


def _pictures(project: Project, commit: str | None) -> dict[str, bytes]:
    """The plots that evaluate has drawn, if they are PNG files of moderate size."""
    found = {}
    for name in _PICTURES:
        content = git.read_bytes(project, f"reports/plots/{name}.png", commit) or b""
        if content.startswith(_PNG) and len(content) <= _PICTURE_LIMIT:
            found[name] = content
    return found


def _sha256(content: bytes | None) -> str:
    return hashlib.sha256(content).hexdigest() if content is not None else ""


def leaks(record: Record) -> Mapping[str, int] | None:
    """How many images of one split are in another that must not have them; None: not recorded."""
    counts = {
        name: count(record.metrics, "leaks", name) for name in mapping(record.metrics, "leaks")
    }
    known = {name: value for name, value in counts.items() if value is not None}
    return known if known and len(known) == len(counts) else None


def validation(record: Record) -> tuple[int, int] | None:
    """How many expectations on the data are met, and how many there are; None: not recorded."""
    results = at(record.validation, "expectations")
    if not isinstance(results, list) or not results:
        return None
    return sum(at(one, "success") is True for one in results), len(results)
