"""Which data, code and parameters made a model, and which models used a batch or data version.

Git and DVC's files in it (dvc.lock, data.dvc, reports/) hold all of it, so a fresh clone without
data has the whole lineage.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from re import fullmatch
from typing import Any, Literal

from digits.core.errors import DataError, DigitsError
from digits.core.project import Project
from digits.formatting import one_line
from digits.registry import catalogue
from digits.registry.catalogue import WORKSPACE, Version
from digits.registry.record import MNIST, Batch, Record, Stage
from digits.registry.tags import CHAMPION
from digits.versioning import dvc, git

_LOCK = "dvc.lock"
_DATA = "data.dvc"
_BRANCHES = ("origin/main", "main", "HEAD")
_VERSION = r"v?\d+\.\d+\.\d+\S*"
_MD5_PREFIX = r"[0-9a-f]{6,32}(\.dir)?"

How = Literal["trained on", "evaluated on", "checked for drift"]


@dataclass(frozen=True)
class DataOrigin:
    """The version of data/ that a model was built from: its MD5 (empty if unknown) and batches."""

    md5: str
    train_images: int | None
    batches: list[Batch]


@dataclass(frozen=True)
class Model:
    """What made a model. `commit` is HEAD for the working tree, whose files may differ from it."""

    kind: Literal["model"]
    name: str
    version: str | None
    champion: bool
    commit: str
    parent: str | None  # the registered version that it was developed from
    weights: dict[str, str]  # path → SHA-256
    data: DataOrigin
    code: dict[str, str]  # path → MD5
    parameters: dict[str, Any]
    stages: list[Stage]
    problems: list[str]


@dataclass(frozen=True)
class Use:
    """One state of the results, and how its model used the data. No `how`: not at all."""

    versions: list[str]
    champion: bool
    commit: str
    date: str
    subject: str
    md5: str  # of the data version; this and `weights` are empty if not recorded
    weights: str  # SHA-256 of the first weights file
    recorded: bool  # False: the commit's reports can't tell
    how: list[How]


@dataclass(frozen=True)
class Data:
    """The uses of a batch or of a version of the data, newest first."""

    kind: Literal["batch", "data version"]
    name: str
    uses: list[Use]


@dataclass(frozen=True)
class _State:
    """A commit that changed dvc.lock, and the versions that have its results."""

    commit: str
    date: str
    subject: str
    versions: list[Version]


def trace(project: Project, name: str | None = None) -> Model | Data:
    """The lineage of a model (`v0.1.0`, `champion`, a revision; default: the working tree) or of
    data (a batch, or at least six digits of the MD5 in data.dvc).

    A batch with the name of a branch is taken for the batch.

    Raises:
        DigitsError: nothing has this name, or both a commit and a data version have.
    """
    versions = catalogue.versions(project)
    if name in (None, WORKSPACE):
        return model(project, None, versions)
    assert name is not None
    if name == CHAMPION or fullmatch(_VERSION, name):
        found = catalogue.find(project, name)
        return model(project, found.commit, versions, found)
    uses = list(_uses_of_batch(project, name, versions))
    if any(use.how for use in uses) or name in _folders(project):
        return Data("batch", name, uses)
    md5 = _data_version(project, name)
    commit = _revision(project, name)
    if md5 and commit:
        raise DigitsError(f"'{name}' begins both a commit and a data version; give more digits")
    if md5:
        return Data("data version", md5, list(_uses_of_version(project, md5, versions)))
    if not commit:
        raise DigitsError(
            f"'{one_line(name)}' is no version, batch, data version or revision; "
            f"batches: {', '.join(_known_batches(project, versions))}; "
            "see 'digits models list' and 'git log'"
        )
    registered = (version for version in versions if version.commit == commit)
    return model(project, commit, versions, next(registered, None), name)


def model(
    project: Project,
    commit: str | None,
    versions: list[Version],
    version: Version | None = None,
    name: str = "",
) -> Model:
    """What made the model of a commit, by default of the working tree."""
    record = Record.read(project, commit)
    md5, problems = built_from(project, record)
    if not record.stages:
        problems.append(f"no results: {_LOCK} is missing; run 'digits run' and commit it")
    head = commit or git.resolve(project, "HEAD")
    return Model(
        kind="model",
        name=version.name if version else name or (head[:7] if commit else WORKSPACE),
        version=version.name if version else None,
        champion=bool(version and version.champion),
        commit=head,
        parent=(version and version.parent) or parent(project, head, versions, commit is None),
        weights=record.weights,
        data=DataOrigin(
            md5=md5,
            train_images=record.images("train"),
            batches=list(record.batches.values()),
        ),
        code=record.code,
        parameters=record.parameters,
        stages=record.stages,
        problems=[*record.problems, *problems],
    )


def parent(
    project: Project, commit: str, versions: list[Version], itself: bool = False
) -> str | None:
    """The registered version that precedes a commit most closely; None for the first.

    Tags that `digits` made record the parent; this is for others and for unregistered commits.

    Args:
        itself: a version at this very commit counts, as for the working tree.
    """
    by_commit = {version.commit: version.name for version in reversed(versions)}
    if not itself:
        by_commit.pop(commit, None)
    if not by_commit:
        return None
    history = git.run(project, "rev-list", "--topo-order", commit).split()
    return next((by_commit[one] for one in history if one in by_commit), None)


def made_by(project: Project, commit: str) -> str:
    """The commit at or before this one that last changed dvc.lock, hence made its results."""
    return git.run(project, "log", "-1", "--format=%H", commit, "--", _LOCK).strip() or commit


# models


def built_from(project: Project, record: Record) -> tuple[str, list[str]]:
    """The MD5 of the data version that made the results, and whether data.dvc pins another."""
    pinned = record.data.md5.removesuffix(".dir") if record.data else ""
    built = record.built_from or _pinned_then(project, record.commit) or pinned
    if built == pinned or not pinned:
        return built, []
    return built, [
        f"{_DATA} pins {pinned[:7]}, not the {built[:7]} of these results; run 'digits run'"
    ]


def _pinned_then(project: Project, commit: str | None) -> str:
    """What data.dvc pinned when the results were made: dvc.lock once had only parts of data/."""
    head = commit or git.resolve(project, "HEAD")
    if commit is None and git.read_text(project, _LOCK) != git.read_text(project, _LOCK, head):
        return ""
    try:
        version = dvc.find_data_version(project, made_by(project, head))
    except DataError:
        return ""
    return version.md5.removesuffix(".dir") if version else ""


# uses of data


def _uses_of_batch(project: Project, name: str, versions: list[Version]) -> Iterator[Use]:
    for state, record in _records(project, versions):
        how: list[How] = []
        recorded = bool(record.metrics)
        if name == MNIST:
            how = ["trained on", "evaluated on"] if recorded else []
        else:
            batch = record.batches.get(name)
            recorded = bool(record.drift) or "batches" in record.metrics
            how = list(_how(batch)) if batch else []
        yield _use(project, state, record, how, recorded or bool(how))


def _how(batch: Batch) -> Iterator[How]:
    if batch.trained_on:
        yield "trained on"
    if batch.evaluated:
        yield "evaluated on"
    if batch.drift_checked:
        yield "checked for drift"


def _uses_of_version(project: Project, md5: str, versions: list[Version]) -> Iterator[Use]:
    for state, record in _records(project, versions):
        use = _use(project, state, record, ["trained on", "evaluated on"], bool(record.metrics))
        if use.md5 == md5:
            yield use


def _use(project: Project, state: _State, record: Record, how: list[How], recorded: bool) -> Use:
    return Use(
        versions=[version.name for version in state.versions],
        champion=any(version.champion for version in state.versions),
        commit=state.commit,
        date=state.date,
        subject=state.subject,
        md5=built_from(project, record)[0],
        weights=next(iter(record.weights.values()), ""),
        recorded=recorded,
        how=how,
    )


def _records(project: Project, versions: list[Version]) -> Iterator[tuple[_State, Record]]:
    for state in _states(project, versions):
        yield state, Record.read(project, state.commit)


def _states(project: Project, versions: list[Version]) -> list[_State]:
    """All states of dvc.lock on main, on this branch and before each version, newest first."""
    registered: dict[str, list[Version]] = {}
    for version in versions:
        registered.setdefault(made_by(project, version.commit), []).append(version)
    revisions = _tips(project) + [version.commit for version in versions]
    lines = _log(project, "%H%x00%cs%x00%s", revisions, _LOCK)
    return [
        _State(commit, date, one_line(subject), registered.get(commit, []))
        for commit, date, subject in (line.split("\0", 2) for line in lines)
    ]


def _tips(project: Project) -> list[str]:
    return [commit for name in _BRANCHES if (commit := _revision(project, name))]


def _log(project: Project, fields: str, revisions: list[str], path: str) -> list[str]:
    arguments = ("log", "--date-order", f"--format={fields}", *dict.fromkeys(revisions))
    return git.run(project, *arguments, "--", path).splitlines() if revisions else []


def _known_batches(project: Project, versions: list[Version]) -> list[str]:
    names = {name for _, record in _records(project, versions) for name in record.batches}
    return [MNIST, *sorted(names | _folders(project))]


def _folders(project: Project) -> set[str]:
    """Batches in data/, if the data is here; one that was just added is in no report yet."""
    folder = project.handwriting
    return {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()


def _data_version(project: Project, prefix: str) -> str | None:
    """The MD5, anywhere in the history, that begins with these digits.

    Raises:
        DigitsError: several do.
    """
    if not fullmatch(_MD5_PREFIX, prefix):
        return None
    found = set()
    for commit in (None, *_log(project, "%H", _tips(project), _DATA)):
        try:
            version = dvc.find_data_version(project, commit)
        except DataError:
            continue
        if version and version.md5.startswith(prefix):
            found.add(version.md5.removesuffix(".dir"))
    if len(found) > 1:
        raise DigitsError(f"'{prefix}' begins {len(found)} data versions; give more digits")
    return next(iter(found), None)


def _revision(project: Project, name: str) -> str | None:
    try:
        return git.resolve(project, name)
    except DigitsError:
        return None
