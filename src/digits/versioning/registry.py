"""The model registry: versions and the champion as git tags, weights that match their card.

The tags are GTO's (`digits@v0.2.0`, `digits#champion#3`), so `gto` and `dvc artifacts get` read
them too. A version is a commit; its model card, reports/model.json, names the SHA-256 of every
weights file. Opening them is `digits.models.weights`' affair.
"""

import json
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from digits.core import files
from digits.core.errors import DataError, RegistryError, StageError
from digits.core.project import Project
from digits.models import weights
from digits.versioning import dvc, git

ARTIFACT = "digits"
CHAMPION = "champion"
FIRST = "v0.1.0"
WORKSPACE = "workspace"
_MODELS = "models"  # the artifact's path in dvc.yaml; the card's paths start with it
_CARD = "reports/model.json"
_METRICS = "reports/metrics.json"
_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?")  # as in GTO's tags
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BACK = "Roll back"

Bump = Literal["patch", "minor", "major"]
State = Literal["ok", "mismatch", "absent"]


@dataclass(frozen=True)
class Version:
    """One registered model: figures as its commit reports them, digests as its card has them."""

    name: str
    tag: str
    commit: str
    champion: bool
    accuracy: float | None  # on the test set, 0 to 1
    weights: dict[str, str]  # file → SHA-256


@dataclass(frozen=True)
class Check:
    """What became of one weights file of one version."""

    version: str
    file: str
    state: State
    expected: str
    found: str


def versions(project: Project) -> list[Version]:
    """All registered versions, the newest first."""
    champion = next(iter(reversed(_champions(project))), None)
    registered = _registered(project)
    return [
        _read(project, name, registered[name], champion=name == champion)
        for name in sorted(registered, key=_order, reverse=True)
    ]


def find(project: Project, version: str = CHAMPION) -> Version:
    """The version of that name (`v0.1.0` or `0.1.0`), or the champion.

    Raises:
        RegistryError: there is no such version, or no champion yet.
    """
    known = versions(project)
    if version == CHAMPION:
        wanted = [one for one in known if one.champion]
        if not wanted:
            raise RegistryError("no champion yet; run 'digits models promote VERSION'")
        return wanted[0]
    name = f"v{version.removeprefix('v')}"
    for one in known:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in known) or "none; run 'digits models register'"
    raise RegistryError(f"version '{version}' is not registered; there are: {names}")


def register(project: Project, version: str | None = None, bump: Bump = "patch") -> Version:
    """Tag HEAD as a version: `version`, else the newest one with one of its numbers raised.

    Raises:
        RegistryError: the tree differs from HEAD, the card is not committed, the weights don't
            match it, the version's form is wrong, or HEAD or the version is registered already.
    """
    head = git.resolve(project, "HEAD")
    _check_committed(project)
    weights.verified(project.root, _card(project, head))
    registered = _registered(project)
    for name, commit in registered.items():
        if commit == head:
            raise RegistryError(f"HEAD ({head[:7]}) is registered already, as {name}")
    name = _well_formed(version) if version else _next(registered, bump)
    _tag(
        lambda api: api.register(
            project.root, ARTIFACT, head, version=name, message=f"Register {ARTIFACT} {name}"
        )
    )
    return find(project, name)


def promote(project: Project, version: str) -> tuple[Version, bool]:
    """Make a version the champion: that version, and whether it was not the champion before."""
    chosen = find(project, version)
    if chosen.champion:
        return chosen, False
    _assign(project, chosen.name, f"Promote {chosen.name}")
    return find(project, chosen.name), True


def rollback(project: Project) -> tuple[Version, Version]:
    """The champion before the present one is champion again: (it, the one that was).

    Called again it goes one further back, not forth.

    Raises:
        RegistryError: there was no champion before.
    """
    champions = _champions(project)
    if len(champions) < 2:
        present = f"{champions[0]} is the first champion" if champions else "no champion yet"
        raise RegistryError(f"{present}: nothing to roll back to")
    before, present = champions[-2:]
    _assign(project, before, f"{_BACK} from {present} to {before}")
    return find(project, before), find(project, present)


