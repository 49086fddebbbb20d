"""The nightly upkeep: verify models and results, remove what is past its retention.

Prefect's server itself removes old runs, logs, artifacts and events (flows/services.py).
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from digits.core import locking, processes
from digits.core.errors import BusyError, DigitsError
from digits.core.project import Project
from digits.formatting import markdown_code, markdown_table
from digits.intake import late_labels
from digits.versioning import garbage
from flows import alive, services
from flows.names import rename

_LISTED = 20  # objects in the artifact; the log has all

KeepDays = Annotated[int, Field(ge=7, le=3650, description="Days that results are kept")]


@flow(name="digits-maintain", flow_run_name="maintain")
def maintain(keep_days: KeepDays = 90, dry_run: bool = False) -> State[Any]:
    """Verify models and results; remove objects of DVC's cache and results that nobody needs.

    What the workspace, a branch, a tag or an experiment needs is never removed, whatever its age,
    and neither is anything from a DVC remote. If the pipeline is running, this run is skipped.

    Args:
        keep_days: what any commit of as many days needs is kept; so are results of the monitor.
        dry_run: only list what would be removed.
    """
    project = Project.find()
    lock = locking.exclusive(project.state / "run.lock", "maintain")
    try:
        with alive.registered(project), lock:
            return _maintain(project, datetime.now(UTC) - timedelta(days=keep_days), dry_run)
    except BusyError as exc:
        rename("maintain: skipped, the pipeline is running")
        return Completed(name="Skipped", message=str(exc))


def _maintain(project: Project, since: datetime, dry_run: bool) -> State[Any]:
    """All steps, also after one has failed."""
    root = project.root
    states = [
        verify.with_options(task_run_name="verify models")(
            root, ("models", "verify"), return_state=True
        ),
        verify(root, ("verify",), return_state=True),
        collect_garbage(project, since, dry_run, return_state=True),
        remove_results(project, since, dry_run, return_state=True),
        trim_logs(project, return_state=True),
    ]
    failed = [state.message or "" for state in states if state.is_failed()]
    if failed:
        rename(f"maintain: {len(failed)} of {len(states)} steps failed")
        return Failed(message="; ".join(failed))
    rename(f"maintain: all is well{', dry run' if dry_run else ''}")
    return Completed(message="; ".join(filter(None, (state.message for state in states))))


@task(name="verify", task_run_name="verify results", cache_policy=NO_CACHE)
def verify(root: Path, command: Sequence[str]) -> State[Any]:
    """Run a command that verifies; if something is wrong, its error is the state's message."""
    log = get_run_logger()
    done = processes.run([sys.executable, "-m", "digits", *command], root, log.info)
    if done.code:
        reason = next(filter(None, reversed(done.tail)), f"exit code {done.code}")
        return Failed(message=f"{' '.join(command)}: {reason.removeprefix('digits: ')}")
    return Completed(message="")


@task(name="garbage", task_run_name="garbage", cache_policy=NO_CACHE)
def collect_garbage(project: Project, since: datetime, dry_run: bool) -> State[Any]:
    """List the objects of DVC's cache that nothing needs, then remove them."""
    try:
        found = garbage.find(project, since.date())
        for path in found.paths:
            get_run_logger().info("not needed: %s", project.relative(path))
        if found.paths:
            create_markdown_artifact(
                key="digits-garbage",
                markdown=_listing(project, found),
                description=f"Objects of DVC's cache that nothing needs{_but(dry_run)}",
            )
        if found.paths and not dry_run:
            garbage.remove(project, since.date())
    except DigitsError as exc:
        return Failed(message=f"garbage: {exc}")
    size = f"{len(found.paths):,} objects, {found.size / 1e6:,.1f} MB"
    return Completed(message=f"DVC's cache: {size} not needed{_but(dry_run)}")


def _listing(project: Project, found: garbage.Garbage) -> str:
    rows = [(markdown_code(project.relative(path)),) for path in found.paths[:_LISTED]]
    more = len(found.paths) - len(rows)
    total = f"{len(found.paths):,} objects, {found.size:,} bytes. None of them is needed by the "
    return "\n\n".join(
        [
            f"{total}workspace, a branch, a tag, an experiment or a recent commit.",
            markdown_table(("object",), rows),
            *([f"and {more:,} more, in the log of the task"] if more > 0 else []),
        ]
    )


@task(name="results", task_run_name="old results", cache_policy=NO_CACHE)
def remove_results(project: Project, since: datetime, dry_run: bool) -> State[Any]:
    """Remove what the monitor wrote about old batches, except where labels came later."""
    old = late_labels.old_results(project, since)
    for path in old:
        get_run_logger().info("old: %s", project.relative(path))
        if not dry_run:
            path.unlink(missing_ok=True)
    return Completed(message=f"build/monitor: {len(old):,} old files{_but(dry_run)}")


@task(name="logs", task_run_name="logs", cache_policy=NO_CACHE)
def trim_logs(project: Project) -> State[Any]:
    """Keep only the end of large logs of server, worker and keeper."""
    trimmed = services.trim_logs(project)
    return Completed(message=f"logs trimmed: {', '.join(trimmed)}" if trimmed else "")


def _but(dry_run: bool) -> str:
    return ", nothing removed (dry run)" if dry_run else ""
