"""The model registry: which versions there are, and which one is the champion.

It is kept in git tags in GTO's format, which `gto` and `dvc artifacts get` read too. What changes
it holds a lock, so of two commands at once one wins, and the other says so.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import fullmatch
from typing import Any, Literal

from digits.core import files, locking
from digits.core.errors import DigitsError, RegistryError
from digits.core.project import Project
from digits.formatting import one_line
from digits.gate.judgement import Judgement
from digits.registry import catalogue, decision, facts, merged, store, tags
from digits.registry.catalogue import WORKSPACE, Version, find, versions
from digits.registry.tags import ARTIFACT, CHAMPION
from digits.versioning import consistency, git

__all__ = [
    "ARTIFACT",
    "CHAMPION",
    "FIRST",
    "WORKSPACE",
    "Bump",
    "Promotion",
    "Version",
    "find",
    "get",
    "materialise",
    "promote",
    "register",
    "rollback",
    "versions",
]

FIRST = "v0.1.0"

Bump = Literal["patch", "minor", "major"]
Outcome = Literal["promoted", "already", "kept", "refused"]


@dataclass(frozen=True)
class Promotion:
    """What became of a promotion. `champion` is the champion afterwards, None if there is none.

    `judgement` is None if the gate wasn't asked or couldn't be; `reasons` says why.
    """

    outcome: Outcome
    version: Version
    champion: Version | None
    verdict: str
    reasons: list[str]
    judgement: Judgement | None = None


def register(
    project: Project, version: str | None = None, bump: Bump = "patch", why: str = ""
) -> Version:
    """Tag HEAD as `version`, by default the newest version with one of its numbers raised.

    Raises:
        RegistryError: something is stale or not committed, the weights don't match HEAD's model
            card or are those of a registered version, `version` is not a version number, or HEAD
            or `version` is registered already.
        BusyError: another command is changing the registry.
    """
    with _changing(project, "digits models register"):
        state = catalogue.read(project)
        name = _new_name(list(state.registered), version, bump)
        head = git.resolve(project, "HEAD")
        _check_new(project, name, head, state)
        parent = state.champion or next(iter(state.registered), None)
        recorded = {
            "event": "register",
            "version": name,
            "parent": parent,
            "why": why,
            "environment": facts.of_machine(),
            **facts.of_commit(project, head),
        }
        tags.create(
            project, tags.name_of_version(name), head, _titled(f"Register {name}", why), recorded
        )
    return find(project, name)


def promote(
    project: Project,
    version: str,
    why: str = "",
    force: bool = False,
    reason: str = "",
    stage: str = CHAMPION,
) -> Promotion:
    """Make a version the champion, if the gate says so and its commit is merged.

    Args:
        force: promote it whatever the gate says, and unmerged; needs a `reason`.
        stage: another one than champion, such as staging: a name under which the version can be
            got. The gate is asked, too, and a version that it wouldn't reject is good enough.

    Raises:
        RegistryError: the version is unknown or not merged, its files are missing or don't match
            its card, `stage` is no name, or `force` comes without a reason.
        BusyError: another command is changing the registry.
    """
    if force and not reason.strip():
        raise RegistryError("--force needs --reason TEXT, which is recorded")
    _check_stage(stage)
    with _changing(project, "digits models promote"):
        chosen = find(project, version)
        if chosen.champion if stage == CHAMPION else stage in chosen.stages:
            return Promotion("already", chosen, chosen, "", [])
        unmerged = merged.objection(project, chosen.commit)
        if unmerged and not force:
            raise RegistryError(f"{chosen.name}: {unmerged}; or use --force --reason TEXT")
        current = catalogue.read(project).champion
        # a promotion that another program makes while the gate works takes this name
        tag = tags.name_of_next(project, stage)
        champion = find(project, current) if current else None
        store.materialise(project, chosen)  # a model whose files are wrong can't be forced, either
        verdict, reasons, judgement = _judge(project, chosen, force)
        enough = ("promote",) if stage == CHAMPION else ("promote", "keep")
        if verdict not in enough and not force:
            outcome: Outcome = "kept" if verdict == "keep" else "refused"
            return Promotion(outcome, chosen, champion, verdict, reasons, judgement)
        recorded = {
            "event": "promote",
            "stage": stage,
            "version": chosen.name,
            "commit": chosen.commit,
            "weights": chosen.weights,
            "parent": current,
            "why": why,
            "verdict": verdict,
            "reasons": reasons,
            "forced": reason if force else None,
            "merged": not unmerged,
        }
        title = f"Promote {chosen.name}" + ("" if stage == CHAMPION else f" to {stage}")
        title += "" if verdict in enough else " against the gate"
        subject = _titled(title, reason or why or "; ".join(reasons))
        tags.create(project, tag, chosen.commit, subject, recorded)
    made = find(project, chosen.name)
    return Promotion("promoted", made, made, verdict, reasons, judgement)


def rollback(project: Project, reason: str = "") -> tuple[Version, Version]:
    """Make the previous champion the champion again; returns it and the one it replaces.

    A second rollback goes back one more champion; it doesn't undo the first. The gate isn't asked.

    Raises:
        RegistryError: there is no previous champion, or its files are missing or don't match its
            card.
        BusyError: another command is changing the registry.
    """
    with _changing(project, "digits models rollback"):
        champions = catalogue.read(project).champions
        if len(champions) < 2:
            why = f"{champions[0]} is the first champion" if champions else "no champion yet"
            raise RegistryError(f"{why}: nothing to roll back to; see 'digits models list'")
        previous, current = (find(project, name) for name in champions[-2:])
        store.materialise(project, previous)
        subject = f"{catalogue.ROLLBACK} from {current.name} to {previous.name}"
        recorded = {
            "event": "rollback",
            "version": previous.name,
            "commit": previous.commit,
            "weights": previous.weights,
            "parent": current.name,
            "why": reason,
        }
        name = tags.name_of_next(project)
        tags.create(project, name, previous.commit, _titled(subject, reason), recorded)
    return find(project, previous.name), find(project, current.name)


def materialise(project: Project, version: str = CHAMPION) -> Path:
    """A version as a folder for `Recogniser.load`: its models/ and model card, both verified.

    Raises:
        RegistryError: the version is unknown, its files are missing, or they don't match its card.
    """
    return store.materialise(project, find(project, version))


def get(project: Project, version: str, out: Path | None = None) -> tuple[Version, Path]:
    """A version, and the folder that holds exactly its files, by default in build/registry.

    Raises:
        RegistryError: as for `materialise`, or `out` holds something else.
    """
    chosen = find(project, version)
    return chosen, store.get(project, chosen, out)


@contextlib.contextmanager
def _changing(project: Project, who: str) -> Iterator[None]:
    """Be the only command that changes the registry of this clone, and clean up after a killed one.

    Raises:
        BusyError: another one is at work.
    """
    with locking.exclusive(project.state / "registry.lock", who):
        tags.clear_abandoned_locks(project)
        yield


def _new_name(existing: list[str], version: str | None, bump: Bump) -> str:
    from gto.versions import SemVer

    if version is None:
        if not existing:
            return FIRST
        return str(SemVer(existing[0]).bump(**{f"bump_{bump}": True}).version)
    name = catalogue.with_v(version)
    if not SemVer.is_valid(name):
        raise RegistryError(f"'{version}' is not a version number; expected a form like {FIRST}")
    return name


def _check_new(project: Project, name: str, head: str, state: catalogue.State) -> None:
    """Raise RegistryError unless HEAD can be registered under this name."""
    if name in state.registered:
        raise RegistryError(
            f"{name} is registered already (commit {state.registered[name].commit[:7]}); "
            "choose another version, or leave it out to count up"
        )
    for other, tag in state.registered.items():
        if tag.commit == head:
            raise RegistryError(f"HEAD is registered already, as {other}")
    card = catalogue.card(project, head)
    digests = catalogue.digests(card)
    found = consistency.check(project)
    if found.uncommitted:
        names = ", ".join(found.uncommitted[:5])
        raise RegistryError(f"differs from HEAD: {names}; commit it, then register")
    _check_weights(project, card, digests)
    if found.problems:
        raise RegistryError(
            f"HEAD's results don't belong together: {'; '.join(found.problems)}; "
            "run 'digits run' and commit the results, then register; "
            "after switching branches, 'dvc checkout' is enough"
        )
    for other, tag in state.registered.items():
        if catalogue.weights(project, tag.commit) == digests:
            raise RegistryError(
                f"HEAD's model is {other}: the same weights; "
                f"use that version ('digits models promote {other}')"
            )


def _check_weights(project: Project, card: dict[str, Any], digests: dict[str, str]) -> None:
    for name, expected in digests.items():
        path = project.root / name
        found = files.sha256(path) if path.is_file() else ""
        if found != expected:
            what = f"SHA-256 is {found}, HEAD's model card has {expected}" if found else "not found"
            command = store.restore_command(project, card)
            again = " and commit the results" if command == "digits run" else ""
            raise RegistryError(f"{name}: {what}; run '{command}'{again}, then register")


def _judge(
    project: Project, chosen: Version, force: bool
) -> tuple[str, list[str], Judgement | None]:
    """The gate's verdict and reasons; with `force`, also when it can't be asked."""
    try:
        judgement = decision.decide(project, chosen.name, merged.policy(project)).judgement
    except DigitsError as exc:
        if not force:
            raise
        return "cannot judge", [str(exc)], None
    return judgement.verdict, judgement.reasons, judgement


def _check_stage(stage: str) -> None:
    """Raise RegistryError if GTO would not accept a stage's name, or it means something else."""
    if not fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", stage) or stage == WORKSPACE:
        raise RegistryError(
            f"'{one_line(stage)}' is no name for a stage; expected lower-case letters, digits and "
            "hyphens, such as staging"
        )


def _titled(title: str, text: str) -> str:
    return f"{title}: {text}" if text else title
