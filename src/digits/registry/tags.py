"""The registry's git tags, in the format of GTO: `digits@v0.2.0`, `digits#champion#3`.

A tag is created as one atomic step of git. The first line of its annotation is for people; below
it is a JSON object of facts. Both are untrusted: whoever may push tags wrote them.
"""

import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from digits.core.errors import DigitsError, RegistryError
from digits.core.project import Project
from digits.formatting import one_line
from digits.versioning import command, git

ARTIFACT = "digits"
CHAMPION = "champion"
_PATTERNS = (f"refs/tags/{ARTIFACT}@*", f"refs/tags/{ARTIFACT}#*")
_FIELDS = (
    "%(refname:lstrip=2)",
    "%(objectname)",
    "%(*objecttype)",  # of what the tag points to; empty for a lightweight tag
    "%(*objectname)",
    "%(tag)",  # the name inside the tag object, which a signature covers
    "%(taggerdate:iso-strict)",
    "%(taggername) %(taggeremail)",
    "%(contents:subject)",
    "%(contents:body)",
    "%(contents:signature)",
)
_MAX_SUBJECT = 200  # characters
_MAX_FACTS = 64 << 10  # characters; ours have about 3,000
_ABANDONED = 2.0  # s; git holds the lock of a reference for milliseconds

Action = Literal["register", "deregister", "assign", "unassign"]
Signature = Literal["good", "bad", "none", "unknown key"]


@dataclass(frozen=True)
class Tag:
    """An annotated tag about a version or a stage; `facts` is empty if it has no JSON object.

    `problem` says why the annotation can't be used. Times are ISO 8601.
    """

    name: str
    id: str  # of the tag object
    action: Action
    version: str  # empty for an assignment, which names a commit
    stage: str
    counter: int
    commit: str
    time: str
    tagger: str
    subject: str
    signed: bool
    facts: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def read(project: Project) -> list[Tag]:
    """All annotated tags of the registry, oldest assignment first; other tags are ignored.

    Raises:
        DigitsError: this is no git repository.
    """
    form = "%00".join(_FIELDS) + "%00"
    try:
        text = git.run(project, "for-each-ref", f"--format={form}", *_PATTERNS)
    except DigitsError as exc:
        raise DigitsError(f"the registry can't be read: {exc}") from exc
    cells = text.split("\0")
    rows = (cells[i : i + len(_FIELDS)] for i in range(0, len(cells) - 1, len(_FIELDS)))
    tags = [tag for row in rows if (tag := _parse(row))]
    return sorted(tags, key=lambda tag: tag.counter)


def name_of_version(version: str) -> str:
    """The tag that registers a version."""
    from gto.constants import Action as Gto
    from gto.tag import name_tag

    return str(name_tag(Gto.REGISTER, ARTIFACT, version=version, simple=True))


def name_of_next(project: Project, stage: str = CHAMPION) -> str:
    """The tag that assigns a stage, such as champion, to a version; it is numbered."""
    from gto.constants import Action as Gto
    from gto.tag import name_tag
    from scmrepo.git import Git

    with contextlib.closing(Git(str(project.root))) as scm:
        return str(name_tag(Gto.ASSIGN, ARTIFACT, stage=stage, scm=scm))


def create(project: Project, name: str, commit: str, subject: str, facts: dict[str, Any]) -> None:
    """Create an annotated tag, signed if the user signs tags. It exists then, or nothing changed.

    Raises:
        RegistryError: the tag exists, git doesn't know who the user is, or signing failed.
    """
    document = json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False)
    document = document.encode(errors="replace").decode()  # arguments may be no UTF-8
    if len(document) > _MAX_FACTS:
        raise RegistryError("no tag was made: the model card is too large to be recorded in it")
    sign = "--sign" if signs(project) else "--no-sign"
    message = f"--message={one_line(subject)[:_MAX_SUBJECT]}\n\n{document}\n"
    ref = f"refs/tags/{name}"
    try:
        git.run(
            project, "tag", "--annotate", sign, "--cleanup=verbatim", message, "--", name, commit
        )
    except DigitsError as exc:
        raise RegistryError(f"no tag was made: {exc}; {_advice(str(exc))}") from exc
    made = git.run(project, "for-each-ref", "--format=%(objectname) %(contents:signature)", ref)
    tag, _, signed = made.strip().partition(" ")
    if sign == "--sign" and not signed:  # git 2.39 succeeds without the file of an SSH key
        git.run(project, "update-ref", "-d", ref, tag)
        raise RegistryError(f"no tag was made: git couldn't sign it; {_advice('sign')}")