def verify(project: Project) -> list[Check]:
    """Every weights file of the workspace and of every version against its registered SHA-256.

    A version's files are those in build/registry, else those that DVC's cache or remote has; what
    is in none of them is "absent".
    """
    checks: list[Check] = []
    if project.model_card.is_file():
        card = files.read_json(project.model_card)
        checks += _check(WORKSPACE, project.root, _digests(card))
    for version in versions(project):
        checks += _check_version(project, version)
    return checks


def materialise(project: Project, version: str = CHAMPION) -> Path:
    """A version as a folder that `Recogniser.load` takes: models/ and its card, both as registered.

    Raises:
        RegistryError: the version is unknown, its files are nowhere, or not what was registered.
    """
    chosen = find(project, version)
    card = _card(project, chosen.commit)
    folder = project.registry_cache / chosen.name
    if not _is_good(folder, card):  # absent or damaged: it is only a copy, make a good one
        with files.replacing_folder(folder) as temporary:
            _get(project, chosen, temporary / _MODELS)
            weights.verified(temporary, card)
            files.write_json(temporary / _CARD, card)
    return folder


def describe(check: Check) -> str:
    """One line on a file that is not what was registered."""
    return (
        f"{check.version}: {check.file}: SHA-256 is {check.found}, expected {check.expected}; "
        "don't use it; delete it and run 'dvc pull' or 'dvc repro'"
    )


# tags


def _registered(project: Project) -> dict[str, str]:
    """Version → commit."""
    found: dict[str, str] = {}
    withdrawn: set[str] = set()
    for tag, commit in _tags(project, f"{ARTIFACT}@*").items():
        name = tag.removeprefix(f"{ARTIFACT}@").split("#")[0]
        if name.endswith("!"):  # GTO's mark for a version that was taken back
            withdrawn.add(name.removesuffix("!"))
        elif _VERSION.fullmatch(name):
            found[name] = commit
    return {name: commit for name, commit in found.items() if name not in withdrawn}


def _champions(project: Project) -> list[str]:
    """The champions up to the present one, which is last; what was rolled back is gone."""
    names = {commit: name for name, commit in _registered(project).items()}
    history: list[str] = []
    tags = _tags(project, f"{ARTIFACT}#{CHAMPION}*")
    for tag in sorted(tags, key=lambda tag: int(tag.rpartition("#")[2])):
        name = names.get(tags[tag])
        if name is None:
            continue
        if tag.startswith(f"{ARTIFACT}#{CHAMPION}!"):
            history = [one for one in history if one != name]
        elif _message(project, tag).startswith(_BACK) and history[-2:-1] == [name]:
            history.pop()
        elif history[-1:] != [name]:
            history.append(name)
    return history


def _tags(project: Project, pattern: str) -> dict[str, str]:
    """Annotated tag → commit; like GTO, lightweight tags don't count."""
    form = "%(objecttype) %(*objectname) %(refname:strip=2)"
    lines = git.run(project, "for-each-ref", f"--format={form}", f"refs/tags/{pattern}")
    rows = [line.split(" ", 2) for line in lines.splitlines()]
    counted = re.compile(rf"{ARTIFACT}(@.+|#{CHAMPION}!?#\d+)")
    return {tag: commit for kind, commit, tag in rows if kind == "tag" and counted.fullmatch(tag)}


def _message(project: Project, tag: str) -> str:
    return git.run(project, "for-each-ref", "--format=%(contents:subject)", f"refs/tags/{tag}")


def _assign(project: Project, version: str, message: str) -> None:
    # force: GTO refuses a version that was champion before
    _tag(
        lambda api: api.assign(
            project.root, ARTIFACT, CHAMPION, version=version, message=message, force=True
        )
    )


def _tag(action: Callable[[Any], Any]) -> None:
    from gto import api
    from gto.exceptions import GTOException
    from scmrepo.exceptions import SCMError

    try:
        action(api)
    except (GTOException, SCMError) as exc:
        raise RegistryError(f"no tag was made: {exc}") from exc


# versions


def _order(name: str) -> tuple[int, int, int, bool, str]:
    major, minor, patch, suffix = _parts(name)
    return major, minor, patch, not suffix, suffix  # a pre-release comes before its release


def _parts(name: str) -> tuple[int, int, int, str]:
    match = _VERSION.fullmatch(name)
    if not match:
        raise RegistryError(f"'{name}' is no version; expected a form like {FIRST}")
    return int(match[1]), int(match[2]), int(match[3]), match[4] or ""


