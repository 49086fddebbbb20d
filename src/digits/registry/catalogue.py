"""Which versions are registered, and which one is the champion.

A version is a commit: its model card, reports/model.json, holds the SHA-256 of every weights file,
and DVC holds the files.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from re import fullmatch
from typing import Any

from digits.core.errors import DataError, DigitsError, RegistryError
from digits.core.project import Project
from digits.registry import tags
from digits.registry.tags import CHAMPION, Tag
from digits.versioning import dvc, git

WORKSPACE = "workspace"
MODELS = "models"  # the artifact's path in dvc.yaml, where every path of a model card starts
CARD = "reports/model.json"
METRICS = "reports/metrics.json"
ROLLBACK = "Roll back"  # how the annotation of a rollback starts


@dataclass(frozen=True)
class Version:
    """One registered model: what its commit reports, and who registered it, when and why.

    `facts` is what its tag says: untrusted, and empty if the tag was made without `digits`.
    """

    name: str
    tag: str
    commit: str
    champion: bool
    stages: list[str]  # others that it holds, such as staging
    accuracy: float | None  # on the test set, 0 to 1
    weights: dict[str, str]  # path → SHA-256
    data: str | None  # the MD5 in data.dvc
    date: str  # ISO 8601
    author: str
    why: str
    parent: str | None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """What the tags say: version → the tag that registers it, newest version first; the
    champions, current one last; and every other stage → the version that holds it.
    """

    registered: dict[str, Tag]
    champions: list[str]
    stages: dict[str, str]

    @property
    def champion(self) -> str | None:
        """The current champion."""
        return self.champions[-1] if self.champions else None


def versions(project: Project) -> list[Version]:
    """All registered versions, newest first.

    Raises:
        DigitsError: the registry can't be read.
    """
    state = read(project)
    return [_version(project, name, state) for name in state.registered]


def find(project: Project, version: str = CHAMPION) -> Version:
    """The version with this name (`v0.1.0` or `0.1.0`), the champion, or another stage's.

    Raises:
        RegistryError: the version is not registered, or there is no champion yet.
        DigitsError: the registry can't be read.
    """
    state = read(project)
    if version == CHAMPION and not state.champion:
        raise RegistryError("no champion yet; run 'digits models promote VERSION'")
    holders = {**state.stages, CHAMPION: state.champion}
    name = holders[version] if version in holders else with_v(version)
    if name not in state.registered:
        known = ", ".join(state.registered) or "none; run 'digits models register'"
        raise RegistryError(f"version '{version}' is not registered; registered: {known}")
    return _version(project, name, state)


def read(project: Project, found: Sequence[Tag] | None = None) -> State:
    """The state of the registry.

    Args:
        found: its tags, if they are known already.

    Raises:
        DigitsError: the registry can't be read.
    """
    from gto.versions import SemVer

    found = tags.read(project) if found is None else found
    withdrawn = {tag.version for tag in found if tag.action == "deregister"}
    registered = {
        tag.version: tag
        for tag in found
        if tag.action == "register" and tag.version not in withdrawn
    }
    newest_first = sorted(registered, key=SemVer, reverse=True)
    by_commit = {registered[name].commit: name for name in reversed(newest_first)}
    changes = [
        (tag, by_commit[tag.commit]) for tag in found if tag.stage and tag.commit in by_commit
    ]
    champions = _champions([change for change in changes if change[0].stage == CHAMPION])
    stages = _stages([change for change in changes if change[0].stage != CHAMPION])
    return State({name: registered[name] for name in newest_first}, champions, stages)


def card(project: Project, commit: str) -> dict[str, Any]:
    """The model card of a commit.

    Raises:
        RegistryError: the commit has none.
        DataError: it is damaged.
    """
    document = git.read_mapping(project, CARD, commit)
    if not document:
        raise RegistryError(
            f"{CARD}: not in commit {commit[:7]}; run 'digits run' and commit its reports"
        )
    return document


def digests(document: dict[str, Any]) -> dict[str, str]:
    """The weights files of a model card: path → SHA-256.

    Raises:
        RegistryError: it lists none, or something else than digests of files in models/.
    """
    found = document.get("weights")
    if not isinstance(found, dict) or not found:
        raise RegistryError(f"{CARD}: lists no weights; run 'digits run' to write it again")
    for name, digest in found.items():
        parts = PurePosixPath(name).parts
        if parts[:1] != (MODELS,) or ".." in parts:
            raise RegistryError(f"{CARD}: '{name}' is not a path inside {MODELS}/")
        if not fullmatch(r"[0-9a-f]{64}", str(digest)):
            raise RegistryError(f"{CARD}: '{name}' has {digest!r}, expected a SHA-256 in hex")
    return dict(sorted(found.items()))


def weights(project: Project, commit: str) -> dict[str, str]:
    """The weights files of a commit's model card: path → SHA-256; empty if it is damaged."""
    with suppress(DigitsError):
        return digests(card(project, commit))
    return {}


def with_v(version: str) -> str:
    """A version's name as it is registered."""
    return f"v{version.removeprefix('v')}"


def _champions(changes: list[tuple[Tag, str]]) -> list[str]:
    """The champions, current one last; a rollback removes the champion that it replaces."""
    champions: list[str] = []
    for tag, name in changes:
        if tag.action == "unassign":
            champions = [champion for champion in champions if champion != name]
        elif tag.subject.startswith(ROLLBACK) and champions[-2:-1] == [name]:
            champions.pop()
        elif champions[-1:] != [name]:
            champions.append(name)
    return champions


def _stages(changes: list[tuple[Tag, str]]) -> dict[str, str]:
    """Stage → the version that it was assigned to last."""
    stages: dict[str, str] = {}
    for tag, name in changes:
        if tag.action == "assign":
            stages[tag.stage] = name
        elif stages.get(tag.stage) == name:
            del stages[tag.stage]
    return stages


def _version(project: Project, name: str, state: State) -> Version:
    """A version; without figures if its reports are missing or damaged, which `verify` reports."""
    tag = state.registered[name]
    accuracy, data = None, None
    with suppress(DataError, AttributeError, LookupError, TypeError, ValueError):
        metrics = git.read_mapping(project, METRICS, tag.commit)
        accuracy = float(metrics.get("test", {})["accuracy"])
    with suppress(DataError):
        pinned = dvc.find_data_version(project, tag.commit)
        data = pinned.md5 if pinned else None
    parent = tag.facts.get("parent")
    return Version(
        name=name,
        tag=tag.name,
        commit=tag.commit,
        champion=name == state.champion,
        stages=sorted(stage for stage, version in state.stages.items() if version == name),
        accuracy=accuracy,
        weights=weights(project, tag.commit),
        data=data,
        date=tag.time,
        author=tag.tagger,
        why=str(tag.facts.get("why") or ""),
        parent=parent if isinstance(parent, str) and parent in state.registered else None,
        facts=tag.facts,
    )
