"""What is done to a world, and the moment at which it is done."""

import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass

import psutil

from chaos.world import Failure, Run, World
from digits.core.params import STAGES

_STOPPED = 35.0  # s; Prefect's heartbeats come every 30 s
_GONE = 20.0  # s that a disk is full, a folder read-only, a remote away, a database locked
_HOURS = 2.0  # that the clock jumps
_WAIT = 280.0  # s for the moment
_POLL = 0.3  # s
_LONGEST = {"ingest": 2, "validate": 5, "preprocess": 1.5, "train": 10, "evaluate": 7, "drift": 11}
_SHARE = {"ingest": 3, "validate": 2, "preprocess": 3, "train": 3, "evaluate": 2, "drift": 1}


@dataclass(frozen=True)
class Moment:
    """When something is done: a phase of a run, for stages which one, and seconds into it."""

    phase: str
    stage: str
    delay: float


@dataclass(frozen=True)
class Kind:
    """Something that is done to a world.

    Attributes:
        phases: those in which it is possible, for a training run and for a monitor's.
        needs: what the machine must have: "root" for mounts, "compiler" for the clock.
    """

    name: str
    inject: Callable[[World, Run | None, random.Random], None]
    train: tuple[str, ...] = ()
    monitor: tuple[str, ...] = ()
    needs: str = ""


def moment(kind: Kind, deployment: str, dice: random.Random) -> Moment:
    """A random moment at which this can be done."""
    phase = dice.choice(kind.train if deployment == "train" else kind.monitor)
    stage = dice.choices(STAGES, weights=[_SHARE[one] for one in STAGES])[0]
    longest = {
        "scheduled": 10.0,
        "pending": 2.0,
        "running": 1.5 if deployment == "train" else 7.0,
        "dvc": 0.6,
        "stage": 1.3 * _LONGEST[stage],
        "late": 5.0,
        "push": 1.0,
    }
    return Moment(phase, stage, dice.uniform(0, longest[phase]))


def wait_for(world: World, when: Moment) -> Run | None:
    """Wait for the moment; return the run that it is about, None if no run has begun.

    Raises:
        TimeoutError: it didn't come.
    """
    deadline = time.monotonic() + _WAIT
    while time.monotonic() < deadline:
        found, run = _seen(world, when)
        if found:
            time.sleep(when.delay)
            return run
        time.sleep(_POLL)
    raise TimeoutError(f"no {when.phase} of {when.stage} in {_WAIT:.0f} s")


def _seen(world: World, when: Moment) -> tuple[bool, Run | None]:
    active = world.active()
    if when.phase == "scheduled":
        return not active, None
    if when.phase == "pending":
        pending = [run for run in active if run.state == "PENDING"]
        return bool(pending), pending[0] if pending else None
    for run in active:
        commands = _commands(world, run)
        if commands is None:
            continue
        sought = {
            "running": "",
            "dvc": f"dvc repro --single-item {when.stage}",
            "stage": f"digits.stages.{when.stage}",
            "late": "digits report",
            "push": "dvc push",
        }[when.phase]
        if not sought or any(sought in command for _, command in commands):
            return True, run
    return False, None


def _commands(world: World, run: Run) -> list[tuple[psutil.Process, str]] | None:
    """What a run has started, with its command line; None before its process has begun."""
    process = world.process(run)
    if process is None:
        return None
    found = []
    with suppress(psutil.Error):
        for child in process.children(recursive=True):
            with suppress(psutil.Error):
                found.append((child, " ".join(child.cmdline())))
    return found


# what is done


def _signal(number: signal.Signals, *names: str) -> Callable[..., None]:
    """Send a signal to services, or to the run, its `dvc` or its stage."""

    def inject(world: World, run: Run | None, dice: random.Random) -> None:
        victims = _victims(world, run, names)
        families = [_family(one) for one in victims]
        for one in victims:
            with suppress(psutil.Error):
                one.send_signal(number)
        if number == signal.SIGSTOP:
            time.sleep(_STOPPED)
            for one in victims:
                with suppress(psutil.Error):
                    one.send_signal(signal.SIGCONT)
        elif set(names) & {"flow", "dvc", "stage"}:
            _must_end([one for family in families for one in family])

    return inject


def _victims(world: World, run: Run | None, names: tuple[str, ...]) -> list[psutil.Process]:
    found: list[psutil.Process | None] = []
    marks = {"dvc": "-m dvc repro", "stage": "digits.stages."}
    for name in names:
        if name in marks:
            commands = (run and _commands(world, run)) or []
            found += [one for one, line in commands if marks[name] in line and "sh -c" not in line]
        elif name == "flow":
            found.append(run and world.process(run))
        else:
            found.append(world.service(name))
    victims = [one for one in found if one]
    if not victims:
        raise TimeoutError(f"none of {', '.join(names)} is running any more")
    return victims


