"""build/splits → models/ (weights, exports), reports/model.json (the card), reports/training."""

import hashlib
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from digits import artifacts, exports, models, training, weights
from digits.checkpoints import Checkpoint
from digits.params import Params, Recipe
from digits.paths import Project
from digits.stages._stage import main
from digits.training import Split, Trained

_SPLITS = ("train", "val")
_ARRAYS = ("images", "labels")


def train(project: Project, params: Params) -> None:
    """Train; write the network in three formats and a card that pins the SHA-256 of each."""
    training.keep_memory()
    data, val = _read(project, "train"), _read(project, "val")
    scale = artifacts.read_json(project.splits / "scale.json")
    members = _members(project, params, data, val, (scale["mean"], scale["std"]))
    network = models.joined([member.model for member in members])
    with artifacts.replacing_folder(project.models) as folder:
        network.save_weights(folder / weights.KERAS)
        exports.write(network, folder / weights.ONNX, folder / weights.LITERT)
    figures = {
        "train": _rounded(training.score(network, Split(data.images[:5000], data.labels[:5000]))),
        "val": _rounded(training.score(network, val)),
    }
    card = _card(params, members, network.count_params(), figures)
    card["scale"] = scale
    card["weights"] = {
        project.relative(path): artifacts.sha256(path) for path in sorted(project.models.iterdir())
    }
    artifacts.write_json(project.model_card, card)
    shutil.rmtree(project.checkpoints, ignore_errors=True)  # nothing is left to go on with


def _members(
    project: Project, params: Params, data: Split, val: Split, scale: tuple[float, float]
) -> list[Trained]:
    """Train each member, from where a run that was killed had come to."""
    recipe = params.recipe
    pretrained = _pretrained(project, recipe)
    folder = project.checkpoints / _fingerprint(project, params)
    members = []
    for member in range(1, recipe.members + 1):
        if recipe.members > 1:
            print(f"member {member} of {recipe.members}")
        members.append(
            training.train(
                data,
                val,
                scale,
                recipe,
                seed=training.member_seed(params.train.seed, member),
                checkpoint=Checkpoint(folder / f"{member}.npz"),
                pretrained=pretrained,
            )
        )
    _write_curves(project.training_curves, members)
    return members


def _pretrained(project: Project, recipe: Recipe) -> Path | None:
    """Verified weights to start from; says so where a network is made for some and has none."""
    if recipe.pretrained:
        pinned = {"weights": {recipe.pretrained.path: recipe.pretrained.sha256}}
        return weights.verified(project.root, pinned)[recipe.pretrained.path]
    if recipe.network == "mobilenet":
        print("no 'pretrained' weights in params.yaml: training MobileNetV2 from scratch")
    return None


def _fingerprint(project: Project, params: Params) -> str:
    """What a training depends on: it may be gone on with only while all of it stays the same."""
    digest = hashlib.sha256(params.recipe.model_dump_json().encode())
    digest.update(repr((params.train, _versions())).encode())
    sources = sorted(Path(training.__file__).parent.glob("*.py"))
    data = [project.splits / f"{split}-{a}.npy" for split in _SPLITS for a in _ARRAYS]
    for path in [*sources, *data]:
        digest.update(artifacts.sha256(path).encode())
    return digest.hexdigest()[:16]


def _read(project: Project, name: str) -> Split:
    return Split(*(artifacts.read_array(project.splits / f"{name}-{a}.npy") for a in _ARRAYS))


def _write_curves(folder: Path, members: list[Trained]) -> None:
    """Loss and accuracy after each epoch, mean over the members, in DVCLive's files."""
    from dvclive import Live

    epochs = min(len(member.history["loss"]) for member in members)
    with Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None) as live:
        for epoch in range(epochs):
            for split, prefix in (("train", ""), ("val", "val_")):
                for metric in ("loss", "accuracy"):
                    values = [member.history[prefix + metric][epoch] for member in members]
                    live.log_metric(f"{split}/{metric}", round(sum(values) / len(values), 6))
            live.next_step()


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
        "built_with": _versions(),
    }


def _best(member: Trained) -> dict[str, float]:
    return {
        metric: member.history[metric][member.best_epoch - 1]
        for metric in ("val_loss", "val_accuracy")
    }


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {metric: round(value, 6) for metric, value in figures.items()}


def _versions() -> dict[str, str]:
    import tensorflow

    named = {name: metadata.version(name) for name in ("keras", "numpy", "onnx", "tf2onnx")}
    return named | {"tensorflow": str(tensorflow.__version__)}


if __name__ == "__main__":
    main(train)
