"""models/, build/ → build/reference (the window) and reports/drift.json (a verdict per batch)."""

from digits.core import files
from digits.core.params import Params
from digits.core.project import Project
from digits.core.stage import main
from digits.data.dataset import Split
from digits.drift import detector
from digits.models.reference import Reference


def drift(project: Project, params: Params) -> None:
    """Make the reference window from validation images, then check every batch against it."""
    network = Reference.from_card(project.root, files.read_json(project.model_card))
    val = Split.read(project.splits, "val")
    ink_level = params.ingest.ink_level
    reference = detector.reference_window(network, val.images, val.labels, params.drift, ink_level)
    files.write_table(project.reference / detector.REFERENCE, reference)
    checks = detector.DriftDetector(network, reference, params.drift, ink_level)
    index = files.read_table(project.ingested / "index.parquet")
    images = files.read_array(project.ingested / "images.npy")
    batches = {}
    for name, rows in index[index["split"].eq("handwriting")].groupby("batch"):
        labels = None if rows["label"].isna().any() else rows["label"].to_numpy(dtype=int)
        html = project.html / "drift" / f"{name}.html"
        result = checks.check(images[rows["id"].to_numpy()], labels, html)
        batches[name] = result.as_dict()
        drifted = [feature for feature, test in result.tests.items() if test["drift"]]
        print(f"{name}: " + (f"drift in {', '.join(drifted)}" if drifted else "no drift"))
    files.write_json(project.drift_report, {"batches": batches, "reference": {"n": len(reference)}})


if __name__ == "__main__":
    main(drift)
