"""`digits models`: the model registry."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from digits.cli import _model_history
from digits.cli._terminal import json_option
from digits.core import files
from digits.core.errors import RegistryError, Verdict
from digits.core.project import Project
from digits.formatting import one_line
from digits.registry import checks, publishing, registry, store
from digits.registry.checks import FileCheck, TagCheck
from digits.registry.registry import Promotion

_SHORT = 12  # hex digits of a SHA-256 to show
_MD5 = 8  # hex digits of a data version to show

_PUBLISH = "Next: digits models push  # files to the DVC remote, then tags to git's"


@click.group("models")
def command() -> None:
    """The model registry: versions, the champion, and the digests of their files.

    Versions and champions are annotated git tags (digits@v0.1.0, digits#champion#1), signed if
    git is configured to sign yours (user.signingKey, tag.gpgSign). A tag records the commit, data
    version, parameters, test metrics, SHA-256 of the weights, who and why. Tags stay in this clone
    until 'push'.

    \b
    Exit codes: 0  done
                1  'promote': the gate rejects the version or cannot judge it;
                   'verify' found something that isn't what it claims to be
                2  the version is unknown, not merged, or HEAD's model can't be registered;
                   another command is changing the registry
    \b
    Examples:
      digits models register -m "more epochs"
      digits models promote v0.1.0
      digits models push
      digits models rollback --reason "misreads sevens with a bar"
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
@click.option("--message", "-m", "why", default="", help="Why: recorded in the tag.")
def register(version: str | None, bump: registry.Bump, why: str) -> None:
    """Register the model of HEAD as VERSION, for example v0.2.0.

    Refused while something is stale or not committed, while models/ is not what the model card,
    reports/model.json, lists, and for weights that are registered already.
    """
    made = registry.register(Project.find(), version, bump, why)
    click.echo(f"{made.name}: registered commit {made.commit[:7]} (tag {made.tag})")
    click.echo(f"Next: digits models promote {made.name}  # asks the gate")
    click.echo(_PUBLISH)


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the versions, newest first, and the stages that they hold, such as champion."""
    versions = registry.versions(Project.find())
    if as_json:
        click.echo(json.dumps([asdict(version) for version in versions], indent=2))
        return
    if not versions:
        click.echo("No version yet; run 'digits models register'.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("version", "stages", "accuracy", "date", "data", "weights", "commit"):
        table.add_column(name, overflow="fold")
    for version in versions:
        digest = next(iter(version.weights.values()), "-")
        accuracy = "-" if version.accuracy is None else f"{version.accuracy:.2%}"
        stages = Text(", ".join([registry.CHAMPION] * version.champion + version.stages))
        data = Text(one_line(version.data or "-")[:_MD5])  # whatever data.dvc says
        row = (version.name, stages, accuracy, version.date[:10], data, digest[:_SHORT])
        table.add_row(*row, version.commit[:7])
    Console().print(table)


@command.command()
@click.argument("version")
@click.option("--message", "-m", "why", default="", help="Why: recorded in the tag.")
@click.option("--force", is_flag=True, help="Whatever the gate says, and unmerged. Needs --reason.")
@click.option("--reason", default="", help="Why it is forced: recorded in the tag.")
@click.option(
    "--stage",
    metavar="NAME",
    default=registry.CHAMPION,
    show_default=True,
    help="Another stage, such as staging: 'get NAME' brings its version.",
)
def promote(version: str, why: str, force: bool, reason: str, stage: str) -> None:
    """Make VERSION the champion, if the gate says so.

    The gate compares it with the champion on the same images, by the policy in main's params.yaml
    (section gate); the first champion must only meet the absolute limits. Only a version whose
    commit is merged into origin/main is promoted (main, where there is no remote).

    Verdicts: promote; keep (nothing is better beyond chance: the champion stays, exit code 0);
    reject and cannot judge (exit code 1). Verdict, reasons and --reason are recorded in the tag.
    For another --stage, promote and keep are both good enough.
    """
    if reason and not force:
        raise click.UsageError("--reason goes with --force; -m TEXT records why otherwise")
    result = registry.promote(Project.find(), version, why, force, reason, stage)
    name = result.version.name
    if result.outcome == "already":
        click.echo(f"{name}: already {_role(stage)}")
        return
    if result.outcome == "refused":
        raise Verdict(_refusal(result))
    for text in result.reasons:
        click.echo(f"gate: {result.verdict}: {one_line(text)}")
    if result.outcome == "kept":
        stays = result.champion.name if result.champion else "nothing"
        click.echo(f"{stays}: stays the champion; {name} is not better beyond chance")
        return
    click.echo(f"{name}: now {_role(stage)}")
    click.echo(_PUBLISH)


@command.command()
@click.option("--reason", "-m", default="", help="Why: recorded in the tag.")
def rollback(reason: str) -> None:
    """Make the previous champion the champion again. The gate isn't asked."""
    champion, replaced = registry.rollback(Project.find(), reason)
    click.echo(f"{champion.name}: champion again, replaces {replaced.name}")
    click.echo(_PUBLISH)


@command.command()
@click.argument("version", metavar="VERSION|champion|STAGE")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A new folder for the files. Default: build/registry/VERSION.",
)
def get(version: str, out: Path | None) -> None:
    """Bring exactly the files of a version, and print their folder.

    They come from DVC's cache or its remote, and are compared with the SHA-256 of the version's
    model card before anything opens them. digits.Recogniser.load(FOLDER) loads the model.
    """
    chosen, folder = registry.get(Project.find(), version, out)
    click.echo(f"{chosen.name}: verified", err=True)
    click.echo(str(folder))


