"""The monitor: what is new in the inbox, and is it still what the model was trained on?

Its domain part, which knows nothing of Prefect, is `digits.intake.inbox`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed, Failed

from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.intake import inbox as watched
from digits.intake.inbox import Batch, Checked

if TYPE_CHECKING:
    from digits.drift.detector import DriftDetector


@flow(name="digits-monitor", flow_run_name="monitor")
def monitor(inbox: str = "build/inbox", quiet: float = 30) -> State[Any]:
    """Check each new batch of handwriting in the inbox for drift.

    Args:
        inbox: the folder, relative to the project; each folder or file in it is a batch.
        quiet: seconds for which nothing of a batch may change before it counts as complete.
    """
    project = Project.find()
    folder = project.root / inbox
    try:
        batches = watched.new_batches(folder, watched.remembered(project), quiet)
        if not batches:
            return Completed(message=f"no new batches in {_described(project, folder)}")
        detector = watched.load_detector(project)
    except DigitsError as exc:
        return Failed(message=str(exc))
    return _monitor(project, batches, detector)


def _monitor(project: Project, batches: list[Batch], detector: "DriftDetector") -> State[Any]:
    states = [check(project, batch, detector, return_state=True) for batch in batches]
    checked = [state.result() for state in states if state.is_completed()]
    broken = [b.name for b, state in zip(batches, states, strict=True) if state.is_failed()]
    if checked:
        create_markdown_artifact(
            key="digits-inbox",
            markdown=watched.markdown(checked),
            description=watched.headline(checked),
        )
    if broken:
        told = f"; {watched.headline(checked)}" if checked else ""
        return Failed(message=f"could not check {', '.join(broken)}: see its task's log{told}")
    return Completed(message=watched.headline(checked))


@task(name="check", task_run_name="{batch.name}", cache_policy=NO_CACHE)
def check(project: Project, batch: Batch, detector: "DriftDetector") -> Checked:
    """Check one batch, remember it, and tell the world if it drifted."""
    checked = watched.check(project, batch, detector)
    for file, reason in checked.refused:
        get_run_logger().warning("refused %s: %s", file, reason)
    get_run_logger().info(watched.sentence(checked))
    if checked.result and checked.result.drift:
        emit_event(
            event="digits.drift",
            resource={
                "prefect.resource.id": f"digits.batch.{batch.name}",
                "prefect.resource.name": batch.name,
            },
            payload=watched.payload(checked),
        )
    watched.remember(project, batch, checked)
    return checked


def _described(project: Project, folder: Path) -> str:
    name = project.relative(folder)
    return name if folder.is_dir() else f"{name}, which does not exist yet"
