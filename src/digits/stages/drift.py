"""models/ + build → build/reference (the window), reports/drift.json (a verdict a batch)."""

import numpy as np
import pandas as pd

from digits.core import files
from digits.core.params import Params
from digits.core.project import Project
from digits.core.stage import main
from digits.data.dataset import Split
from digits.drift import detector as detection
from digits.recogniser import Recogniser


def drift(project: Project, params: Params) -> None:
    """Make the reference window from validation images, then check every batch against it."""
    recogniser = Recogniser.load(project.root)
    val = Split.read(project.splits, "val")
    reference = detection.window(
        recogniser, val.images, val.labels, params.drift, params.ingest.ink_level
    )
    files.write_table(project.reference / detection.REFERENCE, reference)
    detector = detection.DriftDetector(recogniser, reference, params.drift, params.ingest.ink_level)
    index = files.read_table(project.ingested / "index.parquet")
    images = files.read_array(project.ingested / "images.npy")
    batches = {}
    for name, rows in index[index["split"].eq("handwriting")].groupby("batch"):
        page = project.html / "drift" / f"{name}.html"
        result = detector.check(images[rows["id"].to_numpy()], _labels(rows), page)
        batches[name] = result.as_dict()
        found = [feature for feature, test in result.tests.items() if test["drift"]]
        print(f"{name}: " + (f"drift in {', '.join(found)}" if found else "no drift"))
    files.write_json(project.drift_report, {"batches": batches, "reference": {"n": len(reference)}})


def _labels(rows: pd.DataFrame) -> np.ndarray | None:
    return None if rows["label"].isna().any() else rows["label"].to_numpy(dtype=np.int64)


if __name__ == "__main__":
    main(drift)
