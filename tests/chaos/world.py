"""A small project with its own server, worker and keeper, in which things can be broken."""

import os
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import repository
import serving
import small
import yaml

from digits.core import files, locking
from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.intake import inbox
from digits.recogniser import Recogniser
from digits.registry import registry
from flows import services

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_QUIET = 1.0  # s that a batch settles
_LOOK = 10.0  # s between two looks at the champion
_UNDISTURBED = "batch-000.npz"  # the batch that was checked before anything was broken
_WRONG = "f" * 32  # MD5 in dvc.lock that makes a stage stale


class Failure(AssertionError):
    """Something didn't survive."""


@dataclass(frozen=True)
class Run:
    """A flow run as it is in Prefect's database."""

    id: str
    state: str
    auto_scheduled: bool


def template(folder: Path, built: Path | None = None) -> Path:
    """What worlds are copied from: a built project with a champion, its DVC remote, a batch.

    Args:
        folder: is made.
        built: a small project, already built; without it, one is made.
    """
    root = folder / "project"
    folder.mkdir()
    if built:
        shutil.copytree(built, root, symlinks=True)
    else:
        root.mkdir()
        small.create(root, *small.digits())
        _shorten(root)
        repository.dvc(root, "repro", "--quiet")
    ignored = root / ".gitignore"
    ignored.write_text(ignored.read_text() + "/flows/\n/prefect.yaml\n")
    repository.git(root, "rm", "--quiet", "--cached", "prefect.yaml")
    repository.dvc(root, "remote", "add", "--quiet", "--default", "storage", "../storage")
    repository.commit_all(root)
    repository.dvc(root, "push", "--quiet")
    project = Project(root)
    registry.register(project, "v0.1.0", why="the first")
    registry.promote(project, "v0.1.0", force=True, reason="nothing to compare with")
    registry.get(project, "champion")
    np.savez(folder / "digits.npz", images=small.digits()[0][:40])
    inbox_folder = project.build / "inbox"
    inbox_folder.mkdir()
    shutil.copy(folder / "digits.npz", inbox_folder / _UNDISTURBED)
    (batch,), _ = inbox.new_batches(inbox_folder, {}, quiet=0)
    inbox.record(project, batch, inbox.check(project, batch, inbox.load_detector(project)))
    return folder


def first_start(folder: Path, template: Path) -> Path:
    """A world that was started once: its copies have a database, which takes long to make."""
    world = World(folder, "none", 60)
    folder.mkdir()
    world.prepare(template)
    try:
        world.start()
    finally:
        world.stop()
    return folder


