"""SIGKILL of whole process groups while `digits models` registers, promotes, rolls back, pushes
and gets.

After every kill the registry is readable, the champion is the old or the new one and loadable,
published tags have their files, and the next command succeeds.
"""

import contextlib
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import toy_model
from repository import git

from digits.cli import main
from digits.core import files
from digits.core.project import Project
from digits.gate.judgement import Judgement
from digits.plots import sheets
from digits.recogniser import Recogniser
from digits.registry import catalogue, checks, decision, registry, store, tags

COMMANDS = ("register", "promote", "rollback", "push", "get")
_POLL = 0.001  # s
_TIMEOUT = 120.0  # s


class Failure(AssertionError):
    """Something didn't survive a kill."""


@dataclass
class Field:
    """A project with two versions, a champion, a DVC remote and a git remote."""

    project: Project
    hub: Path
    dice: random.Random
    gate: float = 0.2  # share of the promotions that really ask it, which takes seconds
    kills: Counter[str] = field(default_factory=Counter)
    seed: int = 100
    gets: int = 0
    durations: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COMMANDS, 3.0))  # s

    @property
    def watched(self) -> list[Path]:
        """Where the commands write."""
        root = self.project.root
        return [
            root / ".git" / "refs" / "tags",
            self.project.registry_cache,
            self.project.state,
            root.parent / "shelf",
            root.parent / "got",
            self.hub / "refs" / "tags",
        ]


def prepare(folder: Path, dice: random.Random, gate: float = 0.2) -> Field:
    """The project before the first kill."""
    project = toy_model.make(folder / "project")
    for seed in (1, 2):
        toy_model.train(project, seed)
        must(project, "register")
    hub = folder / "hub"
    git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", str(hub))
    git(project.root, "remote", "add", "origin", str(hub))
    # a server's process isn't killed with the client
    git(project.root, "config", "remote.origin.receivepack", "setsid git-receive-pack")
    git(project.root, "push", "--quiet", "--no-verify", "origin", "main")
    must(project, "promote", "v0.1.0")
    must(project, "promote", "v0.1.1", "--force", "--reason", "a test")
    return Field(project, hub, dice, gate)


def kill(here: Field, command: str) -> bool:
    """Kill a command at a random moment, and check what remains; False if it had ended before."""
    arguments = _arguments(here, command)
    before = catalogue.read(here.project)
    if not _killed(here, arguments):
        return False
    here.kills[command] += 1
    after = catalogue.read(here.project)
    _check_champion(here, arguments, before, after)
    _check_published(here)
    _check_next(here, arguments, before, after)
    return True


def must(project: Project, *arguments: str) -> None:
    """Run a `digits models` command that must succeed."""
    code, printed = _run(project, arguments)
    if code:
        raise Failure(f"digits models {' '.join(arguments)}: exit code {code}: {printed}")


def _arguments(here: Field, command: str) -> tuple[str, ...]:
    """A command that has something to do."""
    project, state = here.project, catalogue.read(here.project)
    if command == "register":
        head = git(project.root, "rev-parse", "HEAD").strip()
        if any(tag.commit == head for tag in state.registered.values()):
            here.seed += 1
            toy_model.train(project, here.seed)
            git(project.root, "push", "--quiet", "--no-verify", "origin", "main")
        return ("register", "-m", "a reason")
    others = [name for name in state.registered if name != state.champion]
    if command == "promote" or (command == "rollback" and len(state.champions) < 2):
        return ("promote", here.dice.choice(others), "--force", "--reason", "a test")
    if command == "push" and not _unpublished(here):
        must(project, "promote", here.dice.choice(others), "--force", "--reason", "a test")
    if command == "get":
        here.gets += 1
        version = here.dice.choice(["champion", *others])
        name = state.champion if version == "champion" else version
        if here.dice.random() < 0.7:
            shutil.rmtree(project.registry_cache / str(name), ignore_errors=True)
        return ("get", version, "--out", str(project.root.parent / "got" / str(here.gets)))
    return (command,)


