"""The monitor: check new batches in the inbox for drift. `digits.intake.inbox` does the work."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from digits.core import locking
from digits.core.errors import BusyError, DigitsError
from digits.core.project import Project
from digits.intake import inbox as inboxes
from digits.intake.inbox import Batch, CheckedBatch
from flows import alarms, alive, pictures
from flows.names import rename

if TYPE_CHECKING:
    from digits.drift.detector import DriftDetector

# Prefect refuses other values when a run is created, and its UI's form shows why. No part of a
# folder's path may begin with a dot: the inbox is inside the project, and isn't .git or .dvc.
_Folder = Annotated[str, Field(pattern=r"^[^/.][^/]*(/[^/.][^/]*)*$", max_length=200)]
_Seconds = Annotated[float, Field(ge=0, le=86_400)]
_MAX_PAGES = 3  # in an artifact, about 100 kB each


@flow(name="digits-monitor", flow_run_name="monitor")
def monitor(inbox: _Folder = "build/inbox", quiet: _Seconds = 30) -> State[Any]:
    """Check each new batch of handwriting in the inbox for drift.

    The run's name and state say what was found. Harm emits an event that starts a training run
    (flows/server.py); drift that does no harm emits another one, which starts nothing.

    Args:
        inbox: a folder below the project; each file or folder in it is a batch. No part of its path
            begins with a dot.
        quiet: a batch is complete when nothing in it has changed for this many seconds.
    """
    project = Project.find()
    lock = locking.exclusive(project.state / "monitor.lock", "the monitor")
    try:
        with alive.registered(project), lock:
            return _check_new(project, project.root / inbox, quiet)
    except BusyError as exc:
        rename("monitor: another one is running")
        return Completed(name="Skipped", message=str(exc))


def _check_new(project: Project, folder: Path, quiet: float) -> State[Any]:
    try:
        batches, settling = inboxes.new_batches(folder, inboxes.known_batches(project), quiet)
        if not batches:
            rename("monitor: settling" if settling else "monitor: nothing new")
            return Completed(message=inboxes.nothing_new(project, folder, settling, quiet))
        detector = inboxes.load_detector(project)
    except DigitsError as exc:
        rename("monitor: failed")
        return Failed(message=str(exc))

    states = [check(project, batch, detector, return_state=True) for batch in batches]
    checked = [state.result() for state in states if state.is_completed()]
    failed = [b.name for b, state in zip(batches, states, strict=True) if state.is_failed()]
    headline = inboxes.headline(checked) if checked else ""
    if checked:
        rename(f"monitor: {headline}")
        create_markdown_artifact(
            key="digits-inbox",
            markdown=inboxes.markdown(checked) + _pages(project, checked),
            description=headline,
        )
    if failed:
        if not checked:
            rename(f"monitor: could not check {', '.join(failed)}")
        reason = f"could not check {', '.join(failed)}; see the log of its task"
        return Failed(message="; ".join(filter(None, [reason, headline])))
    return Completed(name=inboxes.title(checked), message=headline)


def _pages(project: Project, checked: Sequence[CheckedBatch]) -> str:
    """The page of each batch that somebody should look at; every run's would fill the database."""
    alarming = [batch.name for batch in checked if batch.status in inboxes.ALARMS][:_MAX_PAGES]
    found = (pictures.markdown(inboxes.results(project) / f"{name}.png", name) for name in alarming)
    return "".join(f"\n{page}\n" for page in found if page)


@task(name="check", task_run_name="{batch.name}", cache_policy=NO_CACHE)
def check(project: Project, batch: Batch, detector: "DriftDetector") -> CheckedBatch:
    """Check one batch, emit an event on drift or harm, and remember that it was checked."""
    checked = inboxes.check(project, batch, detector)
    for file, reason in checked.refused:
        get_run_logger().warning("refused %s: %s", file, reason)
    get_run_logger().info(inboxes.summary(checked))
    alarm = "drift" if checked.begins_slow_drift else checked.status
    if alarm == "harmful" or alarm == "drift":
        payload = {**inboxes.event_payload(checked), "summary": inboxes.verdict(checked)}
        alarms.emit(alarm, batch.name, payload)
    inboxes.record(project, batch, checked)
    return checked
