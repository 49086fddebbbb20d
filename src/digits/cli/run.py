"""`digits run`: the Prefect flow, in a process group that is ended with this command."""

import sys
from pathlib import Path

import click

from digits.core import params, processes
from digits.core.project import Project
from flows import services, summary
from flows.work import Work


@click.command("run")
@click.option("--force", is_flag=True, help="Run every stage, even if it is up to date.")
@click.option("--wait", is_flag=True, help="If the pipeline is already running, wait for it.")
@click.option("--no-push", is_flag=True, help="Don't copy data and results to the DVC remote.")
def command(force: bool, wait: bool, no_push: bool) -> None:
    """Run the pipeline: fetch, ingest, validate, preprocess, train, evaluate, drift, report.

    Only stale stages run. Results go to models/ and reports/; open reports/index.html. A run that
    is interrupted resumes training after the last finished epoch. While 'make server' is up, the
    run is recorded on that Prefect server, otherwise on a temporary one. At the end, data and
    results are pushed to the DVC remote, if there is one; if that fails, the run still succeeds.

    \b
    Exit codes: 0  up to date or rebuilt
                1  the data is invalid
                2  bad parameters, no data, a failed stage, or a run in progress
    \b
    Examples:
      digits run
      digits run --force
    """
    project = Project.find()
    params.load(project.params)  # report a typo before anything starts
    if not force and Work(project).idle:
        click.echo("Nothing to do: data, stages and reports are up to date.\n")
        summary.show(project, [])
        return
    given = {"--force": force, "--wait": wait, "--no-push": no_push}
    options = [option for option, on in given.items() if on]
    environment = services.environment(project)
    Path(environment["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # Prefect makes one level
    with processes.sigterm_interrupts():
        code = processes.supervise(
            [sys.executable, "-m", "flows.pipeline", *options], project.root, environment
        )
    sys.exit(code if code >= 0 else 128 - code)