def _killed(here: Field, arguments: tuple[str, ...]) -> bool:
    """Start a command in a process group of its own and kill the group.

    Half of the kills come after a random time, half as soon as the command has changed something
    on disk for the nth time, which is when damage is likely.
    """
    (here.project.root.parent / "got").mkdir(exist_ok=True)
    changes = here.dice.randint(1, 4) if here.dice.random() < 0.5 else None
    limit = here.dice.uniform(0.0, 1.2 * here.durations[arguments[0]]) if not changes else _TIMEOUT
    old, seen, started = _snapshot(here.watched), 0, time.monotonic()
    pid = _start(here.project, arguments, ask_gate=here.dice.random() < here.gate)
    while (found := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() - started < limit:
        if changes and (new := _snapshot(here.watched)) != old:
            old, seen = new, seen + 1
            if seen >= changes:
                break
        time.sleep(_POLL)
    if found == (0, 0):
        os.killpg(pid, signal.SIGKILL)
        found = os.waitpid(pid, 0)
    status = found[1]
    if os.WIFSIGNALED(status):
        return True
    if status:
        raise Failure(f"{arguments}, not killed: {_log(here.project).read_text()}")
    here.durations[arguments[0]] = time.monotonic() - started
    return False


def _check_champion(
    here: Field, arguments: tuple[str, ...], before: catalogue.State, after: catalogue.State
) -> None:
    allowed = [before.champions]
    if arguments[0] == "promote":
        allowed.append([*before.champions, arguments[1]])
    if arguments[0] == "rollback":
        allowed.append(before.champions[:-1])
    if after.champions not in allowed:
        raise Failure(f"champions {after.champions} after {before.champions} and {arguments}")
    champion = registry.find(here.project)
    folder = store.materialise(here.project, champion)
    model = Recogniser.load(folder)
    if files.sha256(folder / toy_model.ONNX) != champion.weights[toy_model.ONNX]:
        raise Failure(f"{folder}: not the champion's weights")
    golden = sheets.cells(here.project.golden.read_bytes())
    if model.predict(golden).argmax(1).tolist() != list(range(10)):
        raise Failure(f"{folder}: the champion misreads")


def _check_published(here: Field) -> None:
    """Whatever tag is visible in the git remote, its files are in the DVC remote."""
    stored = {
        files.sha256(path)
        for path in (here.project.root.parent / "shelf").rglob("*")
        if path.is_file()
    }
    known = {one.name: one for one in registry.versions(here.project)}
    for name in git(here.hub, "tag", "--list", "digits@*").split():
        missing = set(known[name.removeprefix("digits@")].weights.values()) - stored
        if missing:
            raise Failure(f"{name} is visible, but its files are not in the DVC remote")


def _check_next(
    here: Field, arguments: tuple[str, ...], before: catalogue.State, after: catalogue.State
) -> None:
    """The same command finishes what was begun, or another one if it had been finished."""
    done = before != after and arguments[0] in ("register", "rollback")
    if not done:
        must(here.project, *arguments)
    if arguments[0] == "get":
        out = Path(arguments[-1])
        version = registry.find(here.project, arguments[1])
        if not store.matches(out, catalogue.card(here.project, version.commit)):
            raise Failure(f"{out}: not exactly {version.name}")
        if left := list(out.parent.glob(".*")):
            raise Failure(f"left by a killed get: {left}")
    if arguments[0] == "push" and (left_out := _unpublished(here)):
        raise Failure(f"not pushed: {left_out}")
    champion = str(catalogue.read(here.project).champion)
    wrong = [one for one in checks.check_files(here.project, champion) if one.state != "ok"]
    wrong_tags = [one for one in checks.check_tags(here.project, champion) if not one.ok]
    if wrong or wrong_tags:
        raise Failure(f"after {arguments}: {wrong} {wrong_tags}")
    if here.kills.total() % 20 == 0:
        must(here.project, "verify")
        git(here.project.root, "fsck", "--no-dangling")


def _unpublished(here: Field) -> set[str]:
    mine = {tag.name for tag in tags.read(here.project)}
    return mine - set(git(here.hub, "tag", "--list").split())


def _run(project: Project, arguments: tuple[str, ...], ask_gate: bool = False) -> tuple[int, str]:
    """Exit code of a command, and what it printed."""
    pid = _start(project, arguments, ask_gate)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, _log(project).read_text()


def _start(project: Project, arguments: tuple[str, ...], ask_gate: bool) -> int:
    """Start `digits models …` in a process group of its own, which can be killed with all that it
    starts. It is forked, so that no time is lost, and no kill, on imports.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os._exit(_command(project, arguments, ask_gate))
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, pid)  # whoever is first
    return pid


def _command(project: Project, arguments: tuple[str, ...], ask_gate: bool) -> int:
    """In the forked process: the command, and its exit code."""
    os.chdir(project.root)
    code: object = 3
    with _log(project).open("w") as log:
        sys.stdout = sys.stderr = log
        if not ask_gate:
            judgement = Judgement("promote", "challenger", None, ["it is better"], [], {})
            made = decision.Decision(judgement, None, None, {}, {})  # type: ignore[arg-type]
            decision.decide = lambda *_, **__: made  # type: ignore[assignment]
        try:
            main(["models", *arguments])
            code = 0
        except SystemExit as exc:
            code = exc.code
        except BaseException:
            traceback.print_exc(file=log)
    return int(str(code))


def _log(project: Project) -> Path:
    return project.root.parent / "log"


def _snapshot(folders: list[Path]) -> frozenset[str]:
    return frozenset(path for folder in folders for path in _paths(folder))


def _paths(folder: Path) -> Iterator[str]:
    for root, names, found in os.walk(folder):
        yield from (os.path.join(root, name) for name in (*names, *found))