def signs(project: Project) -> bool:
    """Whether the user's tags are signed: `tag.gpgSign` decides, else whether there is a key."""
    setting = _config(project, "--type=bool", "tag.gpgSign")
    return setting == "true" if setting else bool(_config(project, "user.signingKey"))


def signature(project: Project, tag: Tag) -> Signature:
    """Verify a tag's signature, OpenPGP or SSH, with the keys that git is configured to trust."""
    if not tag.signed:
        return "none"
    done = command.run(project, "git", "verify-tag", "--raw", tag.id)
    if done.returncode == 0:
        return "good"
    lines = (done.stderr + done.stdout).decode(errors="replace")
    bad = ("[GNUPG:] BADSIG", "incorrect signature", "[GNUPG:] REVKEYSIG", "[GNUPG:] EXPKEYSIG")
    return "bad" if any(sign in lines for sign in bad) else "unknown key"


def clear_abandoned_locks(project: Project) -> None:
    """Remove locks of tags that a killed git left behind.

    The caller holds the registry's lock, so no command of ours is at work, and git itself holds
    the lock of a reference for milliseconds.
    """
    path = git.run(project, "rev-parse", "--git-path", "refs/tags").rstrip("\n")
    for pattern in (f"{ARTIFACT}@*.lock", f"{ARTIFACT}#*.lock"):
        for lock in (project.root / path).glob(pattern):
            _clear(lock)


def _clear(lock: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # its git was alive, and finished
        while (age := time.time() - lock.stat().st_mtime) < _ABANDONED:
            time.sleep(min(0.1, max(0.0, _ABANDONED - age)))
        lock.unlink()


def _parse(row: list[str]) -> Tag | None:
    from gto.constants import Action as Gto
    from gto.tag import parse_name

    name, oid, kind, commit, inner, time_, tagger, subject, body, signed = row
    name = name.lstrip("\n")
    parsed = parse_name(name, raise_on_fail=False)
    actions: dict[Any, Action] = {
        Gto.REGISTER: "register",
        Gto.DEREGISTER: "deregister",
        Gto.ASSIGN: "assign",
        Gto.UNASSIGN: "unassign",
    }
    if kind != "commit" or not parsed or parsed.get("action") not in actions:
        return None
    facts, problem = _facts(body)
    if inner != name:
        problem = f"the tag object names itself '{one_line(inner)}'"
    return Tag(
        name=name,
        id=oid,
        action=actions[parsed["action"]],
        version=parsed.get("version", ""),
        stage=parsed.get("stage", ""),
        counter=parsed.get("counter", 0),
        commit=commit,
        time=time_,
        tagger=one_line(tagger),
        subject=one_line(subject),
        signed=bool(signed.strip()),
        facts=facts,
        problem=problem,
    )


def _facts(body: str) -> tuple[dict[str, Any], str]:
    """The facts in an annotation, and why they can't be read."""
    text = body.strip()
    if not text.startswith("{"):
        return {}, ""
    try:
        if len(text) > _MAX_FACTS:
            raise ValueError(f"more than {_MAX_FACTS:,} characters")
        document = json.loads(text)
    except (ValueError, RecursionError) as exc:
        return {}, f"its facts can't be read ({one_line(str(exc))})"
    return document, ""


def _advice(error: str) -> str:
    if "already exists" in error:
        return "another process made it; see 'digits models list', then try again"
    if "sign" in error:
        return "repair the key, or switch signing off with 'git config tag.gpgSign false'"
    if "ident" in error or "user.email" in error:
        return "set 'git config user.name NAME' and 'git config user.email ADDRESS'"
    return "nothing changed"


def _config(project: Project, *arguments: str) -> str:
    done = command.run(project, "git", "config", "--get", *arguments)
    return done.stdout.decode(errors="replace").strip()
