"""`digits lineage`: what made a model, or which models used data."""

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from digits.cli._terminal import json_option
from digits.core.project import Project
from digits.formatting import one_line
from digits.registry import diagram, lineage
from digits.registry.lineage import Data, Model
from digits.registry.record import Batch, Stage

_SHORT = 12  # hex digits of a digest to show


@click.command("lineage")
@click.argument("name", metavar="[MODEL|DATA|REV]", required=False)
@json_option
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print a Mermaid flowchart.")
def command(name: str | None, as_json: bool, as_mermaid: bool) -> None:
    """Show which data, code and parameters made a model, or which models used data.

    \b
    MODEL  a version, such as v0.1.0, or champion
    DATA   a batch of handwriting, mnist, or six or more digits of the MD5 in data.dvc
    REV    a commit, branch or tag; a batch of the same name comes first
    Without any, the model in the working tree.

    All of it comes from git: neither data nor weights need be here. A batch is listed with every
    commit of main and of this branch that changed dvc.lock, and with every version.

    \b
    Exit codes: 0  shown
                2  nothing has this name
    \b
    Examples:
      digits lineage champion
      digits lineage uci-digits --json
      digits lineage v0.1.0 --mermaid
    """
    if as_json and as_mermaid:
        raise click.UsageError("--json and --mermaid exclude each other; choose one")
    found = lineage.trace(Project.find(), name)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2, default=str))
    elif as_mermaid:
        click.echo(diagram.mermaid(found), nl=False)
    else:
        tree = _data_tree(found) if isinstance(found, Data) else _model_tree(found)
        Console(highlight=False).print(tree)


def _model_tree(model: Model) -> Tree:
    champion = ", the champion" if model.champion else ""
    where = f"commit {model.commit[:7]}"
    if model.name == "workspace":
        where = f"working tree on {where}"
    tree = Tree(_text(f"{model.name}{champion} ({where})", "bold"))
    for problem in model.problems:
        tree.add(_text(problem, "yellow"))
    tree.add(_text(f"parent: {model.parent or 'none, no version precedes it'}"))
    weights = tree.add(_text("weights (SHA-256)" if model.weights else "weights: not recorded"))
    for path, digest in model.weights.items():
        weights.add(_text(f"{path}  {digest[:_SHORT]}"))
    _add_data(tree, model)
    parameters = tree.add(_text(f"parameters ({len(model.parameters)})"))
    for name, value in model.parameters.items():
        parameters.add(_text(f"{name}: {json.dumps(value, default=str)}"))
    code = tree.add(_text(f"code ({len(model.code)} source deps, MD5)"))
    for path, digest in model.code.items():
        code.add(_text(f"{path}  {digest[:_SHORT]}"))
    stages = tree.add(_text("stages (MD5)" if model.stages else "stages: not recorded"))
    for stage in model.stages:
        _add_stage(stages, stage)
    return tree


def _add_data(tree: Tree, model: Model) -> None:
    data = model.data
    branch = tree.add(_text(f"data {data.md5[:_SHORT] or 'not recorded'}"))
    images = "" if data.train_images is None else f", {data.train_images:,} training images in all"
    branch.add(_text(f"mnist: trained and evaluated on{images}"))
    for batch in data.batches:
        branch.add(_text(f"{batch.name}: {_batch(batch)}"))


def _batch(batch: Batch) -> str:
    trained = {True: "trained on", False: "not trained on", None: "training not recorded"}
    parts = [trained[batch.trained_on]]
    if batch.accuracy is not None:
        in_sample = " (in-sample)" if batch.trained_on else ""
        parts.append(f"accuracy {batch.accuracy:.2%}{in_sample}")
    if batch.drift is not None:
        parts.append("drifted" if batch.drift else "no drift")
    if batch.n is not None:
        parts.append(f"{batch.n:,} images")
    return ", ".join(parts)


def _add_stage(stages: Tree, stage: Stage) -> None:
    branch = stages.add(_text(stage.name))
    for arrow, paths in (("←", stage.deps), ("→", stage.outs)):
        for path, digest in paths.items():
            if not path.startswith("src/"):
                branch.add(_text(f"{arrow} {path}  {digest[:_SHORT]}"))


def _data_tree(data: Data) -> Tree:
    used = sum(bool(use.how) for use in data.uses)
    all_of = f" of the {len(data.uses)}" if data.kind == "batch" else ""
    total = f"used in {used}{all_of} commits that changed the results" if used else "not used yet"
    tree = Tree(_text(f"{data.kind} {data.name}: {total}", "bold"))
    for use in data.uses:
        versions = ", ".join(use.versions)
        champion = " (champion)" if use.champion else ""
        how = ", ".join(use.how) or ("not used" if use.recorded else "not recorded")
        name = f"{versions}{champion}, " if versions else ""
        style = "" if use.how else "dim"
        branch = tree.add(_text(f"{name}{use.commit[:7]} of {use.date}: {how}", style))
        digests = (f"weights {use.weights[:_SHORT]}", f"data {use.md5[:_SHORT]}")
        branch.add(_text(f"{', '.join(digests)}; {use.subject}", "dim"))
    return tree


def _text(line: str, style: str = "") -> Text:
    """A line in which nothing from a file is taken for markup."""
    return Text(one_line(line), style=style)
