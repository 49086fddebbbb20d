"""The model registry: which versions there are, and which one is the champion.

GTO keeps it in annotated git tags (`digits@v0.2.0`, `digits#champion#3`), which `gto` and
`dvc artifacts get` read too. A version is a commit: its model card, reports/model.json, holds the
SHA-256 of every weights file, and DVC holds the files.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from re import fullmatch
from typing import Any, Literal

from digits.core import files
from digits.core.errors import DataError, DigitsError, RegistryError, StageError
from digits.core.project import Project
from digits.models import weights
from digits.versioning import dvc, git

ARTIFACT = "digits"
CHAMPION = "champion"
FIRST = "v0.1.0"
WORKSPACE = "workspace"
_MODELS = "models"  # the artifact's path in dvc.yaml, where every path of a model card starts
_CARD = "reports/model.json"
_METRICS = "reports/metrics.json"
_ROLLBACK = "Roll back"  # how the message of a rollback's tag starts

Bump = Literal["patch", "minor", "major"]
State = Literal["ok", "mismatch", "absent"]


@dataclass(frozen=True)
class Version:
    """One registered model, with the accuracy and the digests that its commit reports."""

    name: str
    tag: str
    commit: str
    champion: bool
    accuracy: float | None  # on the test set, 0 to 1
    weights: dict[str, str]  # path → SHA-256


@dataclass(frozen=True)
class Check:
    """The result of checking one weights file of one version."""

    version: str
    file: str
    state: State
    expected: str
    found: str


def versions(project: Project) -> list[Version]:
    """All registered versions, newest first.

    Raises:
        DigitsError: the registry can't be read.
    """
    commits, champions = _read_tags(project)
    return [_read_version(project, name, commits, champions) for name in commits]


def find(project: Project, version: str = CHAMPION) -> Version:
    """The version with this name (`v0.1.0` or `0.1.0`), or the champion.

    Raises:
        RegistryError: the version is not registered, or there is no champion yet.
        DigitsError: the registry can't be read.
    """
    commits, champions = _read_tags(project)
    if version == CHAMPION and not champions:
        raise RegistryError("no champion yet; run 'digits models promote VERSION'")
    name = champions[-1] if version == CHAMPION else _with_v(version)
    if name not in commits:
        known = ", ".join(commits) or "none; run 'digits models register'"
        raise RegistryError(f"version '{version}' is not registered; registered: {known}")
    return _read_version(project, name, commits, champions)


def register(project: Project, version: str | None = None, bump: Bump = "patch") -> Version:
    """Tag HEAD as `version`, by default the newest version with one of its numbers raised.

    Raises:
        RegistryError: the tree differs from HEAD, the model card is not committed, the weights
            don't match it, `version` is not a version number, or HEAD or `version` is registered
            already.
    """
    from gto import api
    from gto.versions import SemVer

    head = git.resolve(project, "HEAD")
    _check_committed(project)
    weights.verified(project.root, _card(project, head))
    if version and not SemVer.is_valid(_with_v(version)):
        raise RegistryError(f"'{version}' is not a version number; expected a form like {FIRST}")
    name = _with_v(version) if version else None
    if not version and not _read_tags(project)[0]:
        name = FIRST
    bumped = {} if name else {f"bump_{bump}": True}
    with _gto_errors("no tag was made"):
        event = api.register(project.root, ARTIFACT, head, version=name, **bumped)
    return find(project, event.version)


def promote(project: Project, version: str) -> tuple[Version, bool]:
    """Make a version the champion; returns it, and whether the champion changed."""
    chosen = find(project, version)
    if not chosen.champion:
        _assign(project, chosen.name, f"Promote {chosen.name}")
    return find(project, chosen.name), not chosen.champion


def rollback(project: Project) -> tuple[Version, Version]:
    """Make the previous champion the champion again; returns it and the one it replaces.

    A second rollback goes back one more champion; it doesn't undo the first.

    Raises:
        RegistryError: there is no previous champion.
    """
    _, champions = _read_tags(project)
    if len(champions) < 2:
        reason = f"{champions[0]} is the first champion" if champions else "no champion yet"
        raise RegistryError(f"{reason}: nothing to roll back to")
    previous, current = champions[-2:]
    _assign(project, previous, f"{_ROLLBACK} from {current} to {previous}")
    return find(project, previous), find(project, current)


def verify(project: Project) -> list[Check]:
    """Check every weights file of the workspace and of every version against its model card.

    A version's files are read from build/registry, else from DVC's cache or remote. A file that
    is in none of them is "absent".
    """
    checks: list[Check] = []
    if project.model_card.is_file():
        card = files.read_json(project.model_card)
        checks += _check_files(WORKSPACE, project.root, _digests(card))
    for version in versions(project):
        checks += _check_version(project, version)
    return checks


def materialise(project: Project, version: str = CHAMPION) -> Path:
    """A version as a folder for `Recogniser.load`: its models/ and model card, both verified.

    Raises:
        RegistryError: the version is unknown, its files are missing, or they don't match its card.
    """
    chosen = find(project, version)
    card = _card(project, chosen.commit)
    folder = project.registry_cache / chosen.name
    if not _matches(folder, card):  # missing or damaged; it is only a copy, so replace it
        with files.replacing_folder(folder) as temporary:
            _download(project, chosen, temporary / _MODELS)
            weights.verified(temporary, card)
            files.write_json(temporary / _CARD, card)
    return folder


# tags


def _read_tags(project: Project) -> tuple[dict[str, str], list[str]]:
    """The registered versions and their commits, newest first; the champions, current one last."""
    from gto import api
    from gto.versions import SemVer

    with _gto_errors("the registry can't be read", DigitsError):
        events = api.history(project.root, ARTIFACT, ascending=True)
    commits: dict[str, str] = {}
    for event in events:
        if event["event"] == "registration":
            commits[event["version"]] = event["commit"]
        elif event["event"] == "deregistration":
            commits.pop(event["version"], None)
    newest_first = sorted(commits, key=SemVer, reverse=True)

    changes = [one for one in events if one["stage"] == CHAMPION and one["version"] in commits]
    # GTO orders events by time in whole seconds; its counter orders those of the same second
    changes.sort(key=lambda event: api.parse_tag(event["ref"]).get("counter", 0))
    return {name: commits[name] for name in newest_first}, _champions(changes)


def _champions(changes: list[dict[str, Any]]) -> list[str]:
    """The champions, current one last; a rollback removes the champion that it replaces."""
    champions: list[str] = []
    for event in changes:
        name = event["version"]
        if event["event"] == "unassignment":
            champions = [champion for champion in champions if champion != name]
        elif event["message"].startswith(_ROLLBACK) and champions[-2:-1] == [name]:
            champions.pop()
        elif champions[-1:] != [name]:
            champions.append(name)
    return champions


def _assign(project: Project, version: str, message: str) -> None:
    from gto import api

    # force: GTO refuses a version that was champion before
    with _gto_errors("no tag was made"):
        api.assign(project.root, ARTIFACT, CHAMPION, version, message=message, force=True)


def _with_v(version: str) -> str:
    return f"v{version.removeprefix('v')}"


@contextmanager
def _gto_errors(context: str, error: type[DigitsError] = RegistryError) -> Iterator[None]:
    from gto.exceptions import GTOException
    from scmrepo.exceptions import SCMError

    try:
        yield
    except (GTOException, SCMError) as exc:
        raise error(f"{context}: {' '.join(str(exc).split())}") from exc


# versions


def _read_version(
    project: Project, name: str, commits: dict[str, str], champions: list[str]
) -> Version:
    """A version; without figures if its reports are missing or damaged, which `verify` reports."""
    commit, accuracy, digests = commits[name], None, {}
    with suppress(DigitsError):
        digests = _digests(_card(project, commit))
    with suppress(DataError, AttributeError, LookupError, TypeError, ValueError):
        accuracy = float(git.read_mapping(project, _METRICS, commit).get("test", {})["accuracy"])
    return Version(name, f"{ARTIFACT}@{name}", commit, name in champions[-1:], accuracy, digests)


def _check_committed(project: Project) -> None:
    paths = ["dvc.yaml", "dvc.lock", "params.yaml", "data.dvc", "reports"]
    changed = git.run(project, "status", "--porcelain", "--untracked-files=no", "--", *paths)
    if changed:
        names = ", ".join(line[3:] for line in changed.splitlines()[:5])
        raise RegistryError(f"differs from HEAD: {names}; commit it, then register")


def _card(project: Project, commit: str) -> dict[str, Any]:
    card = git.read_mapping(project, _CARD, commit)
    if not card:
        raise RegistryError(
            f"{_CARD}: not in commit {commit[:7]}; run 'dvc repro' and commit its reports"
        )
    return card


def _digests(card: dict[str, Any]) -> dict[str, str]:
    """The weights files of a model card: path → SHA-256."""
    digests = card.get("weights")
    if not isinstance(digests, dict) or not digests:
        raise RegistryError(f"{_CARD}: lists no weights; run 'dvc repro' to write it again")
    for name, digest in digests.items():
        parts = PurePosixPath(name).parts
        if parts[:1] != (_MODELS,) or ".." in parts:
            raise RegistryError(f"{_CARD}: '{name}' is not a path inside {_MODELS}/")
        if not fullmatch(r"[0-9a-f]{64}", str(digest)):
            raise RegistryError(f"{_CARD}: '{name}' has {digest!r}, expected a SHA-256 in hex")
    return dict(sorted(digests.items()))


# weights files


def _matches(folder: Path, card: dict[str, Any]) -> bool:
    try:
        weights.verified(folder, card)
        return bool(files.read_json(folder / _CARD) == card)
    except (RegistryError, DataError):
        return False


def _check_files(version: str, root: Path, digests: dict[str, str]) -> list[Check]:
    checks = []
    for name, expected in digests.items():
        path = root / name
        found = files.sha256(path) if path.is_file() else ""
        state: State = "absent" if not found else "ok" if found == expected else "mismatch"
        checks.append(Check(version, name, state, expected, found))
    return checks


def _check_version(project: Project, version: Version) -> list[Check]:
    try:
        digests = _digests(_card(project, version.commit))
    except (DataError, RegistryError) as exc:
        return [Check(version.name, _CARD, "mismatch", "a model card with digests", str(exc))]
    copy = project.registry_cache / version.name
    if copy.is_dir():
        return _check_files(version.name, copy, digests)
    with tempfile.TemporaryDirectory() as folder:
        with suppress(RegistryError):  # neither DVC's cache nor a remote has the files
            _download(project, version, Path(folder) / _MODELS)
        return _check_files(version.name, Path(folder), digests)


def _download(project: Project, version: Version, target: Path) -> None:
    try:
        dvc.get(project, version.commit, _MODELS, target)
    except StageError as exc:
        remote = "" if dvc.remote_configured(project) else " and no DVC remote is configured"
        raise RegistryError(
            f"{version.name}: its files are not in DVC's cache{remote} ({exc}); "
            "add the remote that has them ('dvc remote add'), or run 'dvc pull' in a clone that has"
        ) from exc
