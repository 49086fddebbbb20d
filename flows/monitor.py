"""The monitor: check new batches in the inbox for drift. `digits.intake.inbox` does the work."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_client, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from digits.core import locking
from digits.core.errors import BusyError, DigitsError
from digits.core.project import Project
from digits.intake import inbox as inboxes
from digits.intake.inbox import Batch, CheckedBatch
from flows import alarms, alive

if TYPE_CHECKING:
    from digits.drift.detector import DriftDetector

_LONGEST = 120  # characters of a run's name


@flow(name="digits-monitor", flow_run_name="monitor")
def monitor(inbox: str = "build/inbox", quiet: float = 30) -> State[Any]:
    """Check each new batch of handwriting in the inbox for drift.

    The run's name and state say what was found. Harm emits an event that starts a training run
    (flows/server.py); drift that does no harm emits another one, which starts nothing.

    Args:
        inbox: a folder, relative to the project; each file or folder in it is a batch.
        quiet: a batch is complete when nothing in it has changed for this many seconds.
    """
    project = Project.find()
    lock = locking.exclusive(project.state / "monitor.lock", "the monitor")
    try:
        with alive.registered(project), lock:
            return _check_new(project, project.root / inbox, quiet)
    except BusyError as exc:
        _rename("monitor: another one is running")
        return Completed(name="Skipped", message=str(exc))


def _check_new(project: Project, folder: Path, quiet: float) -> State[Any]:
    try:
        batches, settling = inboxes.new_batches(folder, inboxes.known_batches(project), quiet)
        if not batches:
            _rename("monitor: settling" if settling else "monitor: nothing new")
            return Completed(message=inboxes.nothing_new(project, folder, settling, quiet))
        detector = inboxes.load_detector(project)
    except DigitsError as exc:
        return Failed(message=str(exc))

    states = [check(project, batch, detector, return_state=True) for batch in batches]
    checked = [state.result() for state in states if state.is_completed()]
    failed = [b.name for b, state in zip(batches, states, strict=True) if state.is_failed()]
    headline = inboxes.headline(checked) if checked else ""
    if checked:
        _rename(f"monitor: {headline}")
        create_markdown_artifact(
            key="digits-inbox", markdown=inboxes.markdown(checked), description=headline
        )
    if failed:
        reason = f"could not check {', '.join(failed)}; see the log of its task"
        return Failed(message="; ".join(filter(None, [reason, headline])))
    return Completed(name=inboxes.title(checked), message=headline)


@task(name="check", task_run_name="{batch.name}", cache_policy=NO_CACHE)
def check(project: Project, batch: Batch, detector: "DriftDetector") -> CheckedBatch:
    """Check one batch, emit an event on drift or harm, and remember that it was checked."""
    checked = inboxes.check(project, batch, detector)
    for file, reason in checked.refused:
        get_run_logger().warning("refused %s: %s", file, reason)
    get_run_logger().info(inboxes.summary(checked))
    alarm = "drift" if checked.begins_slow_drift else checked.status
    if alarm == "harmful" or alarm == "drift":
        alarms.emit(alarm, batch.name, inboxes.event_payload(checked))
    inboxes.record(project, batch, checked)
    return checked


def _rename(name: str) -> None:
    """Name the run after what it found: the list of runs shows no messages."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(runtime.flow_run.id, name=name[:_LONGEST])
