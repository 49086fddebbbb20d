"""A small real pipeline in git and DVC whose reports have the form of the project's."""

import sys
from pathlib import Path

import yaml
from repository import commit_all, dvc, init

from digits.core.project import Project
from digits.registry import registry

STAGES = {
    "ingest": (["data"], [], ["build/ingested"], []),
    "preprocess": (["build/ingested"], ["preprocess"], ["build/splits"], []),
    "train": (
        ["build/splits"],
        ["train", "models.${train.model}"],
        ["models"],
        ["reports/model.json"],
    ),
    "evaluate": (
        ["build/ingested", "models", "reports/model.json"],
        ["preprocess"],
        [],
        ["reports/metrics.json", "reports/mistakes.csv", "reports/mistakes-handwriting.csv"],
    ),
    "drift": (["build/ingested", "models"], [], [], ["reports/drift.json"]),
}
MAKE = """
import hashlib, json, pathlib, sys, yaml
params = yaml.safe_load(pathlib.Path("params.yaml").read_text())
batches = sorted(path.name for path in pathlib.Path("data/handwriting").iterdir())
chosen = params["preprocess"]["train_batches"]
seed = params["train"]["seed"]

def folder(name, text):
    pathlib.Path(name).mkdir(parents=True, exist_ok=True)
    (pathlib.Path(name) / "file").write_text(text)

def report(name, document):
    pathlib.Path("reports", name).write_text(json.dumps(document))

def digit(n, recall, low, high):
    return {"n": n, "recall": recall, "recall_interval": [low, high], "precision": recall}

if sys.argv[1] == "ingest":
    folder("build/ingested", " ".join(batches))
elif sys.argv[1] == "preprocess":
    folder("build/splits", " ".join(chosen))
elif sys.argv[1] == "train":
    folder("models", f"weights of seed {seed}")
    digest = hashlib.sha256(f"weights of seed {seed}".encode()).hexdigest()
    report("model.json", {
        "model": params["train"]["model"], "parameters": 1234, "weights": {"models/file": digest},
        "built_with": {"keras": "3.15.1"},
    })
elif sys.argv[1] == "evaluate":
    accuracy = 0.95 + seed / 100
    low, high = accuracy - 0.01, accuracy + 0.01
    figures = {
        name: {
            "n": 50, "errors": 10, "accuracy": 0.8, "accuracy_interval": [0.7, 0.9],
            "in_sample": 50 if name in chosen else 0,
        }
        for name in batches
    }
    report("metrics.json", {
        "test": {
            "n": 100, "errors": 5 - seed, "accuracy": accuracy, "accuracy_interval": [low, high],
            "calibration_error": 0.012, "digest": "d" * 64,
            "per_digit": {"0": digit(40, 0.99, 0.98, 1), "6": digit(60, 0.9, 0.85, 0.93)},
        },
        "val": {"n": 30, "accuracy": 0.94, "calibration_error": 0.02},
        "batches": figures,
        "leaks": {"test_in_train": 0, "test_in_val": 0, "val_in_train": 0},
        "corrupted": {"fog_error": 0.02, "stripe_error": 0.25, "mean_error": 0.135},
    })
    head = "index,label,prediction,confidence"
    rows = [f"{index},6,0,{0.95 if index else 0.5}" for index in range(5 - seed)]
    pathlib.Path("reports/mistakes.csv").write_text("\\n".join([head, *rows]) + "\\n")
    rows = [f"{name},{index},6,0,0.7" for name in batches for index in range(10)]
    table = "\\n".join(["batch," + head, *rows]) + "\\n"
    pathlib.Path("reports/mistakes-handwriting.csv").write_text(table)
else:
    noise = {"noise": {"distance": 2.0, "drift": True}, "ink": {"distance": 0.01, "drift": False}}
    report("drift.json", {
        "batches": {
            name: {"n": 50, "drift": name == "uci", "estimated_accuracy": 0.78, "tests": noise}
            for name in batches
        },
        "reference": {"n": 30},
    })
"""
PARAMS = {
    "preprocess": {"train_batches": []},
    "train": {"model": "small", "seed": 1},
    "models": {"small": {"epochs": 3}, "large": {"epochs": 3, "widths": [8, 16]}},
}


def create(folder: Path) -> None:
    """A project with one batch, `uci`, whose results are committed on `main`."""
    for name in ("reports", "src", "data/mnist", "data/handwriting"):
        (folder / name).mkdir(parents=True)
    (folder / "data" / "mnist" / "file").write_text("mnist")
    init(folder)
    (folder / "src" / "make.py").write_text(MAKE)
    (folder / "dvc.yaml").write_text(yaml.safe_dump(_pipeline(), sort_keys=False))
    (folder / ".gitignore").write_text("/models\n/build/\n/data\n")
    write_params(folder)
    (folder / "requirements.lock").write_text("keras==3.15.1\n")
    add_batch(folder, "uci")
    build(folder)


def two_versions(folder: Path) -> Path:
    """v0.1.0; then v0.2.0, with a new batch `forms` that it is trained on. None is the champion."""
    create(folder)
    registry.register(Project(folder), "v0.1.0", why="a start")
    add_batch(folder, "forms")
    write_params(folder, preprocess={"train_batches": ["forms"]}, train={"seed": 2})
    build(folder)
    registry.register(Project(folder), "v0.2.0")
    return folder


def write_params(folder: Path, **changes: dict[str, object]) -> None:
    """Write params.yaml: the default, with keys of some sections changed."""
    sections = {name: values | changes.get(name, {}) for name, values in PARAMS.items()}
    (folder / "params.yaml").write_text(yaml.safe_dump(sections))


def add_batch(folder: Path, name: str) -> None:
    """Add a batch of handwriting to data/ and to data.dvc."""
    batch = folder / "data" / "handwriting" / name
    batch.mkdir()
    (batch / "file").write_text(name)
    dvc(folder, "add", "--quiet", "data")


def build(folder: Path) -> None:
    """Run what is stale and commit the results."""
    dvc(folder, "repro", "--quiet")
    commit_all(folder)


def _pipeline() -> dict[str, object]:
    stages = {}
    for name, (deps, params, outs, reports) in STAGES.items():
        stages[name] = {
            "cmd": f"{sys.executable} src/make.py {name}",
            "deps": [*deps, "src/make.py"],
            "outs": [*outs, *({path: {"cache": False}} for path in reports)],
        }
        if params:
            stages[name]["params"] = params
    return {
        "stages": stages,
        "artifacts": {"digits": {"path": "models", "type": "model"}},
    }
