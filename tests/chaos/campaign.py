"""Many injections in several worlds at once, and what came of each."""

import itertools
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

from chaos import injections
from chaos.injections import Kind, Moment
from chaos.world import FINAL, Failure, Run, World
from digits.core import processes
from digits.core.params import STAGES

FINAL_WITHIN = 120.0  # s in which a run that was hit must end, unless its process goes on
RECOVERED_WITHIN = 360.0  # s in which a later scheduled run must complete
# s between two scheduled runs; longer where the clock jumps, as each that was missed is made up
INTERVALS = {"train": 45, "monitor": 25, "clock": 120}
_MEGABYTES = 250  # of the file system that a world is on
_POLL = 1.0  # s
_WORLDS = {"train": 2, "monitor": 3, "clock": 1}  # as many as keep two cores busy
_WORK_SHARE = 0.3  # of the runs; the others find nothing new, as most runs do
_TRAIN_SHARE = 0.3  # of the injections
_CLOCK_SHARE = 0.05  # of the injections; each takes minutes
_MISSES = 3  # times that the moment of an injection may not come before it is given up


@dataclass
class Result:
    """What came of one injection; times in s."""

    kind: str
    deployment: str
    phase: str
    state: str  # of the run that was hit, as recorded at that moment
    final: float | None = None  # until every run that was hit had ended
    recovery: float | None = None  # until a later scheduled run had completed
    jam: str = ""
    lost: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)  # completed runs that became something else
    other: str = ""

    @property
    def survived(self) -> bool:
        return not (self.jam or self.lost or self.orphans or self.turned or self.other)


def possible() -> tuple[list[Kind], list[str]]:
    """The kinds that this machine allows, and the names of the others."""
    kinds = injections.KINDS
    has = {"": True, "root": _can_mount(), "compiler": bool(shutil.which("cc"))}
    able = [kind for kind in kinds if has[kind.needs]]
    return able, [f"{kind.name} (needs {kind.needs})" for kind in kinds if not has[kind.needs]]


def plan(kinds: Sequence[Kind], wanted: int, seed: int) -> dict[str, list[Kind]]:
    """The injections into worlds in which training runs, or the monitor's, are scheduled.

    Some are into training runs, the others into the monitor's, which take less time; each kind gets
    its turn, in random order. Those that move the clock have a world of their own ("clock"), where
    the monitor is scheduled.
    """
    dice = random.Random(seed)
    steady = [kind for kind in kinds if kind.needs != "compiler"]
    clock = [kind for kind in kinds if kind.needs == "compiler"]
    jumps = round(wanted * _CLOCK_SHARE) if clock else 0
    train = round((wanted - jumps) * _TRAIN_SHARE)
    planned = {
        "train": _in_turn([kind for kind in steady if kind.train], train),
        "monitor": _in_turn([kind for kind in steady if kind.monitor], wanted - jumps - train),
        "clock": _in_turn(clock, jumps),
    }
    for chosen in planned.values():
        dice.shuffle(chosen)
    return planned


def _in_turn(kinds: Sequence[Kind], count: int) -> list[Kind]:
    return [kinds[i % len(kinds)] for i in range(count)]


def run(source: Path, plan: Mapping[str, Sequence[Kind]], seed: int) -> Iterator[Result]:
    """Carry out the plan, one process for each world; results come as they are known.

    Args:
        source: see `world.template`.
        plan: see `plan`.
    """
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    worlds = [
        (sort, [kind.name for kind in plan[sort]], context.Value("i", 0))
        for sort in _WORLDS
        if plan[sort]
    ]
    with tempfile.TemporaryDirectory(prefix="digits-chaos-") as folder:
        homes = (Path(folder) / f"world-{number}" for number in itertools.count())
        workers = [
            context.Process(target=_live, args=(next(homes), source, *world, seed, results))
            for world in worlds
            for _ in range(min(_WORLDS[world[0]], len(world[1])))
        ]
        for worker in workers:
            worker.start()
        try:
            while any(worker.is_alive() for worker in workers) or not results.empty():
                with suppress(Empty):
                    yield results.get(timeout=1)
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.join(60)


