"""Other people's handwriting, not learned from: USPS and Chars74K in MNIST's framing.

The files aren't part of this project: DIGITS_HANDWRITING names the folder that holds them.
"""

import os
from pathlib import Path
from statistics import mean

import numpy as np

from benchmarks.bench import Bench, Result

SETS = {
    "usps_zip_train": ("0.995, an untuned start", "≥ 0.996"),
    "chars74k_hnd_digits": ("0.993, an untuned start", "≥ 0.995"),
}
NOTE = "not learned from, but looked at when `accurate`'s recipe was chosen"


def measure(bench: Bench) -> dict[str, Result]:
    folder = os.environ.get("DIGITS_HANDWRITING")
    if not folder:
        print("handwriting: skipped; DIGITS_HANDWRITING names no folder")
        return {}
    recognisers = [kept.recogniser() for kept in bench.trained("accurate", bench.starts())]
    results = {}
    for name, (reference, target) in SETS.items():
        with np.load(Path(folder) / f"{name}.npz", allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
        runs = [float((r.predict(images).argmax(axis=1) == labels).mean()) for r in recognisers]
        results[name] = Result(mean(runs), "share", reference, target, runs, NOTE)
    return results
