"""build/splits → models/ (weights, exports), reports/model.json (the card), reports/training."""

import shutil
from typing import Any

from digits.core import files
from digits.core.params import Params
from digits.core.project import Project
from digits.core.stage import main
from digits.data import dataset
from digits.data.dataset import Split
from digits.models import exports, networks, weights
from digits.training import curves, fingerprint, loop
from digits.training.checkpoints import Checkpoint
from digits.training.loop import Trained

_SPLITS = ("train", "val")


def train(project: Project, params: Params) -> None:
    """Train; write the network in three formats and a card that pins the SHA-256 of each."""
    loop.keep_memory()
    data, val = (Split.read(project.splits, name) for name in _SPLITS)
    scale = dataset.read_scale(project.splits)
    members = _members(project, params, data, val, scale)
    network = networks.joined([member.model for member in members], params.recipe.views)
    with files.replacing_folder(project.models) as folder:
        network.save_weights(folder / weights.KERAS)
        exports.write(network, folder / weights.ONNX, folder / weights.LITERT)
    figures = {
        "train": _rounded(loop.score(network, Split(data.images[:5000], data.labels[:5000]))),
        "val": _rounded(loop.score(network, val)),
    }
    card = _card(params, members, network.count_params(), figures)
    card["scale"] = dict(zip(("mean", "std"), scale, strict=True))
    card["weights"] = {
        project.relative(path): files.sha256(path) for path in sorted(project.models.iterdir())
    }
    files.write_json(project.model_card, card)
    shutil.rmtree(project.checkpoints, ignore_errors=True)  # nothing is left to go on with


def _members(
    project: Project, params: Params, data: Split, val: Split, scale: tuple[float, float]
) -> list[Trained]:
    """Train each member, from where a run that was killed had come to."""
    recipe = params.recipe
    pretrained = weights.pretrained(project.root, recipe)
    seed = params.train.seed
    depends_on = fingerprint.fingerprint(recipe, seed, dataset.digest(project.splits, _SPLITS))
    folder = project.checkpoints / depends_on
    members = []
    for member in range(1, recipe.members + 1):
        if recipe.members > 1:
            print(f"member {member} of {recipe.members}")
        members.append(
            loop.train(
                data,
                val,
                scale,
                recipe,
                seed=loop.member_seed(seed, member),
                checkpoint=Checkpoint(folder / f"{member}.npz"),
                pretrained=pretrained,
            )
        )
    curves.write(project.training_curves, [member.history for member in members])
    return members


def _card(
    params: Params, members: list[Trained], parameters: int, figures: dict[str, dict[str, float]]
) -> dict[str, Any]:
    return {
        "model": params.train.model,
        "seed": params.train.seed,
        "recipe": params.recipe.model_dump(mode="json"),
        "parameters": parameters,
        "epochs": max(len(member.history["loss"]) for member in members),
        "best_epoch": members[0].best_epoch,
        "members": [_rounded(_best(member)) for member in members],
        **figures,
        "gap": round(figures["train"]["accuracy"] - figures["val"]["accuracy"], 6),
        "built_with": fingerprint.versions(),
    }


def _best(member: Trained) -> dict[str, float]:
    return {
        metric: member.history[metric][member.best_epoch - 1]
        for metric in ("val_loss", "val_accuracy")
    }


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {metric: round(value, 6) for metric, value in figures.items()}


if __name__ == "__main__":
    main(train)
