"""models/, build/splits, build/ingested → reports/metrics.json, mistakes*, plots/, build/evaluated.

No network sees a test image before this stage. Models are chosen by the val section of the report,
never by the test section.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digits.core import files
from digits.core.params import Evaluate, Params
from digits.core.project import Project
from digits.core.stage import main
from digits.data import dataset
from digits.data.dataset import Split
from digits.evaluation import metrics, robustness
from digits.models import exports, weights
from digits.models.reference import Reference
from digits.plots import results, sheets
from digits.recogniser import Recogniser
from digits.training import curves

_BATCH_FIGURES = ("n", "errors", "accuracy", "accuracy_interval", "per_digit", "confusion")
_VAL_FIGURES = ("n", "errors", "accuracy", "f1", "loss", "calibration_error")


def evaluate(project: Project, params: Params) -> None:
    """Score the model on val and test, and plot the results."""
    options = params.evaluate
    card = files.read_json(project.model_card)
    predict = Reference.from_card(project.root, card).predict
    val, test = (Split.read(project.splits, name) for name in ("val", "test"))
    val_score = metrics.score(val.labels, predict(val.images), options)
    probabilities = predict(test.images)
    score = metrics.score(test.labels, probabilities, options)
    wrong = metrics.mistakes(test.labels, probabilities)
    backed = metrics.without(options.doubted_labels, test.labels, probabilities, options)
    corrupted = robustness.corrupted_errors(
        predict, test.images, test.labels, options.corruption_seed
    )
    test_digest = metrics.digest(test.images, test.labels)
    batches = _batches(project, predict, options)
    report = {
        "test": score | {"without_doubted_labels": backed, "digest": test_digest},
        "val": {name: val_score[name] for name in _VAL_FIGURES},
        "batches": batches,
        "leaks": _leaks(project),
        "corrupted": corrupted,
        "exports": _compare_exports(project, card, test.images, probabilities),
    }
    files.write_json(project.metrics, report)
    files.write_table(project.mistakes, wrong)
    _write_sheet(project.mistakes_sheet, test.images[wrong["index"].to_numpy()])
    table = metrics.predictions(test.labels, probabilities)
    files.write_table(project.evaluated / "predictions.csv", table)
    plots = _plots(test, probabilities, wrong, score, options)
    plots["curves"] = results.curves(curves.read(project.training_curves), card["best_epoch"])
    with files.replacing_folder(project.plots) as folder:
        for name, png in plots.items():
            (folder / f"{name}.png").write_bytes(png)
    print(
        f"test: {score['errors']} of {score['n']:,} misread, accuracy {score['accuracy']:.4f}; "
        f"{backed['accuracy']:.4f} without {len(options.doubted_labels)} images of doubtful label"
    )
    print(f"MNIST-C: mean error {corrupted['mean_error']:.4f}")
    for name, figures in batches.items():
        print(f"{name}: accuracy {figures['accuracy']:.4f} on {figures['n']:,} images")


def _batches(
    project: Project, predict: Callable[[np.ndarray], np.ndarray], options: Evaluate
) -> dict[str, Any]:
    """Score every labelled batch of handwriting; write the misread images of all of them.

    `in_sample` is the number of a batch's images that the model was trained or chosen on.
    """
    index = files.read_table(project.ingested / "index.parquet")
    images = files.read_array(project.ingested / "images.npy")
    known = np.concatenate([dataset.read_ids(project.splits, name) for name in ("train", "val")])
    figures, tables, pictures = {}, [], []
    for name, rows in index[index["split"].eq("handwriting")].groupby("batch"):
        if rows["label"].isna().any():
            continue
        batch, labels = images[rows["id"].to_numpy()], rows["label"].to_numpy(dtype=int)
        probabilities = predict(batch)
        score = metrics.score(labels, probabilities, options)
        figures[name] = {key: score[key] for key in _BATCH_FIGURES} | {
            "digest": metrics.digest(batch, labels),
            "in_sample": int(rows["id"].isin(known).sum()),
        }
        wrong = metrics.mistakes(labels, probabilities)
        pictures.append(batch[wrong["index"].to_numpy()])
        wrong.insert(0, "batch", name)
        tables.append(wrong)
    columns = ["batch", "index", "label", "prediction", "confidence"]
    table = pd.concat(tables) if tables else pd.DataFrame(columns=columns)
    files.write_table(project.batch_mistakes, table)
    _write_sheet(project.batch_mistakes_sheet, np.concatenate([images[:0], *pictures]))
    return figures


def _leaks(project: Project) -> dict[str, int]:
    """How many images of one split are in another that must not have them."""
    splits = {name: Split.read(project.splits, name).images for name in dataset.NAMES}
    ids = {name: dataset.read_ids(project.splits, name) for name in dataset.NAMES}
    return {
        f"{one}_in_{other}": metrics.overlap(splits[one], ids[one], splits[other], ids[other])
        for one, other in (("test", "train"), ("test", "val"), ("val", "train"))
    }


def _write_sheet(path: Path, images: np.ndarray) -> None:
    with files.replacing(path) as temporary:
        temporary.write_bytes(sheets.sheet(images))


def _compare_exports(
    project: Project, card: dict[str, Any], images: np.ndarray, expected: np.ndarray
) -> dict[str, Any]:
    """Compare the exported formats with the network itself on the test set."""
    verified = {path.name: path for path in weights.verified(project.root, card).values()}
    onnx = Recogniser.from_card(project.root, card)
    litert = exports.LiteRT(verified[weights.LITERT])
    return {
        "onnx": exports.compare("onnx", expected, onnx.predict(images)),
        "litert": exports.compare("litert", expected, litert.predict(images)),
    }


def _plots(
    test: Split,
    probabilities: np.ndarray,
    wrong: pd.DataFrame,
    score: dict[str, Any],
    params: Evaluate,
) -> dict[str, bytes]:
    """PNG files by name; mistakes are shown the most confident first."""
    wrong = wrong.sort_values("confidence", ascending=False, kind="stable")
    bins = metrics.reliability(
        probabilities.max(axis=1),
        probabilities.argmax(axis=1) == test.labels,
        params.calibration_bins,
        params.confidence_level,
    )
    return {
        "confusion": results.confusion(score["confusion"]),
        "per_digit": results.per_digit(score["per_digit"]),
        "mistakes": results.mistakes(
            test.images[wrong["index"].to_numpy()], wrong.to_dict("records"), params.gallery
        ),
        "calibration": results.calibration(
            bins, score["calibration_error"], params.confidence_level
        ),
    }


if __name__ == "__main__":
    main(evaluate)
