"""The monitor: check new batches in the inbox for drift. `digits.intake.inbox` does the work."""

from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed, Failed

from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.intake import inbox as inboxes
from digits.intake.inbox import Batch, CheckedBatch

if TYPE_CHECKING:
    from digits.drift.detector import DriftDetector


@flow(name="digits-monitor", flow_run_name="monitor")
def monitor(inbox: str = "build/inbox", quiet: float = 30) -> State[Any]:
    """Check each new batch of handwriting in the inbox for drift.

    Args:
        inbox: a folder, relative to the project; each file or folder in it is a batch.
        quiet: a batch is complete when nothing in it has changed for this many seconds.
    """
    project = Project.find()
    folder = project.root / inbox
    try:
        batches = inboxes.new_batches(folder, inboxes.known_batches(project), quiet)
        if not batches:
            missing = "" if folder.is_dir() else ", which does not exist yet"
            return Completed(message=f"no new batches in {project.relative(folder)}{missing}")
        detector = inboxes.load_detector(project)
    except DigitsError as exc:
        return Failed(message=str(exc))

    states = [check(project, batch, detector, return_state=True) for batch in batches]
    checked = [state.result() for state in states if state.is_completed()]
    failed = [b.name for b, state in zip(batches, states, strict=True) if state.is_failed()]
    headline = inboxes.headline(checked) if checked else ""
    if checked:
        create_markdown_artifact(
            key="digits-inbox", markdown=inboxes.markdown(checked), description=headline
        )
    if failed:
        reason = f"could not check {', '.join(failed)}; see the log of its task"
        return Failed(message="; ".join(filter(None, [reason, headline])))
    return Completed(message=headline)


@task(name="check", task_run_name="{batch.name}", cache_policy=NO_CACHE)
def check(project: Project, batch: Batch, detector: "DriftDetector") -> CheckedBatch:
    """Check one batch, emit an event on drift or harm, and remember that it was checked."""
    checked = inboxes.check(project, batch, detector)
    for file, reason in checked.refused:
        get_run_logger().warning("refused %s: %s", file, reason)
    get_run_logger().info(inboxes.summary(checked))
    if checked.status in inboxes.ALARMS:
        emit_event(
            event=f"digits.{checked.status}",
            resource={
                "prefect.resource.id": f"digits.batch.{batch.name}",
                "prefect.resource.name": batch.name,
            },
            payload=inboxes.event_payload(checked),
        )
    inboxes.record(project, batch, checked)
    return checked
