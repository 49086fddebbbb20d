"""`digits propose`: commit new results on a branch, for a pull request."""

import json

import click

from digits.cli._terminal import json_option
from digits.core.project import Project
from digits.gate import proposal


@click.command("propose")
@click.option("--branch", default="retrain", show_default=True, help="Branch to commit on.")
@click.option("--reason", default="", help="First line of the commit's message.")
@json_option
def command(branch: str, reason: str, as_json: bool) -> None:
    """Commit new results on a branch, for a pull request.

    The branch gets one commit on top of HEAD: data.dvc, params.yaml, dvc.lock, reports and
    README.md as they are in the working tree, which stays as it is. An older proposal on the branch
    is replaced.

    \b
    Exit codes: 0  committed, or there is nothing to propose
                2  stale results, code that is not committed, or a branch with other commits
    \b
    Example:
      digits run && digits report --readme && digits propose
    """
    result = proposal.propose(Project.find(), branch, reason)
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2))
    elif result.commit:
        click.echo(f"{result.reason}: {result.commit[:7]}, {len(result.files)} files")
        click.echo(f"To propose it: git push --force-with-lease origin {branch}")
    else:
        click.echo(result.reason)
