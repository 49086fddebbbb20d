"""models/ + build/splits → reports/metrics.json, mistakes.csv, plots/. The test set is read here.

Nothing may be chosen by what comes out; what is chosen by is the val section.
"""

from typing import Any

import numpy as np
import pandas as pd

from digits import artifacts, evaluation, plots
from digits.params import Evaluate, Params
from digits.paths import Project
from digits.recogniser import Recogniser
from digits.stages._stage import main


def evaluate(project: Project, params: Params) -> None:
    """Score the model on val and test, and draw what a reviewer wants to see."""
    recogniser = Recogniser.load(project.root)
    card = artifacts.read_json(project.model_card)
    scores = {}
    for split in ("val", "test"):
        images = artifacts.read_array(project.splits / f"{split}-images.npy")
        labels = artifacts.read_array(project.splits / f"{split}-labels.npy")
        probabilities = recogniser.predict(images)
        scores[split] = evaluation.score(labels, probabilities, params.evaluate)
    wrong = evaluation.mistakes(labels, probabilities)
    metrics = {"test": scores["test"], "val": _summary(scores["val"])}
    artifacts.write_json(project.metrics, metrics)
    artifacts.write_table(project.mistakes, wrong)
    artifacts.write_table(
        project.evaluated / "predictions.csv", _predictions(labels, probabilities)
    )
    _draw(project, params.evaluate, scores["test"], card, (images, labels, probabilities, wrong))
    print(
        f"test: {scores['test']['errors']} of {scores['test']['n']:,} misread, "
        f"accuracy {scores['test']['accuracy']:.4f}"
    )


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
        "confusion": plots.confusion(score["confusion"]),
        "per_digit": plots.per_digit(score["per_digit"]),
        "mistakes": plots.mistakes(
            images[wrong["index"].to_numpy()], wrong.to_dict("records"), params.gallery
        ),
        "calibration": plots.calibration(
            probabilities.max(axis=1), correct, params.calibration_bins
        ),
        "curves": plots.curves(_history(project), card["best_epoch"]),
    }
    with artifacts.replacing_folder(project.plots) as folder:
        for name, png in pictures.items():
            (folder / f"{name}.png").write_bytes(png)


def _history(project: Project) -> dict[str, dict[str, list[float]]]:
    folder = project.training_curves / "plots" / "metrics"
    return {
        split: {
            metric: pd.read_csv(folder / split / f"{metric}.tsv", sep="\t")[metric].tolist()
            for metric in ("loss", "accuracy")
        }
        for split in ("train", "val")
    }


if __name__ == "__main__":
    main(evaluate)