def _well_formed(version: str) -> str:
    name = f"v{version.removeprefix('v')}"
    _parts(name)
    return name


def _next(registered: dict[str, str], bump: Bump) -> str:
    if not registered:
        return FIRST
    major, minor, patch, _ = _parts(max(registered, key=_order))
    raised = {
        "major": (major + 1, 0, 0),
        "minor": (major, minor + 1, 0),
        "patch": (major, minor, patch + 1),
    }
    return "v" + ".".join(map(str, raised[bump]))


def _read(project: Project, name: str, commit: str, *, champion: bool) -> Version:
    """A version whose reports are missing or damaged is listed too; `verify` says what is wrong."""
    accuracy, digests = None, {}
    with suppress(RegistryError):
        digests = _digests(_card(project, commit))
    with suppress(RegistryError):
        test = (_document(project, commit, _METRICS) or {}).get("test")
        figure = test.get("accuracy") if isinstance(test, dict) else None
        accuracy = float(figure) if isinstance(figure, int | float) else None
    return Version(name, f"{ARTIFACT}@{name}", commit, champion, accuracy, digests)


# cards and files


def _check_committed(project: Project) -> None:
    kept = ["dvc.yaml", "dvc.lock", "params.yaml", "data.dvc", "reports"]
    changed = git.run(project, "status", "--porcelain", "--untracked-files=no", "--", *kept)
    if changed:
        names = ", ".join(line[3:] for line in changed.splitlines()[:5])
        raise RegistryError(f"differs from HEAD: {names}; commit it, then register")


def _card(project: Project, commit: str) -> dict[str, Any]:
    card = _document(project, commit, _CARD)
    if card is None:
        raise RegistryError(
            f"{_CARD}: not in commit {commit[:7]}; run 'dvc repro' and commit its reports"
        )
    return card


def _document(project: Project, commit: str, path: str) -> dict[str, Any] | None:
    text = git.show(project, commit, path)
    if text is None:
        return None
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise RegistryError(f"{path} in commit {commit[:7]}: not valid JSON ({exc})") from exc
    if not isinstance(document, dict):
        raise RegistryError(f"{path} in commit {commit[:7]}: expected an object, got {text[:40]!r}")
    return document


def _digests(card: dict[str, Any]) -> dict[str, str]:
    """The card's weights: path → SHA-256."""
    digests = card.get("weights")
    if not isinstance(digests, dict) or not digests:
        raise RegistryError(f"{_CARD}: names no weights; run 'dvc repro' to write it anew")
    for name, digest in digests.items():
        parts = PurePosixPath(name).parts
        if parts[:1] != (_MODELS,) or ".." in parts:
            raise RegistryError(f"{_CARD}: '{name}' is no path inside {_MODELS}/")
        if not _SHA256.fullmatch(str(digest)):
            raise RegistryError(f"{_CARD}: '{name}' has {digest!r}, expected a SHA-256 in hex")
    return dict(sorted(digests.items()))


def _is_good(folder: Path, card: dict[str, Any]) -> bool:
    try:
        weights.verified(folder, card)
        return bool(files.read_json(folder / _CARD) == card)
    except (RegistryError, DataError):
        return False


def _check(version: str, root: Path, digests: dict[str, str]) -> list[Check]:
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
    except RegistryError as exc:
        return [Check(version.name, _CARD, "mismatch", "a model card with digests", str(exc))]
    kept = project.registry_cache / version.name
    if kept.is_dir():
        return _check(version.name, kept, digests)
    with tempfile.TemporaryDirectory() as folder:
        with suppress(RegistryError):  # in no place that DVC knows: absent
            _get(project, version, Path(folder) / _MODELS)
        return _check(version.name, Path(folder), digests)


def _get(project: Project, version: Version, target: Path) -> None:
    try:
        dvc.get(project, version.commit, _MODELS, target)
    except StageError as exc:
        remote = "" if dvc.remote_configured(project) else " and no DVC remote is configured"
        raise RegistryError(
            f"{version.name}: its files are not in DVC's cache{remote} ({exc}); "
            "add the remote that has them ('dvc remote add') or pull them where they are"
        ) from exc
