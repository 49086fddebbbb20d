"""`digits notebook`: execute reports/digits.ipynb."""

import click

from digits.core.project import Project
from digits.reports import notebook


@click.command("notebook")
def command() -> None:
    """Execute reports/digits.ipynb in place: data, models, training, mistakes, model comparison.

    It shows existing results: run 'digits run' first, and 'digits zoo' for the model comparison.
    If a cell fails, the file is left as it was.

    \b
    Exit codes: 0 executed, 2 a cell failed or a result is missing
    """
    project = Project.find()
    count = notebook.execute(project, lambda line: click.echo(line, err=True))
    cells = "1 cell" if count == 1 else f"{count} cells"
    size = project.notebook.stat().st_size / 1e6
    click.echo(f"{project.relative(project.notebook)}: {cells} executed, {size:.1f} MB")