def _shorten(root: Path) -> None:
    """Train for one epoch; what is learned doesn't matter here."""
    document = yaml.safe_load((root / "params.yaml").read_text())
    document["models"]["accurate"]["epochs"] = 1
    (root / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


@dataclass
class World:
    """One project with its services, in which one deployment, train or monitor, is scheduled."""

    folder: Path
    deployment: str
    interval: int  # s between two scheduled runs
    port: int = 0
    dropped: list[str] = field(default_factory=lambda: [_UNDISTURBED])  # batches in the inbox
    unloadable: list[str] = field(default_factory=list)  # why the champion couldn't be loaded
    completed: set[str] = field(default_factory=set)  # runs that were seen completed
    settings: dict[str, str] = field(default_factory=dict)  # environment variables of the services
    hours: float = 0.0  # by which the clock has been moved

    @property
    def project(self) -> Project:
        return Project(self.folder / "project")

    @property
    def clock_file(self) -> Path:
        """The seconds by which clock.c moves the clock."""
        return self.folder.with_suffix(".clock")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        return self.project.build / "prefect" / "prefect.db"

    def prepare(self, source: Path, clock: str = "") -> None:
        """Copy the template, with its DVC remote and the flows, and schedule one deployment.

        Args:
            clock: the compiled clock.c, which the services then see the time through.
        """
        shutil.copytree(source, self.folder, symlinks=True, dirs_exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__")
        root, flows = self.project.root, small.REPOSITORY / "flows"
        shutil.copytree(flows, root / "flows", ignore=ignored, dirs_exist_ok=True)
        document = yaml.safe_load((small.REPOSITORY / "prefect.yaml").read_text())
        for deployment in document["deployments"]:
            scheduled = deployment["name"] == self.deployment
            deployment["schedules"] = [{"interval": self.interval}] if scheduled else []
            if deployment["name"] == "monitor":
                deployment["parameters"] = {"inbox": "build/inbox", "quiet": _QUIET}
        (root / "prefect.yaml").write_text(yaml.safe_dump(document))
        self.settings = {"PREFECT_WORKER_QUERY_SECONDS": "4"}
        if clock:
            self.set_clock(0)
            self.settings |= {"LD_PRELOAD": clock, "CHAOS_CLOCK": str(self.clock_file)}
        self.port = serving.free_port()

    def set_clock(self, hours: float) -> None:
        """Move the clock that the services see; monotonic clocks go on."""
        self.hours = hours
        part = self.clock_file.with_suffix(".part")
        part.write_text(f"{hours * 3600:.0f}\n")
        part.rename(self.clock_file)

    def start(self) -> None:
        """`make server`."""
        done = serving.server(self.project, "start", "--port", str(self.port), **self.settings)
        if done.returncode:
            raise Failure(f"make server: {done.stdout}{done.stderr}")

    def stop(self) -> None:
        """`make stop`."""
        serving.stop(self.project)

    # what a round begins with

    def give_work(self, stages: Sequence[str]) -> None:
        """Let the next run have something to do: for training runs, these stages are stale."""
        if self.deployment == "train":
            self.make_stale(stages)
        else:
            self.drop()

    def make_stale(self, stages: Sequence[str]) -> None:
        """dvc.lock says that these stages ran with other inputs, and DVC's run cache is empty."""
        lock = self.project.state / "run.lock"
        with locking.exclusive(lock, "chaos", wait=True, on_wait=lambda _: None):
            path = self.project.root / "dvc.lock"
            text = path.read_text()
            for stage in stages:
                start = text.index(f"  {stage}:\n")
                head, rest = text[:start], text[start:]
                text = head + re.sub("md5: [0-9a-f]{32}", f"md5: {_WRONG}", rest, count=1)
            path.write_text(text)
            shutil.rmtree(self.project.root / ".dvc" / "cache" / "runs", ignore_errors=True)

    def drop(self) -> None:
        """Put a batch in the inbox."""
        name = f"batch-{len(self.dropped):03d}.npz"
        part = self.project.build / "inbox" / f"{name}.part"
        shutil.copy(self.folder / "digits.npz", part)
        part.rename(part.with_suffix(""))
        self.dropped.append(name)

    def empty_remote(self) -> None:
        """Make the next push have something to do."""
        shutil.rmtree(self.folder / "storage", ignore_errors=True)

    # what can be seen

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of Prefect's database, which others may be writing to."""
        deadline = time.monotonic() + 60
        while True:
            try:
                address = f"{self.database.as_uri()}?mode=ro"
                with closing(sqlite3.connect(address, uri=True, timeout=5)) as connection:
                    return connection.execute(sql, values).fetchall()
            except sqlite3.Error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def runs(self, *states: str) -> list[Run]:
        """The runs of the scheduled deployment's flow, newest first; those in some states."""
        rows = self.query(
            "SELECT id, state_type, auto_scheduled FROM flow_run WHERE state_type != 'SCHEDULED' "
            "ORDER BY start_time DESC"
        )
        found = [Run(str(name), state, bool(auto)) for name, state, auto in rows]
        self.completed |= {run.id for run in found if run.state == "COMPLETED"}
        return [run for run in found if not states or run.state in states]

    def active(self) -> list[Run]:
        """The runs that have begun, or are about to, and have not ended."""
        return self.runs("PENDING", "RUNNING", "CANCELLING", "PAUSED")

    def process(self, run: Run) -> psutil.Process | None:
        """The process of a run: as it recorded itself or, before that, as its worker started it."""
        path = self.project.state / "runs" / f"{run.id}.json"
        with suppress(DigitsError, psutil.Error, OSError, KeyError, TypeError):
            return psutil.Process(files.read_json(path)["pid"])
        for process in self.everything():
            with suppress(psutil.Error, OSError):
                if process.environ().get("PREFECT__FLOW_RUN_ID") == run.id:
                    return process
        return None

    def service(self, name: str) -> psutil.Process | None:
        with suppress(psutil.Error):
            pid = services.pid(self.project, name)
            return psutil.Process(pid) if pid else None
        return None

    def everything(self) -> list[psutil.Process]:
        """All processes whose working folder is the project, except this one's."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.cwd() == str(self.project.root) and process.pid != os.getpid():
                    found.append(process)
        return found

    def to_do(self) -> str:
        """What the next runs have yet to do, in a few words; nothing if all is done."""
        if self.deployment == "train":
            return "stale stages" if _WRONG in (self.project.root / "dvc.lock").read_text() else ""
        known = inbox.known_batches(self.project)
        left = [name for name in self.dropped if name not in known]
        return f"{', '.join(left)} not checked" if left else ""

    # what must hold

    def champion_problem(self) -> str:
        """Why the champion can't be loaded and used, else nothing."""
        try:
            _, folder = registry.get(self.project, "champion")
            Recogniser.load(folder).predict(np.zeros((1, 28, 28), np.uint8))
        except (DigitsError, OSError) as exc:
            return f"champion: {exc}"
        return ""

    @contextmanager
    def champion_watched(self) -> Iterator[None]:
        """Load the champion every few seconds; reasons why it can't be go to `unloadable`."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK):
                if problem := self.champion_problem():
                    self.unloadable.append(problem)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def strays(self) -> list[str]:
        """Commands of processes that belong to no service and to no run that goes on."""
        active = {process.pid for run in self.active() if (process := self.process(run))}
        names = ("server", "worker", "keeper")
        active |= {process.pid for name in names if (process := self.service(name))}
        found = []
        for process in self.everything():
            with suppress(psutil.Error):
                if not active & {process.pid, *(parent.pid for parent in process.parents())}:
                    found.append(" ".join(process.cmdline())[:120] + f" ({process.pid})")
        return found

    def results_problem(self) -> str:
        """How data, results and dvc.lock differ from what was committed, else nothing."""
        changed = repository.git(self.project.root, "status", "--porcelain")
        if changed:
            return f"differs from an undisturbed run: {' '.join(changed.split())}"
        try:
            Recogniser.load(self.project.root)
        except DigitsError as exc:
            return str(exc)
        return ""

    def lost_batches(self) -> list[str]:
        """Batches that were dropped and have no verdict, or another one than if undisturbed."""
        known = inbox.known_batches(self.project)
        lost = [name for name in self.dropped if name not in known]
        verdicts = {}
        for name in self.dropped:
            with suppress(DigitsError):
                verdicts[name] = files.read_json(inbox.results(self.project) / f"{name}.json")
        for name, verdict in verdicts.items():
            ignored = {"name": name, "slow_drift": verdict["slow_drift"]}
            if verdict != {**verdicts.get(_UNDISTURBED, {}), **ignored}:
                lost.append(f"{name}: another verdict")
        return lost + [f"{name}: no verdict" for name in self.dropped if name not in verdicts]

    def turned(self) -> list[str]:
        """Runs that were completed and are not any more."""
        now = {run.id: run.state for run in self.runs()}
        return [run for run in self.completed if now.get(run, "COMPLETED") != "COMPLETED"]
