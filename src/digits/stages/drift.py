"""models/, build/ → build/reference (the window) and reports/drift.json (a verdict per batch).

For each batch, pages for people go to build/html/drift, with the result that they show as JSON: if
DVC restores another result, the pages stay behind, and the report leaves them out.
"""

import numpy as np

from digits.core import files
from digits.core.params import Params
from digits.core.project import Project
from digits.core.stage import main
from digits.data import dataset
from digits.data.dataset import Split
from digits.drift import detector
from digits.drift.detector import VALIDATION, DriftDetector
from digits.models.reference import Reference


def drift(project: Project, params: Params) -> None:
    """Fit the detector on training and validation images, then check every batch by it."""
    card = files.read_json(project.model_card)
    network = Reference.from_card(project.root, card)
    train, val = (Split.read(project.splits, name) for name in ("train", "val"))
    index = files.read_table(project.ingested / "index.parquet")
    images = files.read_array(project.ingested / "images.npy")
    trained = index.set_index("id").loc[dataset.read_ids(project.splits, "train")]
    members = {
        str(name): np.flatnonzero(trained["batch"].eq(name))
        for name in sorted(trained.loc[trained["split"].eq("handwriting"), "batch"].unique())
    }
    with files.replacing_folder(project.reference) as folder:
        detector.record_model(folder, card["weights"])
        checks = DriftDetector.fit(
            network, train, val, members, params.drift, params.ingest.ink_level, folder
        )
    batches = {}
    for name, rows in index[index["split"].eq("handwriting")].groupby("batch"):
        labels = None if rows["label"].isna().any() else rows["label"].to_numpy(dtype=int)
        pages = project.html / "drift"
        html, png = pages / f"{name}.html", pages / f"{name}.png"
        result = checks.check(images[rows["id"].to_numpy()], labels, html, png, name)
        batches[name] = result.as_dict()
        files.write_json(pages / f"{name}.json", batches[name])
        print(f"{name}: {result.verdict}, p = {result.p_value:g}")
    reference = {"n": int(checks.reference["source"].eq(VALIDATION).sum())}
    files.write_json(project.drift_report, {"batches": batches, "reference": reference})


if __name__ == "__main__":
    main(drift)
