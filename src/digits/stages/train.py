"""build/splits → models/ (weights), reports/model.json (the card), reports/training (curves)."""

from importlib import metadata
from pathlib import Path
from typing import Any

from digits import artifacts, training
from digits.params import Params
from digits.paths import Project
from digits.stages._stage import main
from digits.training import Split, Trained

WEIGHTS = "digits.weights.h5"  # byte-identical for equal weights, which .keras files are not


def train(project: Project, params: Params) -> None:
    """Train; write the weights and a card that says what they are and pins their SHA-256."""
    training.keep_memory()
    scale = artifacts.read_json(project.splits / "scale.json")
    trained = training.train(
        _read(project, "train"),
        _read(project, "val"),
        scale["mean"],
        scale["std"],
        params.train,
        callbacks=[_curves(project.training_curves)],
    )
    with artifacts.replacing_folder(project.models) as folder:
        trained.model.save_weights(folder / WEIGHTS)
    card = _card(trained, params, scale)
    card["weights"] = {
        project.relative(project.models / WEIGHTS): artifacts.sha256(project.models / WEIGHTS)
    }
    artifacts.write_json(project.model_card, card)


def _read(project: Project, name: str) -> Split:
    images = artifacts.read_array(project.splits / f"{name}-images.npy")
    return Split(images, artifacts.read_array(project.splits / f"{name}-labels.npy"))


def _curves(folder: Path) -> Any:
    """Loss and accuracy of train and val after each epoch, by DVCLive, readable while it trains."""
    import keras
    from dvclive import Live

    live = Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)

    def log(_: int, logs: dict[str, float]) -> None:
        for split, prefix in (("train", ""), ("val", "val_")):
            for metric in ("loss", "accuracy"):
                live.log_metric(f"{split}/{metric}", round(float(logs[prefix + metric]), 6))
        live.next_step()

    return keras.callbacks.LambdaCallback(on_epoch_end=log, on_train_end=lambda _: live.end())


def _card(trained: Trained, params: Params, scale: dict[str, float]) -> dict[str, Any]:
    train = {metric: round(value, 6) for metric, value in trained.clean.items()}
    val = {
        metric: round(trained.history[f"val_{metric}"][trained.best_epoch - 1], 6)
        for metric in ("loss", "accuracy")
    }
    return {
        "model": params.train.model,
        "parameters": trained.model.count_params(),
        "scale": scale,
        "epochs": len(trained.history["loss"]),
        "best_epoch": trained.best_epoch,
        "train": train,
        "val": val,
        "gap": round(train["accuracy"] - val["accuracy"], 6),
        "built_with": {name: metadata.version(name) for name in ("keras", "numpy")}
        | {"tensorflow": _tensorflow_version()},
    }


def _tensorflow_version() -> str:
    import tensorflow

    return str(tensorflow.__version__)


if __name__ == "__main__":
    main(train)
