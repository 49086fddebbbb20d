"""models/ + build/splits → reports/metrics.json, mistakes.csv, plots/.

No other stage reads the test set. Models are chosen on the val section of the report, never on the
test section.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd

from digits.core import files
from digits.core.params import Evaluate, Params, Recipe
from digits.core.project import Project
from digits.core.stage import main
from digits.data.dataset import Split
from digits.evaluation import corruptions, metrics
from digits.models import exports, weights
from digits.plots import results as result_plots
from digits.recogniser import Recogniser
from digits.training import curves

_AT_A_TIME = 2  # corruptions; more would hold more pictures in memory than a small machine has


def evaluate(project: Project, params: Params) -> None:
    """Score the model on val and test, and draw what a reviewer wants to see."""
    recogniser = Recogniser.load(project.root)
    card = files.read_json(project.model_card)
    scores = {}
    for split in ("val", "test"):
        data = Split.read(project.splits, split)
        images, labels = data.images, data.labels
        probabilities = recogniser.predict(images)
        scores[split] = metrics.score(labels, probabilities, params.evaluate)
    wrong = metrics.mistakes(labels, probabilities)
    doubted = metrics.without(
        params.evaluate.doubted_labels, labels, probabilities, params.evaluate
    )
    report = {
        "test": scores["test"] | {"without_doubted_labels": doubted},
        "val": _summary(scores["val"]),
        "corrupted": _corrupted(recogniser, images, labels, params.evaluate.corruption_seed),
        "exports": _exports(project, card, images, probabilities),
    }
    files.write_json(project.metrics, report)
    files.write_table(project.mistakes, wrong)
    files.write_table(project.evaluated / "predictions.csv", _predictions(labels, probabilities))
    _draw(project, params.evaluate, scores["test"], card, (images, labels, probabilities, wrong))
    print(
        f"test: {scores['test']['errors']} of {scores['test']['n']:,} misread, "
        f"accuracy {scores['test']['accuracy']:.4f}; {doubted['accuracy']:.4f} without "
        f"{len(params.evaluate.doubted_labels)} images whose label people doubt"
    )
    print(f"MNIST-C: mean error {report['corrupted']['mean_error']:.4f}")


def _corrupted(
    recogniser: Recogniser, images: np.ndarray, labels: np.ndarray, seed: int
) -> dict[str, float]:
    """The share that is misread of the test set under each of MNIST-C's corruptions."""

    def error(name: str) -> float:
        damaged = corruptions.corrupt(images, name, seed)
        return float((recogniser.predict(damaged).argmax(axis=1) != labels).mean())

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        found = pool.map(error, corruptions.NAMES)
        errors = {f"{name}_error": e for name, e in zip(corruptions.NAMES, found, strict=True)}
    errors["mean_error"] = float(np.mean(list(errors.values())))
    return {name: round(error, 6) for name, error in errors.items()}


def _exports(
    project: Project, card: dict[str, Any], images: np.ndarray, probabilities: np.ndarray
) -> dict[str, Any]:
    """How the other two formats of the network agree with ONNX on the test set."""
    verified = {path.name: path for path in weights.verified(project.root, card).values()}
    recipe = Recipe.model_validate(card["recipe"])
    scale = (card["scale"]["mean"], card["scale"]["std"])
    others: dict[str, exports.Keras | exports.LiteRT] = {
        "keras": exports.Keras(verified[weights.KERAS], recipe, scale),
        "litert": exports.LiteRT(verified[weights.LITERT]),
    }
    return {
        name: exports.compare(name, probabilities, other.predict(images))
        for name, other in others.items()
    }


def _summary(score: dict[str, Any]) -> dict[str, Any]:
    return {
        key: score[key] for key in ("n", "errors", "accuracy", "f1", "loss", "calibration_error")
    }


def _predictions(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "actual": labels,
            "predicted": probabilities.argmax(axis=1),
            "confidence": probabilities.max(axis=1).astype(np.float64).round(4),
        }
    )


def _draw(
    project: Project,
    params: Evaluate,
    score: dict[str, Any],
    card: dict[str, Any],
    test: tuple[np.ndarray, np.ndarray, np.ndarray, pd.DataFrame],
) -> None:
    images, labels, probabilities, wrong = test
    wrong = wrong.sort_values("confidence", ascending=False, kind="stable")
    correct = probabilities.argmax(axis=1) == labels
    pictures = {
        "confusion": result_plots.confusion(score["confusion"]),
        "per_digit": result_plots.per_digit(score["per_digit"]),
        "mistakes": result_plots.mistakes(
            images[wrong["index"].to_numpy()], wrong.to_dict("records"), params.gallery
        ),
        "calibration": result_plots.calibration(
            metrics.reliability(
                probabilities.max(axis=1),
                correct,
                params.calibration_bins,
                params.confidence_level,
            ),
            score["calibration_error"],
            params.confidence_level,
        ),
        "curves": result_plots.curves(curves.read(project.training_curves), card["best_epoch"]),
    }
    with files.replacing_folder(project.plots) as folder:
        for name, png in pictures.items():
            (folder / f"{name}.png").write_bytes(png)


if __name__ == "__main__":
    main(evaluate)
