"""The pipeline: fetch the data, bring each stage up to date, write the report, push.

DVC knows the dependencies; this flow gives order, logs, retries and a summary. Steps that are known
to be up to date are shown, but take no time.
"""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import click
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed, Failed

from digits.core import locking, params, processes
from digits.core.errors import BusyError, DigitsError
from digits.core.project import Project
from digits.versioning import dvc
from flows import alive, api, summary, tasks
from flows.names import rename
from flows.progress import Progress, expected_steps
from flows.work import Work

_NamedTask = tuple[str, Callable[[], State[Any]]]


@flow(name="digits-pipeline", flow_run_name="pipeline")
def pipeline(force: bool = False, wait: bool = False, push: bool = True) -> State[Any]:
    """From raw data to a trained and evaluated model and a drift report.

    The run's name says what it did.

    Args:
        force: run every stage, even if nothing changed.
        wait: if the pipeline is already running, wait for it instead of failing.
        push: copy data and results to the DVC remote, if there is one.

    Returns:
        A completed state with the steps, or a failed state with the `DigitsError`.
    """
    project = Project.find()
    lock = locking.exclusive(
        *(project.state / "run.lock", "digits run", wait),
        on_wait=get_run_logger().info,
        hint=", or add --wait",
    )
    try:
        params.load(project.params)
        with alive.registered(project), lock:
            return _run(project, force, push)
    except BusyError as exc:
        rename("pipeline: another one is running")
        return Failed(message=str(exc), data=exc)
    except DigitsError as exc:
        rename("pipeline: failed")
        return Failed(message=str(exc), data=exc)


def _run(project: Project, force: bool, push: bool) -> State[Any]:
    """Run what has to be run; the first step that fails ends the run."""
    with ThreadPoolExecutor(1) as pool:  # each question takes DVC half a second
        remote = pool.submit(dvc.default_remote, project) if push else None
        work = Work(project, force)
    idle = work.idle
    progress = Progress(project, () if idle else expected_steps(project, work.stale, force))
    done = []
    try:
        with progress.shown():
            for name, task in _steps(project, force, work, progress):
                if text := progress.begin(name):
                    get_run_logger().info(text)
                done.append(task().result())
                work.done(done[-1])
                progress.end(done[-1])
            if remote and (name := remote.result()):
                done.append(tasks.push(project.root, name).result())
    except DigitsError as exc:
        rename(f"pipeline: {progress.current} failed")
        return Failed(message=str(exc), data=exc)
    rename(f"pipeline: {summary.what_was_done(project, done)}")
    create_markdown_artifact(
        key="digits-result",
        markdown=summary.markdown(project, done) + summary.pictures(project, done),
        description="Test results, drift, what ran and how long it took, reports",
    )
    result = summary.headline(project)
    return Completed(message=f"nothing to do; {result}" if idle else result, data=done)


def _steps(project: Project, force: bool, work: Work, progress: Progress) -> Iterator[_NamedTask]:
    """The steps in their order; those that are up to date are shown, but don't run."""
    root, idle = project.root, work.idle
    yield "fetch", partial(tasks.fetch, root) if work.includes("fetch") else _unchanged("fetch")
    for stage in params.STAGES:
        run_stage = partial(tasks.run_stage, stage, root, force, progress.line)
        yield stage, run_stage if work.includes(stage) else _unchanged(stage)
    if idle:
        return
    for name, task in (("gate", tasks.gate), ("report", tasks.report), ("verify", tasks.verify)):
        yield name, partial(task, root)


def _unchanged(step: str) -> Callable[[], State[Any]]:
    return partial(tasks.unchanged, step)


@click.command()
@click.option("--force", is_flag=True)
@click.option("--wait", is_flag=True)
@click.option("--push/--no-push", default=True)
def main(force: bool, wait: bool, push: bool) -> None:
    """Run the flow in this process and print a summary."""
    processes.end_with_ancestors(whole_group=True)
    project = Project.find()
    try:
        with processes.sigterm_interrupts():  # Prefect handles SIGTERM first, and ends the run
            state: State[Any] = pipeline(force, wait, push, return_state=True)
    except KeyboardInterrupt:
        print("digits: interrupted; finished stages are kept, run again to resume", file=sys.stderr)
        sys.exit(130)
    except PrefectHTTPStatusError as exc:
        print(f"digits: Prefect's server refused the run: {api.reason(exc)}", file=sys.stderr)
        sys.exit(2)
    result = state.result(raise_on_failure=False)
    if isinstance(result, BaseException):
        print(f"digits: {result}", file=sys.stderr)
        sys.exit(result.exit_code if isinstance(result, DigitsError) else 2)
    summary.show(project, result)


if __name__ == "__main__":
    main()
