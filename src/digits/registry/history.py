"""Versions side by side: figures, data, changed parameters, who promoted them and why."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from digits.core.project import Project
from digits.formatting import one_line
from digits.registry import lineage, registry
from digits.registry.record import Record, count, number, pair, text
from digits.registry.registry import ARTIFACT, CHAMPION, Version
from digits.versioning import git

_MODEL = "train.model"


@dataclass(frozen=True)
class Promotion:
    """When a version became the champion, by whom and why; `forced` against the gate's verdict."""

    date: str
    by: str
    forced: bool
    reason: str


@dataclass(frozen=True)
class Registration:
    """When a version was registered, by whom and why, what the gate said, and its promotions."""

    date: str
    by: str
    reason: str
    verdict: str  # empty if not recorded
    promotions: list[Promotion]


@dataclass(frozen=True)
class Row:
    """A version. Shares are 0–1; what is not recorded is None or empty."""

    version: str
    champion: bool
    registration: Registration
    commit: str
    parent: str | None
    data: str  # MD5
    weights: str  # SHA-256 of the first weights file
    n: int | None
    accuracy: float | None
    interval: tuple[float, float] | None
    errors: int | None
    corrupted_error: float | None
    changed: dict[str, tuple[Any, Any]]  # parameter → its value in the version before, and in this

    def as_dict(self) -> dict[str, Any]:
        """As plain types, for JSON."""
        return asdict(self)


def rows(project: Project) -> list[dict[str, Any]]:
    """The history as plain types, newest version first; the keys are those of `Row`."""
    return [row.as_dict() for row in read(project)]


def read(project: Project) -> list[Row]:
    """All versions, newest first.

    Raises:
        DigitsError: the registry can't be read.
    """
    versions = registry.versions(project)
    registered = registrations(project, versions)
    records = [Record.read(project, version.commit) for version in versions]
    before: list[Record | None] = [*records[1:], None]
    return [
        Row(
            version=version.name,
            champion=version.champion,
            registration=registered[version.name],
            commit=version.commit,
            parent=lineage.parent(project, version.commit, versions),
            data=lineage.built_from(project, record)[0],
            weights=next(iter(record.weights.values()), ""),
            n=count(record.metrics, "test", "n"),
            accuracy=number(record.metrics, "test", "accuracy"),
            interval=pair(record.metrics, "test", "accuracy_interval"),
            errors=count(record.metrics, "test", "errors"),
            corrupted_error=number(record.metrics, "corrupted", "mean_error"),
            changed=_changed(older.parameters, record.parameters) if older else {},
        )
        for version, record, older in zip(versions, records, before, strict=True)
    ]


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The parameters that differ; None where one side has none.

    Where another entry of `models` was trained, the two recipes are compared with each other.
    """
    if old.get(_MODEL) != new.get(_MODEL):
        old, new = _same_names(old), _same_names(new)
    names = sorted({*old, *new})
    return {
        text(name): (old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    }


def _same_names(parameters: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"models.{parameters.get(_MODEL)}."
    return {
        f"models.*.{name.removeprefix(prefix)}" if name.startswith(prefix) else name: value
        for name, value in parameters.items()
    }


# tags


def registrations(project: Project, versions: list[Version]) -> dict[str, Registration]:
    """What the registry's tags record of each version."""
    found = {version.name: Registration("", "", "", "", []) for version in versions}
    by_commit: dict[str, list[str]] = {}
    for version in versions:
        by_commit.setdefault(version.commit, []).append(version.name)
    for name, commit, by, date, message in _tags(project):
        if name.startswith(f"{ARTIFACT}@"):
            version_name = name.removeprefix(f"{ARTIFACT}@")
            if version_name in found:
                old = found[version_name]
                found[version_name] = Registration(date, by, message, "", old.promotions)
        else:
            for version_name in by_commit.get(commit, [])[:1]:
                found[version_name].promotions.append(Promotion(date, by, False, message))
    return found


def _tags(project: Project) -> list[list[str]]:
    fields = "%00".join(
        (
            "%(refname:strip=2)",
            "%(*objectname)",
            "%(taggername)",
            "%(taggerdate:short)",
            "%(contents:subject)",
        )
    )
    patterns = (f"refs/tags/{ARTIFACT}@*", f"refs/tags/{ARTIFACT}#{CHAMPION}#*")
    output = git.run(project, "for-each-ref", "--sort=taggerdate", f"--format={fields}", *patterns)
    return [[one_line(one) for one in line.split("\0")] for line in output.splitlines()]