def _family(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return []


def _must_end(processes: list[psutil.Process]) -> None:
    """What a killed process has started ends within seconds."""
    _, alive = psutil.wait_procs(processes, timeout=15)
    left = [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    if left:
        raise Failure(f"orphans: {left}")


def _power_cut(world: World, run: Run | None, dice: random.Random) -> None:
    """SIGKILL of everything; then `make server`."""
    processes = world.everything()
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=15)
    if left := world.everything():
        raise Failure(f"alive after SIGKILL: {left}")
    world.start()


def _full_disk(world: World, run: Run | None, dice: random.Random) -> None:
    """Fill the project's own file system."""
    path = world.folder / "fill"
    try:
        with path.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        time.sleep(_GONE)
    finally:
        path.unlink(missing_ok=True)


def _read_only(world: World, run: Run | None, dice: random.Random) -> None:
    """Mount a folder read-only over itself."""
    root = world.project.root
    choice = ["build/state", "build/monitor", "build/inbox"]
    if world.deployment == "train":
        choice = [
            "models",
            "reports",
            "build/splits",
            "build/ingested",
            ".dvc/cache",
            "build/state",
        ]
    folder = root / dice.choice([name for name in choice if (root / name).is_dir()])
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        time.sleep(_GONE)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _remote_away(world: World, run: Run | None, dice: random.Random) -> None:
    """The DVC remote goes away, and comes back empty."""
    remote = world.folder / "storage"
    gone = world.folder / "storage.gone"
    shutil.rmtree(gone, ignore_errors=True)
    with suppress(FileNotFoundError):  # a push makes it
        remote.rename(gone)
    remote.write_text("not a folder")
    time.sleep(_GONE)
    remote.unlink()


def _locked_database(world: World, run: Run | None, dice: random.Random) -> None:
    """Another process writes to Prefect's database for a long time."""
    with closing(sqlite3.connect(world.database, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(_GONE)
        connection.execute("ROLLBACK")


def _clock(hours: float) -> Callable[..., None]:
    def inject(world: World, run: Run | None, dice: random.Random) -> None:
        world.set_clock(world.hours + hours)

    return inject


_ALL = ("scheduled", "pending", "running", "dvc", "stage", "late")
_SHORT = ("scheduled", "pending", "running")
_BEGUN = ("running", "dvc", "stage", "late")
_KILL, _TERM, _STOP = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP
KINDS = (
    Kind("SIGKILL server", _signal(_KILL, "server"), _ALL, _SHORT),
    Kind("SIGKILL worker", _signal(_KILL, "worker"), _ALL, _SHORT),
    Kind("SIGKILL server and worker", _signal(_KILL, "server", "worker"), _ALL, _SHORT),
    Kind("SIGKILL everything, make server", _power_cut, _ALL, _SHORT),
    Kind("SIGKILL flow", _signal(_KILL, "flow"), _BEGUN, ("running",)),
    Kind("SIGKILL dvc", _signal(_KILL, "dvc"), ("dvc", "stage")),
    Kind("SIGKILL stage", _signal(_KILL, "stage"), ("stage",)),
    Kind("SIGTERM server", _signal(_TERM, "server"), _ALL, _SHORT),
    Kind("SIGTERM worker", _signal(_TERM, "worker"), _ALL, _SHORT),
    Kind("SIGTERM flow", _signal(_TERM, "flow"), _BEGUN, ("running",)),
    Kind("SIGSTOP server 35 s", _signal(_STOP, "server"), _ALL, _SHORT),
    Kind("SIGSTOP worker 35 s", _signal(_STOP, "worker"), _ALL, _SHORT),
    Kind("SIGSTOP flow 35 s", _signal(_STOP, "flow"), _BEGUN, ("running",)),
    Kind("SIGSTOP stage 35 s", _signal(_STOP, "stage"), ("stage",)),
    Kind("disk full 20 s", _full_disk, _ALL, _SHORT, needs="root"),
    Kind("folder read-only 20 s", _read_only, _ALL, _SHORT, needs="root"),
    Kind("remote away 20 s", _remote_away, ("push", "late")),
    Kind("database locked 20 s", _locked_database, _ALL, _SHORT),
    Kind("clock 2 h forward", _clock(_HOURS), monitor=_SHORT, needs="compiler"),
    Kind("clock 2 h back", _clock(-_HOURS), monitor=_SHORT, needs="compiler"),
)