@command.command()
def push() -> None:
    """Publish versions and champions: files to the DVC remote, then tags to git's.

    A tag is pushed only when the files of its version can be downloaded from the DVC remote and
    have the right SHA-256. A failed push loses nothing and can be repeated. If somebody else
    changed the registry meanwhile, their change stands, and the message says how to get it.
    """
    pushed = publishing.push(Project.find())
    if not pushed.tags:
        click.echo(f"'{pushed.remote}' has every version and champion already")
        return
    for name in pushed.tags:
        click.echo(f"pushed {name}")
    click.echo(f"'{pushed.remote}' is up to date; in other clones: git fetch --tags")


@command.command()
@click.argument("version", required=False)
@json_option
def verify(version: str | None, as_json: bool) -> None:
    """Check weights and tags of VERSION, or of all and of models/. Exit code 1 if one is wrong.

    Weights must have the SHA-256 of their model card. They are read from build/registry, DVC's
    cache or its remote; files that are in none of them are reported as absent: unverified, which is
    no failure.

    A tag must say what its commit says, and a signature must be good. A tag without a signature,
    or with one of a key that git doesn't know, is reported and no failure.
    """
    project = Project.find()
    weights = checks.check_files(project, version)
    tags = checks.check_tags(project, version)
    if as_json:
        document = {
            "weights": [asdict(one) for one in weights],
            "tags": [asdict(one) for one in tags],
        }
        click.echo(json.dumps(document, indent=2))
    elif not weights:
        raise RegistryError("nothing to verify: there is no model and no version; run 'digits run'")
    else:
        for one in weights:
            name = one_line(one.file)
            click.echo(f"{one.state:8}  {one.version}  {name}  {one.expected[:_SHORT]}")
        for tag in tags:
            click.echo(f"{'ok' if tag.ok else 'mismatch':8}  {tag.tag}  {_described(tag)}")
    if problems := [*_wrong_files(project, weights), *_wrong_tags(tags)]:
        raise Verdict("; ".join(problems))


def _role(stage: str) -> str:
    return "the champion" if stage == registry.CHAMPION else f"in stage '{stage}'"


def _refusal(result: Promotion) -> str:
    stays = f"{result.champion.name} stays the champion" if result.champion else "no champion yet"
    verdict = {"reject": "the gate rejects it"}.get(result.verdict, "the gate cannot judge it")
    reasons = "; ".join(map(one_line, result.reasons[:3]))
    if (more := len(result.reasons) - 3) > 0:
        reasons += f"; and {more} more reasons ('digits gate {result.version.name}' lists them)"
    return (
        f"{result.version.name}: {verdict}: {reasons}. {stays}; improve the model, or promote it "
        "with --force --reason TEXT"
    )


def _described(tag: TagCheck) -> str:
    recorded = "records its commit" if tag.recorded else "records nothing (not made by digits)"
    return f"signature: {tag.signature}; {recorded}"


def _wrong_files(project: Project, found: list[FileCheck]) -> list[str]:
    return [
        f"{one.version}: {one.file}: SHA-256 is {one.found}, expected {one.expected}; "
        f"don't use it; {_remedy(project, one.version)}"
        for one in found
        if one.state == "mismatch"
    ]


def _remedy(project: Project, version: str) -> str:
    if version == registry.WORKSPACE:
        command = store.restore_command(project, files.read_json(project.model_card))
        return f"run '{command}'"
    return f"run 'digits models get {version}', which replaces a damaged copy"


def _wrong_tags(found: list[TagCheck]) -> list[str]:
    return [
        f"{tag.tag}: {tag.problem or 'its signature is bad'}; don't trust it; fetch the published "
        "one ('git fetch --tags --force'), or ask who changed it"
        for tag in found
        if not tag.ok
    ]


command.add_command(_model_history.show)
command.add_command(_model_history.history_)
