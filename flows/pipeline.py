"""The pipeline: fetch the data, bring each stage up to date, and report.

DVC knows what depends on what; this flow knows the order, and what a person wants to see.
"""

import sys
from pathlib import Path
from typing import Any

import click
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from digits.core import locking, params, processes
from digits.core.errors import BusyError, DigitsError
from digits.core.project import Project
from flows import summary, tasks
from flows.tasks import Outcome


@flow(name="digits-pipeline", flow_run_name="pipeline", validate_parameters=False)
def pipeline(force: bool = False, wait: bool = False) -> State[Any]:
    """Raw data to a trained, evaluated and monitored model.

    Args:
        force: run every stage, changed or not.
        wait: if the pipeline is running already, wait for it instead of giving up.
    """
    project = Project.find()
    params.load(project.params)
    try:
        with locking.exclusive(
            project.state / "run.lock", "digits run", wait, hint=", or add --wait"
        ):
            return _pipeline(project, force)
    except BusyError as exc:
        return Failed(message=str(exc))


def _pipeline(project: Project, force: bool) -> State[Any]:
    outcomes: list[Outcome] = []
    for step in _steps(project.root, force):
        if step.is_failed():
            return Failed(message=tasks.reason(step), data=outcomes)
        outcomes.append(step.data if isinstance(step.data, Outcome) else step.result())
    create_markdown_artifact(
        key="digits-result",
        markdown=summary.markdown(project, outcomes),
        description="Figures of the model, what ran, and where the reports are",
    )
    return Completed(message=summary.headline(project), data=outcomes)


def _steps(root: Path, force: bool) -> Any:
    yield tasks.fetch(root, return_state=True)
    for stage in params.STAGES:
        yield tasks.run_stage(stage, root, force, return_state=True)
    yield tasks.report(root, return_state=True)


@click.command()
@click.option("--force", is_flag=True)
@click.option("--wait", is_flag=True)
def main(force: bool, wait: bool) -> None:
    """Run the flow here and now, and end with a table."""
    processes.end_with_ancestors(whole_group=True)
    project = Project.find()
    try:
        state: State[Any] = pipeline(force, wait, return_state=True)
    except DigitsError as exc:
        print(f"digits: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        print("digits: interrupted; finished stages are kept, run again to go on", file=sys.stderr)
        sys.exit(130)
    if not state.is_completed():
        print(f"digits: {state.message}", file=sys.stderr)
        sys.exit(tasks.exit_code(state.message or ""))
    outcomes: list[Outcome] = state.result()
    summary.show(project, outcomes)


if __name__ == "__main__":
    main()
