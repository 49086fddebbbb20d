"""The cells of reports/digits.ipynb: data and results as tables, images and remarks.

Each cell of the notebook calls one of these functions. For a missing optional report it shows the
command that creates it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Image, Markdown

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

_MISTAKES = 24  # images shown
_CONFUSIONS = 8  # rows shown
_RECIPE = ("network", "widths", "members", "views", "optimizer", "epochs", "dropout")


def samples(project: Project) -> pd.DataFrame:
    """Number of images per digit and split, with totals."""
    table = pd.DataFrame(_counts(project))
    table.index.name = "digit"
    total = table.sum().to_frame("all").T
    return pd.concat([table, total]).rename_axis("digit")


def balance(project: Project) -> Image:
    """Each digit's share of each split."""
    counts = {split: n.tolist() for split, n in _counts(project).items()}
    return Image(dataset_plots.balance(counts))


def mean_images(project: Project) -> Image:
    """Mean and standard deviation of the training images of each digit."""
    data = Split.read(project.splits, "train")
    return Image(dataset_plots.mean_digits(data.images, data.labels))


def architectures(project: Project) -> pd.DataFrame:
    """The models of params.yaml: network, number of parameters and training settings."""
    scale = dataset.read_scale(project.splits)
    recipes = params.load(project.params).models
    rows = {
        name: {key: _text(getattr(recipe, key)) for key in _RECIPE}
        | {"parameters": f"{networks.parameters(recipe, *scale):,}"}
        for name, recipe in recipes.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def layers(project: Project) -> pd.DataFrame:
    """The layers of the selected model; of one member if it is an ensemble."""
    keras.backend.clear_session()  # restart the numbering of layers
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


def curves(project: Project) -> Image:
    """Loss and accuracy of the selected model per epoch."""
    history = read_curves(project.training_curves)
    return Image(result_plots.curves(history, files.read_json(project.model_card)["best_epoch"]))


def results(project: Project) -> pd.DataFrame:
    """Test-set metrics of the selected model with confidence intervals."""
    test = files.read_json(project.metrics)["test"]
    rows = {
        name: {"test set": percent(test[name]), "interval": interval(test, name) or "–"}
        for name in ("accuracy", "precision", "recall", "f1")
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def confusions(project: Project) -> pd.DataFrame:
    """The most frequent confusions."""
    wrong = pd.read_csv(project.mistakes)
    counts = wrong.groupby(["label", "prediction"]).size().reset_index()
    counts.columns = pd.Index(["true digit", "predicted digit", "images"])
    return counts.nlargest(_CONFUSIONS, "images").reset_index(drop=True)


def mistakes(project: Project) -> Image:
    """The misread images, most confident first."""
    wrong = pd.read_csv(project.mistakes)
    images = Split.read(project.splits, "test").images
    if len(wrong) and wrong["index"].max() >= len(images):
        raise DataError(
            f"{project.relative(project.mistakes)}: lists image {wrong['index'].max()}, but the "
            f"test set has {len(images)}; run 'dvc repro' first"
        )
    return Image(
        result_plots.mistakes(
            images[wrong["index"].to_numpy(int)], wrong.to_dict("records"), _MISTAKES
        )
    )


def robustness(project: Project) -> Image | Markdown:
    """Error rate on the test set under each of MNIST-C's corruptions."""
    metrics = files.read_json(project.metrics)
    errors = {
        name.removesuffix("_error"): error
        for name, error in metrics.get("corrupted", {}).items()
        if name != "mean_error"
    }
    if not errors:
        return Markdown("No results on corrupted images: run 'dvc repro' first.")
    return Image(result_plots.robustness(errors, 1 - metrics["test"]["accuracy"]))


def comparison(project: Project) -> pd.DataFrame | Markdown:
    """All models, sorted by mean validation accuracy."""
    if not project.zoo_report.is_file():
        return Markdown("No model comparison: run 'digits zoo' first.")
    return report.table(files.read_json(project.zoo_report)).set_index("model")


def accuracy_and_time(project: Project) -> Image | Markdown:
    """Validation accuracy of all models against training time."""
    return _existing_plot(project.zoo_plots / "accuracy.png")


def accuracy_and_speed(project: Project) -> Image | Markdown:
    """Validation accuracy of all models against throughput."""
    return _existing_plot(project.zoo_plots / "speed.png")


def _existing_plot(path: Path) -> Image | Markdown:
    if not path.is_file():
        return Markdown("No plot: run 'digits zoo' first.")
    return Image(path.read_bytes())


def _counts(project: Project) -> dict[str, np.ndarray]:
    return {
        split: np.bincount(Split.read(project.splits, split).labels, minlength=networks.CLASSES)
        for split in dataset.NAMES
    }


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
