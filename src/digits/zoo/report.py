"""How a comparison of models looks: as a table, as a page of Markdown, and as two plots.

What it holds is zoo's affair; this module takes the document that `zoo.compare` gives.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from digits.formatting import duration, markdown_table, markdown_text
from digits.plots import tradeoffs

_FIGURES = {
    "test accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
}
WORDS = ("model", "network")  # columns of them; all others are of numbers


def table(document: Mapping[str, Any]) -> pd.DataFrame:
    """One row a model, as people read it, the best validation accuracy first.

    Means ± sample standard deviation over seeds; precision, recall and F1 are of the test set.
    """
    return pd.DataFrame([_row(model) for model in document["models"]])


def notes(document: Mapping[str, Any]) -> list[str]:
    """What wasn't trained, and why: one line for each model and reason."""
    lines = []
    for model in document["models"]:
        seeds: dict[str, list[str]] = {}
        for one in model["not_trained"]:
            seeds.setdefault(one["why"], []).append(str(one["seed"]))
        lines += [
            f"{model['name']}, seed{'s' * (len(which) > 1)} {', '.join(which)}: not trained: {why}"
            for why, which in seeds.items()
        ]
    return lines


def basis(document: Mapping[str, Any]) -> str:
    """What the figures were measured on, in a line."""
    machine, versions, images = document["machine"], document["versions"], document["images"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; "
        f"Python {machine['python']}, TensorFlow {versions['tensorflow']}, "
        f"ONNX Runtime {versions['onnxruntime']}; {images['train']:,} images to learn from, "
        f"{images['val']:,} for validation, {images['test']:,} to test with"
    )


def page(document: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    """The comparison in Markdown; its pictures lie in the folder zoo/ beside it."""
    rows = table(document)
    numeric = [place for place, column in enumerate(rows) if column not in WORDS]
    cells = [[markdown_text(cell) for cell in row] for row in rows.to_numpy()]
    pictures = [f"![{name}](zoo/{name}.png)" for name in plots]
    remarks = [f"- {markdown_text(note)}" for note in notes(document)]
    return "\n".join(
        [
            "# All models side by side",
            "",
            "Sorted by mean accuracy on validation data, by which a model may be chosen; nothing "
            "is chosen by the test set. Mean ± sample standard deviation over seeds; precision, "
            "recall and F1 are the mean of the ten digits, on the test set. An image is read in "
            "ONNX Runtime, in batches of 256; the median of five runs.",
            "",
            f"Measured on {basis(document)}.",
            "",
            markdown_table(list(rows), cells, right=numeric),
            *(["", *remarks] if remarks else []),
            *(line for picture in pictures for line in ("", picture)),
            "",
            "Made by `digits zoo`; every single value is in [zoo.json](zoo.json).",
            "",
        ]
    )


def plots(document: Mapping[str, Any]) -> dict[str, bytes]:
    """PNG bytes of `accuracy` (against training time) and `speed`; none if nothing is trained."""
    models = [model for model in document["models"] if "val" in model]
    if not models:
        return {}
    images = document["images"]["val"]

    def points(xs: list[float]) -> list[tradeoffs.Point]:
        return [
            tradeoffs.Point(model["name"], x, model["val"]["accuracy"]["values"])
            for model, x in zip(models, xs, strict=True)
        ]

    return {
        "accuracy": tradeoffs.training_time(points([m["seconds"]["mean"] for m in models]), images),
        "speed": tradeoffs.throughput(points([m["images_per_second"] for m in models]), images),
    }


def _row(model: Mapping[str, Any]) -> dict[str, str]:
    seeds, wanted = len(model["seeds"]), len(model["seeds"]) + len(model["not_trained"])
    network = model["network"]
    row = {
        "model": model["name"],
        "network": f"{model['members']} × {network}" if model["members"] > 1 else network,
        "seeds": str(seeds) if seeds == wanted else f"{seeds} of {wanted}",
    }
    trained = "val" in model
    row["val accuracy"] = _share(model["val"]["accuracy"]) if trained else _reason(model)
    for column, figure in _FIGURES.items():
        row[column] = _share(model["test"][figure]) if trained else "–"
    return row | {
        "parameters": f"{model['parameters']:,}",
        "training": duration(model["seconds"]["mean"]) if trained else "–",
        "images/s": _rounded(model["images_per_second"]) if trained else "–",
        "ONNX": _size(model["onnx_bytes"]) if trained else "–",
    }


def _reason(model: Mapping[str, Any]) -> str:
    return f"not trained: {'budget' if _only_budget(model) else 'see below'}"


def _only_budget(model: Mapping[str, Any]) -> bool:
    return all(one["why"] == "budget" for one in model["not_trained"])


def _share(figure: Mapping[str, Any]) -> str:
    spread = f" ± {100 * figure['std']:.2f}" if figure["std"] is not None else ""
    return f"{100 * figure['mean']:.2f}{spread} %"


def _rounded(value: float) -> str:
    """Three digits of a measured value, which has no more."""
    return f"{float(f'{value:.3g}'):,.0f}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
