"""The tasks: each runs one command of the project and copies its output to Prefect's log."""

import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from digits.core import files, processes
from digits.core.errors import DigitsError, StageError, Verdict
from digits.core.project import Project
from digits.core.stage import RESULT_PATH
from digits.versioning import dvc
from flows import summary
from flows.redaction import redact
from flows.summary import Step

# Whole lines that are left out of the log. DVC has no switch for its hints: --quiet hides its
# errors too, and core.autostage changes the user's git index.
_NOISE = re.compile(
    "|".join(
        [
            r"Use `dvc push` to send your updates to remote storage\.",
            r"Data and pipelines are up to date\.",
            r"To track the changes with git, run:",
            r"\tgit add .*",
            r"To enable auto staging, run:",
            r"\tdvc config core\.autostage true",
            r"INFO: Created TensorFlow Lite XNNPACK delegate for CPU\.",
        ]
    )
)

_PUSH_LIMIT = 30.0  # s, besides the time that the bytes take at
_PUSH_SPEED = 1e6  # bytes/s
_PUSH_WAIT = 5.0  # s before the second attempt


@task(
    name="fetch",
    task_run_name="fetch",
    cache_policy=NO_CACHE,
    retries=1,  # networks recover; a stage would fail the same way again
    retry_delay_seconds=5,
)
def fetch(root: Path) -> State[Any]:
    """Download what is missing from data/, and verify all of it."""
    return _run("fetch", ["digits", "fetch", "--keep-damaged"], root)


@task(name="stage", task_run_name="{stage}", cache_policy=NO_CACHE)
def run_stage(
    stage: str, root: Path, force: bool = False, on_line: Callable[[str], None] = lambda _: None
) -> State[Any]:
    """Bring one stage up to date with DVC; `on_line` gets each line that it prints."""
    options = ["--force"] if force else []
    with TemporaryDirectory(prefix="digits-") as folder:
        result = Path(folder) / "result.json"
        command = ["dvc", "repro", "--single-item", *options, stage]
        return _run(stage, command, root, result, on_line)


@task(name="unchanged", task_run_name="{step}", cache_policy=NO_CACHE)
def unchanged(step: str) -> State[Any]:
    """Show a step that is known to be up to date, without running it."""
    _log(f"{step}: up to date")
    return _ended(Step(step, "unchanged", 0.0))


@task(name="gate", task_run_name="gate", cache_policy=NO_CACHE)
def gate(root: Path) -> State[Any]:
    """Judge the model against the champion; a negative verdict is a result, not a failure."""
    start = time.monotonic()
    note = summary.gate_note(Project(root))
    _log(note)
    seconds = round(time.monotonic() - start, 1)
    return _ended(Step("gate", "ran", seconds, note))


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report(root: Path) -> State[Any]:
    """Write the HTML report, reports/index.html."""
    return _run("report", ["digits", "report"], root)


@task(name="verify", task_run_name="verify", cache_policy=NO_CACHE)
def verify(root: Path) -> State[Any]:
    """Compare the results with those that are committed, as `digits verify` does."""
    start = time.monotonic()
    note = summary.rebuild_note(Project(root))
    _log(note)
    seconds = round(time.monotonic() - start, 1)
    return _ended(Step("verify", "ran", seconds, note))


@task(name="push", task_run_name="push", cache_policy=NO_CACHE)
def push(root: Path, remote: str) -> State[Any]:
    """Copy data and results to the DVC remote. A failure is a warning: nothing is lost by it."""
    project, start = Project(root), time.monotonic()
    problem = _push(project, start + _PUSH_LIMIT + dvc.pinned_bytes(project) / _PUSH_SPEED)
    seconds = round(time.monotonic() - start, 1)
    if problem:
        note = f"Not pushed to {remote}: {problem}. Results are kept; to repeat it: dvc push"
        get_run_logger().warning(note)
        return Completed(message="not pushed", data=Step("push", "failed", seconds, note))
    note = f"Pushed to {remote}."
    _log(note)
    return Completed(message=note, data=Step("push", "ran", seconds, note))


def _push(project: Project, deadline: float) -> str:
    """Push by `deadline` (monotonic), in two attempts; the reason if both fail, else empty."""
    problem = ""
    for wait in (0.0, _PUSH_WAIT):  # networks recover
        time.sleep(wait)
        try:
            dvc.push(project, max(1.0, deadline - time.monotonic()))
            return ""
        except DigitsError as exc:
            problem = redact(str(exc))
        if time.monotonic() > deadline:
            break
    return problem


def _run(
    step: str,
    command: list[str],
    root: Path,
    result_path: Path | None = None,
    on_line: Callable[[str], None] = lambda _: None,
) -> State[Any]:
    """Run `python -m command`.

    Args:
        result_path: where the stage, if DVC runs it, writes its result (see `digits.core.stage`).
        on_line: gets each line of output, besides the log.

    Returns:
        A completed state with a `Step`, or a failed state with the error.
    """

    def take(line: str) -> None:
        _log(line)
        on_line(line)

    environment = {RESULT_PATH: str(result_path)} if result_path else {}
    start = time.monotonic()
    finished = processes.run([sys.executable, "-m", *command], root, take, environment)
    seconds = round(time.monotonic() - start, 1)
    ran = result_path is None or result_path.exists()
    result = files.read_json(result_path) if result_path and ran else {}
    if finished.code == 0:
        return _ended(Step(step, "ran" if ran else "unchanged", seconds))
    return _failed(step, finished, result)


def _ended(step: Step) -> State[Any]:
    """The completed state of a step; its name says whether anything was done."""
    name = "Unchanged" if step.result == "unchanged" else "Completed"
    return Completed(name=name, message=step.result, data=step)


def _failed(step: str, finished: processes.Finished, result: Mapping[str, Any]) -> State[Any]:
    """The failed state, from the stage's own result: DVC exits with 255 whatever went wrong."""
    if result.get("exit_code"):
        message = f"{step} failed with exit code {result['exit_code']}: {result['error']}"
    else:
        last_lines = "".join(f"\n  {line}" for line in finished.tail if line)
        message = f"{step} failed with exit code {finished.code}{last_lines}"
    message = redact(message)
    error = Verdict if result.get("exit_code") == Verdict.exit_code else StageError
    return Failed(message=message.partition("\n")[0], data=error(message))


def _log(line: str) -> None:
    if line and not _NOISE.fullmatch(line):
        get_run_logger().info(redact(line))
