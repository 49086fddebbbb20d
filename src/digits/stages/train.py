"""build/splits → models/ (weights, exports), reports/model.json (the card), reports/training."""

import shutil

from digits.core import files
from digits.core.params import Params
from digits.core.project import Project
from digits.core.stage import main
from digits.data.dataset import Split, digest, read_scale
from digits.models import settings, weights

_SPLITS = ("train", "val")


def train(project: Project, params: Params) -> None:
    """Train the model; write it in three formats, with a card that pins the SHA-256 of each."""
    settings.choose(params.train.arithmetic)
    from digits.models import exports
    from digits.training import curves, ensemble, fingerprint

    recipe, seed = params.recipe, params.train.seed
    data, val = (Split.read(project.splits, name) for name in _SPLITS)
    inputs = fingerprint.fingerprint(recipe, seed, digest(project.splits, _SPLITS))
    trained = ensemble.train(
        data,
        val,
        read_scale(project.splits),
        recipe,
        seed,
        checkpoints=project.checkpoints / inputs,
        pretrained=weights.pretrained(project.root, recipe),
    )
    curves.write(project.training_curves, [member.history for member in trained.members])
    with files.replacing_folder(project.models) as folder:
        trained.network.save_weights(folder / weights.KERAS)
        exports.write(trained.network, folder / weights.ONNX, folder / weights.LITERT)
    card = trained.card() | {"model": params.train.model, "seed": seed}
    card["weights"] = {
        project.relative(path): files.sha256(path) for path in sorted(project.models.iterdir())
    }
    files.write_json(project.model_card, card)
    shutil.rmtree(project.checkpoints, ignore_errors=True)  # only an interrupted run needs them


if __name__ == "__main__":
    main(train)