def _live(
    folder: Path,
    source: Path,
    sort: str,
    names: Sequence[str],
    taken: Any,
    seed: int,
    results: Any,
) -> None:
    """One world from its beginning to its end.

    Args:
        sort: a key of the plan.
        names: of the kinds of injections into worlds of this sort.
        taken: how many of them have been taken by one of these worlds, a shared integer.
    """
    kinds = {kind.name: kind for kind in injections.KINDS}
    with _file_system(folder) as home:
        world = World(home, "train" if sort == "train" else "monitor", INTERVALS[sort])
        world.prepare(source, _compiled_clock(folder) if sort == "clock" else "")
        try:
            world.start()
            with processes.sigterm_interrupts(), world.champion_watched():
                for number in _taken(taken, len(names)):
                    dice = random.Random(f"{seed} {sort} {number}")
                    for _ in range(_MISSES):
                        if result := _inject(world, kinds[names[number]], dice):
                            results.put(result)
                            break
        except KeyboardInterrupt:
            pass
        except Exception:
            problem = traceback.format_exc()
            results.put(Result("the world itself", world.deployment, "", "", other=problem))
        finally:
            world.stop()
            keep = os.environ.get("CHAOS_KEEP")
            if keep:
                shutil.copytree(home, Path(keep) / home.name, symlinks=True, dirs_exist_ok=True)


def _taken(taken: Any, count: int) -> Iterator[int]:
    """The numbers below `count` that no other process has taken."""
    while True:
        with taken.get_lock():
            number = taken.value
            taken.value += 1
        if number >= count:
            return
        yield number


def _inject(world: World, kind: Kind, dice: random.Random) -> Result | None:
    """One injection and its checks; None if its moment didn't come."""
    when = injections.moment(kind, world.deployment, dice)
    needed = when.phase in ("dvc", "stage", "late")
    if needed or dice.random() < _WORK_SHARE:
        world.give_work([when.stage] if needed or dice.random() < 0.9 else STAGES)
    if kind.name.startswith("remote"):
        world.empty_remote()
    try:
        run = injections.wait_for(world, when)
        hit = world.active()
        state = _state(world, run)
        result = Result(kind.name, world.deployment, _phase(when), state)
        kind.inject(world, run, dice)
    except TimeoutError as exc:
        print(f"{world.folder.name}: {kind.name}: {exc}", file=sys.stderr, flush=True)
        return None
    except Failure as exc:
        result.orphans.append(str(exc))
    check(world, result, hit)
    return result


def _phase(when: Moment) -> str:
    return f"{when.phase} {when.stage}" if when.phase in ("dvc", "stage") else when.phase


def _state(world: World, run: Run | None) -> str:
    if run is None:
        return "SCHEDULED"
    (now,) = [one for one in world.runs() if one.id == run.id]
    return now.state


def check(world: World, result: Result, hit: Sequence[Run]) -> None:
    """Wait until what was hit has ended and a later run has completed; then look around."""
    before = {run.id for run in world.runs()}
    start = time.monotonic()
    waiting = {run.id for run in hit}
    while (elapsed := time.monotonic() - start) < RECOVERED_WITHIN:
        runs = {run.id: run for run in world.runs()}
        if result.final is None and all(runs[i].state in FINAL for i in waiting if i in runs):
            result.final = elapsed
        going_on = elapsed > FINAL_WITHIN and result.final is None
        if going_on and not any(world.process(runs[i]) for i in waiting if i in runs):
            states = [runs[i].state for i in waiting if i in runs]
            result.jam = f"a run without a process is {states} after {elapsed:.0f} s"
            break
        later = [run for run in runs.values() if run.id not in before and run.auto_scheduled]
        completed = any(run.state == "COMPLETED" for run in later)
        if completed and (result.final is not None or going_on) and not world.to_do():
            result.recovery = elapsed
            break
        time.sleep(_POLL)
    else:
        states = {run.state for run in world.runs()[:5]}
        result.jam = f"nothing completed for {elapsed:.0f} s; last states {states}; {world.to_do()}"
    strays = set(world.strays())
    if strays:
        time.sleep(5)
        result.orphans += sorted(strays & set(world.strays()))
    result.turned = world.turned()
    result.lost = [*world.lost_batches(), *world.unloadable]
    world.unloadable.clear()
    if problem := world.results_problem():
        result.lost.append(problem)


def _compiled_clock(folder: Path) -> str:
    library = folder.with_suffix(".so")
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return str(library)


def _can_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False
        )
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return mounted.returncode == 0


@contextmanager
def _file_system(folder: Path) -> Iterator[Path]:
    """A folder on a small file system of its own, where that can be mounted."""
    folder.mkdir()
    mounted = _can_mount()
    if mounted:
        size = f"size={_MEGABYTES}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", folder], check=True)
