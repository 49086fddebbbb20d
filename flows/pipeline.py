"""The pipeline: fetch the data, bring each stage up to date, write the report, push.

DVC knows the dependencies; this flow gives order, logs, retries and a summary.
"""

import sys
from typing import Any

import click
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed, Failed

from digits.core import locking, params, processes
from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.versioning import dvc
from flows import alive, api, summary, tasks
from flows.summary import Step


@flow(name="digits-pipeline", flow_run_name="pipeline", validate_parameters=False)
def pipeline(force: bool = False, wait: bool = False, push: bool = True) -> State[Any]:
    """From raw data to a trained and evaluated model and a drift report.

    Args:
        force: run every stage, even if nothing changed.
        wait: if the pipeline is already running, wait for it instead of failing.
        push: copy data and results to the DVC remote, if there is one.

    Returns:
        A completed state with the steps, or a failed state with the `DigitsError`.
    """
    project = Project.find()
    lock = project.state / "run.lock"
    try:
        params.load(project.params)
        with (
            alive.registered(project),
            locking.exclusive(lock, "digits run", wait, hint=", or add --wait"),
        ):
            steps = _run_steps(project, force, push)
            create_markdown_artifact(
                key="digits-result",
                markdown=summary.markdown(project, steps),
                description="Test results, drift, what ran and how long it took, reports",
            )
            return Completed(message=summary.headline(project), data=steps)
    except DigitsError as exc:
        return Failed(message=str(exc), data=exc)


def _run_steps(project: Project, force: bool, push: bool) -> list[Step]:
    """Run one step after the other; the first that fails raises its error."""
    stages = (tasks.run_stage(stage, project.root, force).result() for stage in params.STAGES)
    first = tasks.fetch(project.root).result()
    last = (tasks.gate, tasks.report, tasks.verify)
    steps = [first, *stages, *(step(project.root).result() for step in last)]
    remote = dvc.default_remote(project) if push else ""
    return [*steps, tasks.push(project.root, remote).result()] if remote else steps


@click.command()
@click.option("--force", is_flag=True)
@click.option("--wait", is_flag=True)
@click.option("--push/--no-push", default=True)
def main(force: bool, wait: bool, push: bool) -> None:
    """Run the flow in this process and print a summary."""
    processes.end_with_ancestors(whole_group=True)
    project = Project.find()
    try:
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
