"""`digits run`: the Prefect flow over the DVC stages, in a process that leaves nothing behind."""

import sys
from pathlib import Path

import click

from digits.core import params, processes
from digits.core.project import Project
from flows import services, summary


@click.command()
@click.option("--force", is_flag=True, help="Run every stage, changed or not.")
@click.option("--wait", is_flag=True, help="If the pipeline is running already, wait for it.")
def command(force: bool, wait: bool) -> None:
    """Run the pipeline: fetch, ingest, validate, preprocess, train, evaluate, drift.

    Only what changed is run; if nothing did, this says so. Uses the Prefect server of 'make
    server' when that is up, else a temporary one.
    """
    project = Project.find()
    params.load(project.params)  # a typo is told before anything starts
    if not force and summary.up_to_date(project):
        click.echo("Nothing to do: data, stages and reports are up to date.\n")
        summary.show(project, [])
        return
    options = [name for name, on in (("--force", force), ("--wait", wait)) if on]
    environment = services.environment(project)
    Path(environment["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # Prefect makes one level
    with processes.sigterm_interrupts():
        code = processes.supervise(
            [sys.executable, "-m", "flows.pipeline", *options], project.root, environment
        )
    sys.exit(code if code >= 0 else 128 - code)
