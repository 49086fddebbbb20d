"""`digits notebook`: reports/digits.ipynb, executed."""

import click

from digits.core.project import Project
from digits.reports import notebook


@click.command("notebook")
def command() -> None:
    """Execute reports/digits.ipynb in place: data, networks, training, mistakes, comparison.

    It shows the results that are there, so run 'dvc repro' first (and 'digits zoo' for the
    comparison). If a cell fails, the file stays as it was.
    """
    project = Project.find()
    count = notebook.execute(project, lambda line: click.echo(line, err=True))
    cells = "1 cell" if count == 1 else f"{count} cells"
    size = project.notebook.stat().st_size / 1e6
    click.echo(f"{project.relative(project.notebook)}: {cells} executed, {size:.1f} MB")
