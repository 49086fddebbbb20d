"""Versions and champions for everybody: first their files to the DVC remote, then their tags."""

from dataclasses import dataclass

from digits.core import locking
from digits.core.errors import DigitsError, RegistryError, StageError
from digits.core.project import Project
from digits.registry import catalogue, store, tags
from digits.registry.catalogue import MODELS, Version, find
from digits.registry.tags import ARTIFACT, Tag
from digits.versioning import dvc, git

_AGAIN = "nothing is lost; repair that, then run 'digits models push' again"


@dataclass(frozen=True)
class Pushed:
    """The tags that a push made visible in a git remote, and the versions they are about."""

    remote: str
    tags: list[str]
    versions: list[str]


def push(project: Project) -> Pushed:
    """Publish what the git remote lacks; a tag is never visible without its files.

    Raises:
        RegistryError: a remote is missing or can't be reached, or the git remote has tags that
            this clone doesn't know, or other ones of the same name; nothing is published then.
        BusyError: another command is changing the registry.
    """
    with locking.exclusive(project.state / "registry.lock", "digits models push"):
        remote = _git_remote(project)
        theirs = _remote_tags(project, remote)
        mine = tags.read(project)
        _check_conflicts(mine, theirs, remote)
        new = [tag for tag in mine if tag.name not in theirs]
        affected = _versions(project, mine, new)
        if affected:
            _push_files(project, affected)
        if new:
            _push_tags(project, remote, new)
    return Pushed(remote, [tag.name for tag in new], [version.name for version in affected])


def _git_remote(project: Project) -> str:
    remotes = git.run(project, "remote").split()
    if not remotes:
        raise RegistryError("there is no git remote to push to; run 'git remote add origin URL'")
    if "origin" in remotes or len(remotes) == 1:
        return "origin" if "origin" in remotes else remotes[0]
    raise RegistryError(
        f"which git remote? There are {', '.join(remotes)}; name one of them origin "
        "('git remote rename NAME origin')"
    )


def _remote_tags(project: Project, remote: str) -> dict[str, str]:
    """The registry's tags in a git remote: name → object id."""
    patterns = (f"refs/tags/{ARTIFACT}@*", f"refs/tags/{ARTIFACT}#*")
    try:
        lines = git.run(project, "ls-remote", "--refs", remote, *patterns).splitlines()
    except DigitsError as exc:
        raise RegistryError(f"git remote '{remote}' can't be read: {exc}; {_AGAIN}") from exc
    pairs = (line.split("\t", 1) for line in lines)
    return {ref.removeprefix("refs/tags/"): oid for oid, ref in pairs}


def _check_conflicts(mine: list[Tag], theirs: dict[str, str], remote: str) -> None:
    """Raise RegistryError if somebody else has published meanwhile: what they did stands."""
    ids = {tag.name: tag.id for tag in mine}
    if any(ids.get(name, oid) != oid for name, oid in theirs.items()):
        own = " ".join(f"'{name}'" for name in sorted(ids) if theirs.get(name) != ids[name])
        raise RegistryError(
            f"somebody else has changed the registry in '{remote}' meanwhile, which stands; "
            f"drop your own tags: git tag --delete {own} && git fetch {remote} --tags; "
            "then see 'digits models list'"
        )
    if missing := [name for name in theirs if name not in ids]:
        raise RegistryError(
            f"'{remote}' has {', '.join(missing[:3])}, which this clone lacks; "
            f"run 'git fetch {remote} --tags', then push again"
        )


def _versions(project: Project, mine: list[Tag], new: list[Tag]) -> list[Version]:
    """The registered versions that new tags are about."""
    commits = {tag.commit for tag in new}
    state = catalogue.read(project, mine)
    names = [name for name, tag in state.registered.items() if tag.commit in commits]
    return [find(project, name) for name in names]


def _push_files(project: Project, affected: list[Version]) -> None:
    if not dvc.remote_configured(project):
        raise RegistryError(
            "there is no DVC remote for the files of versions; "
            "run 'dvc remote add -d NAME URL', then push again"
        )
    missing = [version for version in affected if not store.in_remote(project, version)]
    if not missing:
        return
    for version in missing:
        store.materialise(project, version)  # verified: nothing else is published
    try:
        dvc.push_tagged(project, MODELS)
    except StageError as exc:
        raise RegistryError(f"the files can't be uploaded: {exc}; {_AGAIN}") from exc
    for version in missing:
        if not store.in_remote(project, version):
            raise RegistryError(
                f"{version.name}: its files did not reach the DVC remote; "
                f"run 'dvc push {MODELS}' in a clone whose cache has them"
            )


def _push_tags(project: Project, remote: str, new: list[Tag]) -> None:
    refs = [f"refs/tags/{tag.name}:refs/tags/{tag.name}" for tag in new]
    try:
        git.run(project, "push", "--quiet", "--atomic", remote, *refs)
    except DigitsError as exc:
        raise RegistryError(
            f"the files are uploaded, the tags are not: {exc}; if the remote has newer tags, run "
            f"'digits models push' again for advice; {_AGAIN}"
        ) from exc
