"""`digits models`: the registry on the command line."""

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from digits.core.errors import RegistryError, Verdict
from digits.core.project import Project
from digits.versioning import registry

_SHORT = 12  # hex digits of a SHA-256 that are shown
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group("models")
def command() -> None:
    """The registry: which models there are, which one is champion, are their files genuine.

    Versions and the champion are annotated git tags (digits@v0.1.0, digits#champion#1), made in
    this clone only. Sharing them is up to you: git push --tags
    """


@command.command()
@click.argument("version", required=False)
@click.option(
    "--bump",
    type=click.Choice(["patch", "minor", "major"]),
    default="patch",
    show_default=True,
    help="Which number of the newest version to raise when VERSION is left out.",
)
def register(version: str | None, bump: registry.Bump) -> None:
    """Register HEAD's model as VERSION, for example v0.2.0.

    HEAD must hold what lies in the tree: pipeline, parameters, reports and the model card, whose
    digests models/ must match. Then share it: dvc push && git push --tags
    """
    made = registry.register(Project.find(), version, bump)
    click.echo(f"{made.name}: registered commit {made.commit[:7]} (tag {made.tag})")
    click.echo(f"Next: digits models promote {made.name}; dvc push && git push --tags")


@command.command("list")
@_JSON
def list_(as_json: bool) -> None:
    """The versions, the newest first; * marks the champion."""
    versions = registry.versions(Project.find())
    if as_json:
        click.echo(json.dumps([asdict(version) for version in versions], indent=2))
    elif not versions:
        click.echo("No version yet; run 'digits models register'.")
    else:
        Console().print(_table(versions))


@command.command()
@click.argument("version")
def promote(version: str) -> None:
    """Make VERSION the champion. Share it with git push --tags"""
    chosen, changed = registry.promote(Project.find(), version)
    click.echo(f"{chosen.name}: {'now' if changed else 'already'} the champion")


@command.command()
def rollback() -> None:
    """Make the champion before the present one champion again. Share it with git push --tags"""
    now, before = registry.rollback(Project.find())
    click.echo(f"{now.name}: champion again, instead of {before.name}")


@command.command()
@_JSON
def verify(as_json: bool) -> None:
    """Are the weights those that were registered? Exit code 1 if a file is not.

    Looks at models/ and at every version, in build/registry, DVC's cache or its remote. A version
    whose files are in none of them is absent: not wrong, but not confirmed.
    """
    checks = registry.verify(Project.find())
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    elif not checks:
        raise RegistryError("nothing to verify: no model and no version; run 'dvc repro'")
    else:
        for check in checks:
            click.echo(f"{check.state:8}  {check.version}  {check.file}  {check.expected[:_SHORT]}")
    wrong = [registry.describe(check) for check in checks if check.state == "mismatch"]
    if wrong:
        raise Verdict("; ".join(wrong))


def _table(versions: list[registry.Version]) -> Table:
    table = Table("", "version", "test accuracy", "weights", "commit")
    for one in versions:
        digests = sorted(one.weights.items())
        table.add_row(
            "*" if one.champion else "",
            one.name,
            "-" if one.accuracy is None else f"{one.accuracy:.2%}",
            digests[0][1][:_SHORT] if digests else "-",
            one.commit[:7],
        )
    return table
