"""What is left of a run, estimated from how long its steps took the last time that they ran.

Without such a time there is no estimate. On a terminal, a line below the log is kept up to date;
elsewhere the log has one line for each step.
"""

import logging
import re
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from prefect.logging.handlers import PrefectConsoleHandler

from digits.core import files, params
from digits.core.errors import DataError
from digits.core.project import Project
from digits.formatting import duration
from digits.versioning import git
from flows.summary import Step

_LAST = ("gate", "report", "verify")  # steps that every run with a stale stage ends with
_EPOCH = re.compile(r"(epoch \d+/\d+) .*about (\d+) s left")  # of training
_RESUMED = re.compile(r".*resuming after epoch .*")  # such a run is shorter than others
_SHORT = 5.0  # s; a step that takes less isn't announced


def expected_steps(project: Project, stale: Collection[str], force: bool) -> set[str]:
    """The steps that will probably run: stale stages, those that depend on them, and what follows.

    If a stage's result turns out to be the same, or is in DVC's run cache, fewer run.
    """
    stages = git.read_mapping(project, "dvc.yaml").get("stages") or {}
    found = set(stages) if force else set(stale) & set(stages)
    for stage in params.STAGES:  # each comes after those that it depends on
        made = [out for name in found for out in _outs(stages[name])]
        deps = stages[stage].get("deps") or []
        if any(f"{dep}/".startswith(f"{out}/") for dep in deps for out in made):
            found.add(stage)
    return found | set(_LAST)


class Progress:
    """The progress of one run, whose steps tell when they begin and end and what they print."""

    def __init__(self, project: Project, steps: Collection[str]) -> None:
        """Take the times of earlier runs.

        Args:
            steps: those that are expected to run.
        """
        self.current = ""
        self._path = project.state / "durations.json"
        self._waiting = list(steps)
        self._keys = {step: _key(project, step) for step in steps}
        self._known = self._read()
        self._begun = self._ends = 0.0  # monotonic; without an estimate, `_ends` is 0
        self._detail = ""  # of training: the epoch
        self._whole = True

    def begin(self, step: str) -> str:
        """A step begins; return what to log, if anything."""
        seconds = self._estimate(step)
        announced = step in self._waiting and (seconds is None or seconds >= _SHORT)
        self._waiting = [name for name in self._waiting if name != step]
        self.current, self._detail, self._whole = step, "", True
        self._begun = time.monotonic()
        self._ends = self._begun + seconds if seconds else 0.0
        return self.text() if announced else ""

    def line(self, text: str) -> None:
        """The current step printed a line; training's tell what is left of it."""
        if found := _EPOCH.fullmatch(text):
            self._detail = f", {found[1]}"
            self._ends = time.monotonic() + float(found[2])
        elif _RESUMED.fullmatch(text):
            self._whole = False

    def end(self, step: Step) -> None:
        """A step has ended; if it ran, the next run's estimate is how long it took."""
        self.current = ""
        if step.result == "ran" and step.name in self._keys and self._whole:
            self._known[self._keys[step.name]] = step.seconds
            files.write_json(self._path, self._known)

    def text(self) -> str:
        """The current step, and what is left of it and of the run."""
        if not self.current:
            return ""
        now = time.monotonic()
        head = f"{self.current}{self._detail}: "
        if not self._ends:
            return f"{head}first run, no estimate"
        left = self._ends - now
        if left <= 0:
            return f"{head}longer than estimated, {duration(round(now - self._begun))} so far"
        others = [self._estimate(step) for step in self._waiting]
        run = ""
        if None not in others:
            run = f"; the run: about {_rounded(left + sum(filter(None, others)))} left"
        return f"{head}about {_rounded(left)} left{run}"

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within the block, keep a line below the log up to date, if stderr is a terminal."""
        console = _console()
        if not sys.stderr.isatty() or console is None or console.is_dumb_terminal:
            yield
            return
        from rich.live import Live
        from rich.text import Text

        def line() -> Text:
            return Text(self.text(), style="dim", overflow="ellipsis")

        with Live(get_renderable=line, console=console, refresh_per_second=2, transient=True):
            yield

    def _estimate(self, step: str) -> float | None:
        """How long a step took when it last ran with these parameters, in s."""
        return self._known.get(self._keys.get(step, ""))

    def _read(self) -> dict[str, float]:
        try:
            known = files.read_json(self._path)
            return {str(name): float(seconds) for name, seconds in known.items()}
        except (DataError, AttributeError, TypeError, ValueError):
            return {}


def _key(project: Project, step: str) -> str:
    """What durations are kept under: training's depends on the model and its epochs."""
    if step != "train":
        return step
    values = params.load(project.params)
    name = values.train.model
    return f"train {name}, {values.models[name].epochs} epochs"


def _outs(stage: dict[str, Any]) -> Iterator[str]:
    for out in [*stage.get("outs", ()), *stage.get("metrics", ())]:
        yield out if isinstance(out, str) else next(iter(out))


def _rounded(seconds: float) -> str:
    """An estimate isn't exact to the second."""
    return duration(round(seconds, -1) if seconds >= 20 else max(1, round(seconds)))


def _console() -> Any:
    """The console that Prefect's log goes to; a second one on the same terminal would mix lines."""
    handlers = logging.getLogger().handlers
    return next((h.console for h in handlers if isinstance(h, PrefectConsoleHandler)), None)
