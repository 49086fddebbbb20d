"""Accuracy on handwriting from other sources, USPS and Chars74K, in MNIST's form.

The files are not part of this project; DIGITS_HANDWRITING is the folder that contains them.
"""

import os
from pathlib import Path
from statistics import mean

import numpy as np

from benchmarks.bench import Bench, Result

SETS = {
    "usps_zip_train": ("0.995 before tuning", "≥ 0.996"),
    "chars74k_hnd_digits": ("0.993 before tuning", "≥ 0.995"),
}
NOTE = "not used for training, but considered when the recipe of `accurate` was chosen"


def measure(bench: Bench) -> dict[str, Result]:
    folder = os.environ.get("DIGITS_HANDWRITING")
    if not folder:
        print("handwriting: skipped, as DIGITS_HANDWRITING is not set")
        return {}
    recognisers = [model.recogniser() for model in bench.trained("accurate", bench.member_seeds())]
    results = {}
    for name, (reference, target) in SETS.items():
        with np.load(Path(folder) / f"{name}.npz", allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
        runs = [float((r.predict(images).argmax(axis=1) == labels).mean()) for r in recognisers]
        results[name] = Result(mean(runs), "share", reference, target, runs, NOTE)
    return results
