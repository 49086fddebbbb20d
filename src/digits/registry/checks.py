"""Are weights and tags what they claim to be?"""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from digits.core import files
from digits.core.errors import DataError, RegistryError
from digits.core.project import Project
from digits.registry import catalogue, facts, store, tags
from digits.registry.catalogue import CARD, MODELS, WORKSPACE, Version
from digits.registry.tags import Signature, Tag

FileState = Literal["ok", "mismatch", "absent"]


@dataclass(frozen=True)
class FileCheck:
    """The result of checking one weights file of one version against its model card."""

    version: str
    file: str
    state: FileState
    expected: str
    found: str


@dataclass(frozen=True)
class TagCheck:
    """The result of checking one tag. `problem` is empty if what it says is what its commit says.

    `recorded` tells whether it says anything, which tags that were made without `digits` don't.
    """

    tag: str
    version: str
    signature: Signature
    recorded: bool
    problem: str

    @property
    def ok(self) -> bool:
        """Whether the tag can be trusted as far as it can be checked."""
        return not self.problem and self.signature != "bad"


def check_files(project: Project, version: str | None = None) -> list[FileCheck]:
    """Check every weights file of one version, or of the workspace and of every version.

    A version's files are read from build/registry, else from DVC's cache or remote. A file that
    is in none of them is "absent".

    Raises:
        RegistryError: the version isn't registered, or the workspace's card is malformed.
    """
    if version:
        return _of_version(project, catalogue.find(project, version))
    checks: list[FileCheck] = []
    if project.model_card.is_file():
        card = files.read_json(project.model_card)
        checks += _of_folder(WORKSPACE, project.root, catalogue.digests(card))
    for one in catalogue.versions(project):
        checks += _of_version(project, one)
    return checks


def check_tags(project: Project, version: str | None = None) -> list[TagCheck]:
    """Check the signature and the facts of every tag, or of those about one version.

    Raises:
        RegistryError: the version isn't registered.
    """
    found = tags.read(project)
    names = {tag.commit: tag.version for tag in found if tag.action == "register"}
    commit = catalogue.find(project, version).commit if version else None
    return [
        _of_tag(project, tag, names)
        for tag in found
        if tag.action in ("register", "assign") and commit in (None, tag.commit)
    ]


def _of_tag(project: Project, tag: Tag, names: dict[str, str]) -> TagCheck:
    name = tag.version or names.get(tag.commit, "")
    problem = tag.problem
    if not problem and tag.facts:
        claimed = tag.facts.get("version")
        if claimed != (name or claimed):
            problem = f"the tag points to {name}, and says that it is about another version"
        elif not name:
            problem = "the tag points to a commit that is no registered version"
        elif tag.facts.get("commit") != tag.commit:
            problem = "the tag was moved: it says that it is about another commit"
        else:
            problem = facts.contradiction(project, tag.commit, tag.facts)
    return TagCheck(tag.name, name, tags.signature(project, tag), bool(tag.facts), problem)


def _of_folder(version: str, root: Path, digests: dict[str, str]) -> list[FileCheck]:
    checks = []
    for name, expected in digests.items():
        path = root / name
        found = files.sha256(path) if path.is_file() else ""
        state: FileState = "absent" if not found else "ok" if found == expected else "mismatch"
        checks.append(FileCheck(version, name, state, expected, found))
    return checks


def _of_version(project: Project, version: Version) -> list[FileCheck]:
    try:
        digests = catalogue.digests(catalogue.card(project, version.commit))
    except (DataError, RegistryError) as exc:
        return [FileCheck(version.name, CARD, "mismatch", "a model card with digests", str(exc))]
    copy = project.registry_cache / version.name
    if copy.is_dir():
        return _of_folder(version.name, copy, digests)
    with tempfile.TemporaryDirectory(prefix="digits-") as folder:
        with suppress(RegistryError):  # neither DVC's cache nor a remote has the files
            store.download(project, version, Path(folder) / MODELS)
        return _of_folder(version.name, Path(folder), digests)
