"""The tasks: each runs one command of the project and hands its lines to Prefect's log."""

import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from digits.core import processes
from digits.core.errors import FetchError

_UNCHANGED = ("didn't change, skipping", "is cached - skipping run")


@dataclass(frozen=True)
class Outcome:
    """How a step ended: `ran`, `unchanged`, or `failed`; `message` has its code and last lines."""

    step: str
    status: str
    seconds: float
    message: str = ""


@task(
    name="fetch",
    task_run_name="fetch",
    cache_policy=NO_CACHE,
    retries=1,
    retry_delay_seconds=5,  # a network that comes back; a stage fails the same way every time
)
def fetch(root: Path) -> Outcome:
    """Bring the raw data to data/, verified; tried again, as networks recover."""
    outcome = _run("fetch", [sys.executable, "-m", "digits", "fetch", "--keep-damaged"], root)
    if outcome.status == "failed":
        raise FetchError(outcome.message)
    return outcome


@task(name="stage", task_run_name="{stage}", cache_policy=NO_CACHE)
def run_stage(stage: str, root: Path, force: bool = False) -> State[Any]:
    """Let DVC bring one stage up to date."""
    options = ["--force"] if force else []
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", *options, stage]
    return _state(_run(stage, command, root))


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report(root: Path) -> State[Any]:
    """Put everything in front of a reader: reports/index.html."""
    return _state(_run("report", [sys.executable, "-m", "digits", "report"], root))


def _state(outcome: Outcome) -> State[Any]:
    if outcome.status == "failed":
        return Failed(message=outcome.message, data=outcome)
    return Completed(message=outcome.status, data=outcome)


def _run(step: str, command: list[str], root: Path) -> Outcome:
    logger = get_run_logger()
    start = time.monotonic()
    unchanged = False

    def log(line: str) -> None:
        nonlocal unchanged
        unchanged = unchanged or any(sign in line for sign in _UNCHANGED)
        if line:
            logger.info(line)

    with processes.sigterm_interrupts():
        finished = processes.run(command, root, log)
    seconds = round(time.monotonic() - start, 1)
    if finished.code:
        lines = "\n".join(f"  {line}" for line in finished.tail if line)
        code = _own_code(finished)
        message = f"{step} failed with exit code {code}\n{lines}"
        return Outcome(step, "failed", seconds, message)
    return Outcome(step, "unchanged" if unchanged else "ran", seconds)


def reason(state: State[Any]) -> str:
    """Why a step failed, without what Prefect puts before it."""
    return re.sub(r"^Task run encountered an exception \w+: ", "", state.message or "it failed")


def exit_code(message: str) -> int:
    """The exit code for a failed run: a negative verdict of a stage stays 1, all else is 2."""
    return 1 if re.search(r"failed with exit code 1$", message, re.MULTILINE) else 2


def _own_code(finished: processes.Finished) -> int:
    """The exit code of the stage itself: DVC's own is the same for all failures."""
    found = re.search(r"exited with (-?\d+)", "\n".join(finished.tail))
    return int(found[1]) if found else finished.code
