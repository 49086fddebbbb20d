"""What reports/digits.ipynb shows: a project's data and results as tables, pictures and remarks.

Each function is one cell of the notebook, which has no logic of its own. A report that is missing
and isn't needed by the rest leaves a remark that says how to make it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digits.core import files, params
from digits.core.errors import DataError
from digits.core.project import Project
from digits.data import dataset
from digits.data.dataset import Split
from digits.formatting import interval, percent
from digits.models import networks
from digits.models.backend import keras
from digits.plots import dataset as dataset_plots
from digits.plots import results as result_plots
from digits.training.curves import read as read_curves
from digits.zoo import report

_MISTAKES = 24  # pictures
_CONFUSIONS = 8  # rows
_RECIPE = ("network", "widths", "members", "views", "optimizer", "epochs", "dropout")


@dataclass(frozen=True)
class Picture:
    """A PNG file's bytes, which a notebook shows."""

    png: bytes

    def __repr__(self) -> str:
        return "picture"

    def _repr_png_(self) -> bytes:
        return self.png


@dataclass(frozen=True)
class Remark:
    """A line of text that a notebook shows."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"*{self.text}*"


def samples(project: Project) -> pd.DataFrame:
    """How many images of each digit a split has, and of all."""
    table = pd.DataFrame(_counts(project))
    table.index.name = "digit"
    total = table.sum().to_frame("all").T
    return pd.concat([table, total]).rename_axis("digit")


def balance(project: Project) -> Picture:
    """Each digit's share of each split."""
    return Picture(
        dataset_plots.balance({name: n.tolist() for name, n in _counts(project).items()})
    )


def mean_images(project: Project) -> Picture:
    """The mean training image of each digit, and where its images differ."""
    data = Split.read(project.splits, "train")
    return Picture(dataset_plots.mean_digits(data.images, data.labels))


def architectures(project: Project) -> pd.DataFrame:
    """The models of params.yaml: network, parameters, and how they learn."""
    scale = dataset.read_scale(project.splits)
    recipes = params.load(project.params).models
    rows = {
        name: {key: _plain(getattr(recipe, key)) for key in _RECIPE}
        | {"parameters": f"{networks.parameters(recipe, *scale):,}"}
        for name, recipe in recipes.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def layers(project: Project) -> pd.DataFrame:
    """The layers of the default model's network, one member's if it is an ensemble."""
    keras.backend.clear_session()  # layers are numbered from the start
    network = networks.build(
        params.load(project.params).recipe, *dataset.read_scale(project.splits)
    )
    rows = {
        layer.name: {
            "kind": type(layer).__name__,
            "output": " × ".join(map(str, layer.output.shape[1:])),
            "parameters": f"{layer.count_params():,}",
        }
        for layer in network.layers
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")


def curves(project: Project) -> Picture:
    """Loss and accuracy of the default model after each epoch of its training."""
    history = read_curves(project.training_curves)
    return Picture(result_plots.curves(history, files.read_json(project.model_card)["best_epoch"]))


def results(project: Project) -> pd.DataFrame:
    """What the default model scores on the test set, with intervals."""
    test = files.read_json(project.metrics)["test"]
    rows = {
        name: {
            "test set": percent(test[name]),
            "interval": interval(test, name) or "–",
        }
        for name in ("accuracy", "precision", "recall", "f1")
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def confusions(project: Project) -> pd.DataFrame:
    """The digits that are taken for others most often."""
    wrong = pd.read_csv(project.mistakes)
    counts = wrong.groupby(["label", "prediction"]).size().rename("times").reset_index()
    counts = counts.sort_values(["times", "label", "prediction"], ascending=[False, True, True])
    counts.columns = pd.Index(["written", "read as", "times"])
    return counts.head(_CONFUSIONS).reset_index(drop=True)


def mistakes(project: Project) -> Picture:
    """The images that are misread, the most confident mistakes first."""
    wrong = pd.read_csv(project.mistakes)
    images = Split.read(project.splits, "test").images
    if len(wrong) and wrong["index"].max() >= len(images):
        raise DataError(
            f"{project.relative(project.mistakes)}: names image {wrong['index'].max()}, the test "
            f"set has {len(images)}; run 'dvc repro' first"
        )
    return Picture(
        result_plots.mistakes(
            images[wrong["index"].to_numpy(int)], wrong.to_dict("records"), _MISTAKES
        )
    )


def robustness(project: Project) -> Picture | Remark:
    """What share of the test set is misread under each of MNIST-C's corruptions."""
    metrics = files.read_json(project.metrics)
    errors = {
        name.removesuffix("_error"): error
        for name, error in metrics.get("corrupted", {}).items()
        if name != "mean_error"
    }
    if not errors:
        return Remark("No figures on corrupted images: run 'dvc repro' first.")
    return Picture(result_plots.robustness(errors, 1 - metrics["test"]["accuracy"]))


def comparison(project: Project) -> pd.DataFrame | Remark:
    """All models side by side, the best mean validation accuracy first."""
    if not project.zoo_report.is_file():
        return Remark("The models haven't been compared: run 'digits zoo' first.")
    return report.table(files.read_json(project.zoo_report)).set_index("model")


def accuracy_and_time(project: Project) -> Picture | Remark:
    """Validation accuracy of all models against their training time."""
    return _drawn(project.zoo_plots / "accuracy.png")


def accuracy_and_speed(project: Project) -> Picture | Remark:
    """Validation accuracy of all models against the images that they read in a second."""
    return _drawn(project.zoo_plots / "speed.png")


def _drawn(path: Path) -> Picture | Remark:
    if not path.is_file():
        return Remark("Not drawn yet: run 'digits zoo' first.")
    return Picture(path.read_bytes())


def _counts(project: Project) -> dict[str, np.ndarray]:
    return {
        split: np.bincount(Split.read(project.splits, split).labels, minlength=networks.CLASSES)
        for split in dataset.NAMES
    }


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
