"""The document of `benchmark.compare` as a table, a Markdown page and plots."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from digits.formatting import duration, markdown_table, markdown_text
from digits.plots import tradeoffs

TEXT_COLUMNS = ("model", "network")  # all others are numbers
_METRICS = {"test accuracy": "accuracy", "precision": "precision", "recall": "recall", "F1": "f1"}


def table(document: Mapping[str, Any]) -> pd.DataFrame:
    """One row per model, formatted, by falling mean validation accuracy.

    Metrics are mean ± sample standard deviation over seeds; precision, recall and F1 are of the
    test set.
    """
    return pd.DataFrame(map(_row, document["models"]))


def notes(document: Mapping[str, Any]) -> list[str]:
    """Which seeds were not trained, and why: one line per model and reason."""
    lines = []
    for model in document["models"]:
        seeds: dict[str, list[str]] = {}
        for missing in model["not_trained"]:
            seeds.setdefault(missing["why"], []).append(str(missing["seed"]))
        for why, numbers in seeds.items():
            plural = "s" * (len(numbers) > 1)
            lines.append(f"{model['name']}, seed{plural} {', '.join(numbers)}: not trained: {why}")
    return lines


def page(document: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    """The comparison in Markdown; it shows the plots as files in the folder zoo/ next to it."""
    machine, versions, images = document["machine"], document["versions"], document["images"]
    arithmetic = f" ({document['arithmetic']} arithmetic)" if "arithmetic" in document else ""
    rows = table(document)
    numeric = [i for i, column in enumerate(rows) if column not in TEXT_COLUMNS]
    cells = [[markdown_text(cell) for cell in row] for row in rows.to_numpy()]
    parts = [
        "# Model comparison",
        "Sorted by mean accuracy on the validation set, the only figure to choose a model by. "
        "Mean ± sample standard deviation over seeds. Precision, recall and F1 are macro averages "
        "on the test set. Speed is measured with ONNX Runtime in batches of 256; median of five "
        "runs.",
        f"Measured on {machine['cpu']}, {machine['cores']} cores, {machine['system']}; "
        f"Python {machine['python']}, TensorFlow {versions['tensorflow']}{arithmetic}, "
        f"ONNX Runtime {versions['onnxruntime']}; {images['train']:,} images for training, "
        f"{images['val']:,} for validation, {images['test']:,} for testing.",
        markdown_table(list(rows), cells, right=numeric),
        "\n".join(f"- {markdown_text(note)}" for note in notes(document)),
        *(f"![{name}](zoo/{name}.png)" for name in plots),
        "Written by `digits zoo`; [zoo.json](zoo.json) has the results of every seed.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def plots(document: Mapping[str, Any]) -> dict[str, bytes]:
    """The plots as PNG: `accuracy` (against training time) and `speed`; none without a model."""
    models = [model for model in document["models"] if "val" in model]
    if not models:
        return {}
    count = document["images"]["val"]

    def points(costs: list[float]) -> list[tradeoffs.Point]:
        return [
            tradeoffs.Point(model["name"], cost, model["val"]["accuracy"]["values"])
            for model, cost in zip(models, costs, strict=True)
        ]

    return {
        "accuracy": tradeoffs.training_time(points([m["seconds"]["mean"] for m in models]), count),
        "speed": tradeoffs.throughput(points([m["images_per_second"] for m in models]), count),
    }


def _row(model: Mapping[str, Any]) -> dict[str, str]:
    count, failed = len(model["seeds"]), len(model["not_trained"])
    members = f"{model['members']} × " if model["members"] > 1 else ""
    row = {
        "model": model["name"],
        "network": members + model["network"],
        "seeds": f"{count} of {count + failed}" if failed else str(count),
        "val accuracy": _percent(model["val"]["accuracy"]) if count else "not trained",
    }
    for column, metric in _METRICS.items():
        row[column] = _percent(model["test"][metric]) if count else "–"
    return row | {
        "parameters": f"{model['parameters']:,}",
        "training": duration(model["seconds"]["mean"]) if count else "–",
        "images/s": _three_digits(model["images_per_second"]) if count else "–",
        "ONNX": _size(model["onnx_bytes"]) if count else "–",
    }


def _three_digits(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.0f}"


def _percent(share: Mapping[str, Any]) -> str:
    spread = f" ± {100 * share['std']:.2f}" if share["std"] is not None else ""
    return f"{100 * share['mean']:.2f}{spread} %"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
