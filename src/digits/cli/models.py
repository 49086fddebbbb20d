"""`digits models`: the model registry."""

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from digits.cli import _model_history
from digits.cli._terminal import json_option
from digits.core.errors import RegistryError, Verdict
from digits.core.project import Project
from digits.registry import registry

_SHORT = 12  # hex digits of a SHA-256 to show


@click.group("models")
def command() -> None:
    """The model registry: versions, the champion, and the digests of their files.

    Versions and champions are annotated git tags (digits@v0.1.0, digits#champion#1). These
    commands create them in this clone only; git push --tags shares them.

    \b
    Exit codes: 0  done
                1  'verify' found a file with another SHA-256
                2  the version is unknown, or HEAD's model can't be registered
    \b
    Examples:
      digits models register
      digits models promote v0.1.0
      digits models rollback
    """


@command.command()
@click.argument("version", required=False)
@click.option(
    "--bump",
    type=click.Choice(["patch", "minor", "major"]),
    default="patch",
    show_default=True,
    help="Without VERSION: which number of the newest version to raise.",
)
def register(version: str | None, bump: registry.Bump) -> None:
    """Register the model of HEAD as VERSION, for example v0.2.0.

    The pipeline, parameters and reports must be committed, and models/ must match the digests in
    the model card, reports/model.json. To share the version: dvc push && git push --tags
    """
    made = registry.register(Project.find(), version, bump)
    click.echo(f"{made.name}: registered commit {made.commit[:7]} (tag {made.tag})")
    click.echo(f"Next: digits models promote {made.name}; dvc push && git push --tags")


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the versions, newest first; * marks the champion."""
    versions = registry.versions(Project.find())
    if as_json:
        click.echo(json.dumps([asdict(version) for version in versions], indent=2))
        return
    if not versions:
        click.echo("No version yet; run 'digits models register'.")
        return
    table = Table("", "version", "test accuracy", "weights", "commit")
    for version in versions:
        digest = next(iter(version.weights.values()), "-")
        accuracy = "-" if version.accuracy is None else f"{version.accuracy:.2%}"
        champion = "*" if version.champion else ""
        table.add_row(champion, version.name, accuracy, digest[:_SHORT], version.commit[:7])
    Console().print(table)


@command.command()
@click.argument("version")
def promote(version: str) -> None:
    """Make VERSION the champion. To share this: git push --tags"""
    chosen, changed = registry.promote(Project.find(), version)
    click.echo(f"{chosen.name}: {'now' if changed else 'already'} the champion")


@command.command()
def rollback() -> None:
    """Make the previous champion the champion again. To share this: git push --tags"""
    champion, replaced = registry.rollback(Project.find())
    click.echo(f"{champion.name}: champion again, replaces {replaced.name}")


@command.command()
@json_option
def verify(as_json: bool) -> None:
    """Check all weights against their registered SHA-256. Exit code 1 if one differs.

    Checks models/ and every version, whose files are read from build/registry, DVC's cache or its
    remote. Files that are in none of them are reported as absent: unverified, which is no failure.
    """
    checks = registry.verify(Project.find())
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    elif not checks:
        raise RegistryError("nothing to verify: there is no model and no version; run 'dvc repro'")
    else:
        for check in checks:
            click.echo(f"{check.state:8}  {check.version}  {check.file}  {check.expected[:_SHORT]}")
    mismatches = [
        f"{check.version}: {check.file}: SHA-256 is {check.found}, expected {check.expected}; "
        "don't use it; delete it and run 'dvc pull' or 'dvc repro'"
        for check in checks
        if check.state == "mismatch"
    ]
    if mismatches:
        raise Verdict("; ".join(mismatches))


command.add_command(_model_history.show)
command.add_command(_model_history.history_)
