"""A light project with real git and DVC, whose only stage reports what it is told."""

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from repository import commit_all, dvc, init

from digits.plots import sheets

ROOT = Path(__file__).parent.parent
N = 1000  # test images: image i shows digit i % 10
BATCH = 200  # images of a batch
_PIPELINE = {
    "stages": {
        "evaluate": {
            "cmd": f"{sys.executable} src/evaluate.py",
            "deps": ["data", "src"],
            "params": ["train", "models.accurate"],
            "outs": [{f"reports/{name}": {"cache": False}} for name in ("all.json", "plots")],
        }
    }
}
_EVALUATE = """
import json, pathlib, shutil
told = json.loads(pathlib.Path("src/results.json").read_text())
pathlib.Path("reports/all.json").write_text(json.dumps(told))
pathlib.Path("reports/plots").mkdir()
pathlib.Path("reports/plots/mistakes.png").write_bytes(json.dumps(told).encode())
"""


def project(folder: Path) -> Path:
    """An empty project on `main`: commit `first` has a pipeline but no results."""
    for name in ("src", "data", "reports"):
        (folder / name).mkdir(parents=True)
    init(folder)
    (folder / "data" / "digits").write_text("data")
    dvc(folder, "add", "--quiet", "data")
    (folder / "src" / "evaluate.py").write_text(_EVALUATE)
    (folder / "dvc.yaml").write_text(yaml.safe_dump(_PIPELINE))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["gate"] |= {"min_accuracy": 0.97, "min_recall": 0.8}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    commit_all(folder)
    return folder


def report(
    folder: Path,
    wrong: Collection[int] = (),
    batches: Mapping[str, Collection[int]] | None = None,
    *,
    in_sample: int = 0,
    recorded: bool = True,
    **metrics: Any,
) -> None:
    """Build results: the test images that are misread, and those of each batch.

    Args:
        in_sample: images of each batch that the model was trained on.
        recorded: False leaves out what older versions did not report.
        metrics: further keys of the test section of the metrics.
    """
    sets = {"test": list(wrong)} | {name: list(rows) for name, rows in (batches or {}).items()}
    write(folder, "src/results.json", [sets, in_sample, recorded, metrics])
    figures = {name: _figures(rows, N if name == "test" else BATCH) for name, rows in sets.items()}
    test = figures.pop("test") | metrics
    document: dict[str, Any] = {"test": test, "val": {"n": 500, "accuracy": test["accuracy"]}}
    if recorded:
        test["digest"] = "t"
        extra = {"digest": "b", "in_sample": in_sample}
        document["batches"] = {name: one | extra for name, one in figures.items()}
        document["leaks"] = dict.fromkeys(("test_in_train", "test_in_val", "val_in_train"), 0)
        document["corrupted"] = {"fog_error": 0.01, "mean_error": 0.01}
        _tables(folder, sets)
    _table(folder / "reports" / "mistakes.csv", {"": sets["test"]})
    write(folder, "reports/metrics.json", document)
    drift = {name: {"drift": False, "n": BATCH} for name in sets if name != "test"}
    write(folder, "reports/drift.json", {"batches": drift})
    expectation = {"says": "labels are digits", "success": True}
    write(folder, "reports/validation.json", {"success": True, "expectations": [expectation]})
    write(folder, "reports/model.json", {"weights": {"models/digits.onnx": str(sets)}})
    for name in ("val/accuracy", "val/loss", "train/accuracy", "train/loss"):
        path = folder / "reports" / "training" / "plots" / "metrics" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"step\t{name.partition('/')[2]}\n0\t0.5\n1\t{test['accuracy']}\n")
    dvc(folder, "repro", "--quiet")


def write(folder: Path, path: str, document: Any) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(json.dumps(document))


def change(folder: Path, path: str, *keys: str, value: Any) -> None:
    """Change one value of a report in place."""
    document = inner = json.loads((folder / path).read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    write(folder, path, document)


def image(kind: str, index: int) -> np.ndarray:
    """The made-up picture of a misread image; each is different."""
    seed = [index, *kind.encode()]
    return np.random.default_rng(seed).integers(0, 256, (28, 28), dtype=np.uint8)


def _figures(wrong: list[int], n: int) -> dict[str, Any]:
    accuracy = 1 - len(wrong) / n
    recalls = {str(d): 1 - sum(i % 10 == d for i in wrong) / (n // 10) for d in range(10)}
    confusion = [[0] * 10 for _ in range(10)]
    for index in range(n):
        confusion[index % 10][(index + (index in wrong)) % 10] += 1
    return {
        "n": n,
        "errors": len(wrong),
        "accuracy": accuracy,
        "accuracy_interval": [accuracy - 0.01, min(1.0, accuracy + 0.01)],
        "f1": accuracy,
        "calibration_error": 0.01,
        "confusion": confusion,
        "per_digit": {d: {"n": n // 10, "recall": r, "f1": r} for d, r in recalls.items()},
    }


def _tables(folder: Path, sets: Mapping[str, list[int]]) -> None:
    rest = {name: rows for name, rows in sets.items() if name != "test"}
    _table(folder / "reports" / "mistakes-handwriting.csv", rest)
    for file, kinds in (("mistakes", ["test"]), ("mistakes-handwriting", list(rest))):
        images = [image(kind, index) for kind in kinds for index in sets[kind]]
        stack = np.array(images, dtype=np.uint8).reshape(-1, 28, 28)
        (folder / "reports" / f"{file}.png").write_bytes(sheets.sheet(stack))


def _table(path: Path, sets: Mapping[str, list[int]]) -> None:
    rows = ["batch,index,label,prediction,confidence"]
    for name, wrong in sets.items():
        quoted = '"' + name.replace('"', '""') + '"'
        rows += [f"{quoted},{i},{i % 10},{(i + 1) % 10},0.9" for i in wrong]
    path.write_text("\n".join(rows) + "\n")
