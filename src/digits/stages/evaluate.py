"""models/, build/splits → reports/metrics.json, mistakes.csv, plots/ and build/evaluated.

No network sees a test image before this stage. Models are chosen by the val section of the report,
never by the test section.
"""

from typing import Any

import numpy as np
import pandas as pd

from digits.core import files
from digits.core.params import Evaluate, Params
from digits.core.project import Project
from digits.core.stage import main
from digits.data.dataset import Split
from digits.evaluation import metrics, robustness
from digits.models import exports, weights
from digits.models.reference import Reference
from digits.plots import results
from digits.recogniser import Recogniser
from digits.training import curves

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
    report = {
        "test": score | {"without_doubted_labels": backed},
        "val": {name: val_score[name] for name in _VAL_FIGURES},
        "corrupted": corrupted,
        "exports": _compare_exports(project, card, test.images, probabilities),
    }
    files.write_json(project.metrics, report)
    files.write_table(project.mistakes, wrong)
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
