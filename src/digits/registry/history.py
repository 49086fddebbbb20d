"""Versions side by side: figures, data, changed parameters, who promoted them and why."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from digits.core.project import Project
from digits.gate.evidence import figure, pair
from digits.registry import catalogue, lineage, tags
from digits.registry.record import Record, count, text
from digits.registry.tags import CHAMPION, Tag

_MODEL = "train.model"


@dataclass(frozen=True)
class Promotion:
    """When a version became the champion (or ceased to be), by whom and why.

    `event` is "promoted", "rolled back to" or "withdrawn"; for another stage than champion, it
    names the stage: "promoted to staging".
    `verdict` and `reasons` are the gate's, empty if it wasn't asked. `forced`: whatever it said.
    """

    event: str
    date: str  # ISO 8601
    by: str
    forced: bool
    why: str
    verdict: str
    reasons: list[str]


@dataclass(frozen=True)
class Registration:
    """When a version was registered, by whom and why, and its promotions, oldest first."""

    date: str  # ISO 8601
    by: str
    why: str
    signed: bool
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
    versions = catalogue.versions(project)
    registered = registrations(project)
    records = [Record.read(project, version.commit) for version in versions]
    return [
        Row(
            version=version.name,
            champion=version.champion,
            registration=registered[version.name],
            commit=version.commit,
            parent=version.parent or lineage.parent(project, version.commit, versions),
            data=lineage.built_from(project, record)[0],
            weights=next(iter(record.weights.values()), ""),
            n=count(record.metrics, "test", "n"),
            accuracy=figure(record.metrics, "test", "accuracy"),
            interval=pair(record.metrics, "test", "accuracy_interval"),
            errors=count(record.metrics, "test", "errors"),
            corrupted_error=figure(record.metrics, "corrupted", "mean_error"),
            changed=_changed(older.parameters, record.parameters) if older else {},
        )
        for version, record, older in zip_longest(versions, records, records[1:])
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


def registrations(project: Project) -> dict[str, Registration]:
    """Version → what the registry's tags record of it.

    Raises:
        DigitsError: the registry can't be read.
    """
    found = tags.read(project)
    registered = catalogue.read(project, found).registered
    by_commit = {tag.commit: name for name, tag in reversed(registered.items())}
    promotions: dict[str, list[Promotion]] = {name: [] for name in registered}
    for tag in found:
        if tag.stage and tag.commit in by_commit:
            promotions[by_commit[tag.commit]].append(_promotion(tag))
    return {
        name: Registration(
            date=tag.time,
            by=tag.tagger,
            why=text(tag.facts.get("why") or ""),
            signed=tag.signed,
            promotions=promotions[name],
        )
        for name, tag in registered.items()
    }


def _promotion(tag: Tag) -> Promotion:
    facts = tag.facts
    reasons = facts.get("reasons")
    forced = facts.get("forced")
    event = "withdrawn" if tag.action == "unassign" else "promoted"
    if facts.get("event") == "rollback" or tag.subject.startswith(catalogue.ROLLBACK):
        event = "rolled back to"
    elif tag.stage != CHAMPION:
        event += f" {'from' if event == 'withdrawn' else 'to'} {text(tag.stage)}"
    return Promotion(
        event=event,
        date=tag.time,
        by=tag.tagger,
        forced=bool(forced),
        why=text(forced or facts.get("why") or ("" if facts else tag.subject)),
        verdict=text(facts.get("verdict") or ""),
        reasons=[text(one) for one in reasons] if isinstance(reasons, list) else [],
    )
