"""A project whose model is real, but tiny: ONNX that reads ten one-pixel digits, and its reports.

`train.seed` changes the weights, the file `errors` how many of 1,000 test images count as misread.
Making it takes a second, so tests of the registry can have many versions.
"""

import shutil
import sys
from pathlib import Path

import yaml
from repository import commit_all, configure_author, dvc, git, init

from digits.core.project import Project

PIPELINE = """
stages:
  train:
    cmd: "{python} make.py"
    deps: [make.py, errors]
    params: [train]
    outs:
      - models
      - reports/model.json: {{cache: false}}
      - reports/metrics.json: {{cache: false}}
      - reports/mistakes.csv: {{cache: false}}
      - reports/validation.json: {{cache: false}}
      - reports/golden.png: {{cache: false}}
artifacts:
  digits: {{path: models, type: model}}
"""
GATE = {
    "min_accuracy": 0.9,
    "min_recall": 0.9,
    "max_milliseconds": 1000,
    "max_slowdown": 1000,
    "slowdown_floor": 1000,
    "max_memory": 5000,
}


def _params() -> str:
    """The repository's params.yaml with a gate that lets toys pass, and a seed to fill in."""
    document = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
    document["gate"] |= GATE
    document["train"]["seed"] = "{seed}"
    return yaml.safe_dump(document, sort_keys=False).replace("'{seed}'", "{seed}")


PARAMS = _params()
MAKE = """
import hashlib, json, pathlib
import numpy as np, onnx, yaml
from onnx import TensorProto, helper, numpy_helper
from digits.plots import sheets

seed = yaml.safe_load(pathlib.Path("params.yaml").read_text())["train"]["seed"]
errors = int(pathlib.Path("errors").read_text())
weights = np.zeros((784, 10), dtype=np.float32)
weights[np.arange(10), np.arange(10)] = 1 + seed / 100
nodes = [
    helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
    helper.make_node("Flatten", ["float"], ["flat"]),
    helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
    helper.make_node("Softmax", ["embedding"], ["probabilities"]),
]
tensor = helper.make_tensor_value_info
graph = helper.make_graph(
    nodes, "digits",
    [tensor("images", TensorProto.UINT8, ["n", 28, 28])],
    [tensor("embedding", TensorProto.FLOAT, ["n", 10]),
     tensor("probabilities", TensorProto.FLOAT, ["n", 10])],
    [numpy_helper.from_array(weights, "weights")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
file = pathlib.Path("models/digits.onnx")
file.parent.mkdir(exist_ok=True)
file.write_bytes(model.SerializeToString())
reports = pathlib.Path("reports")
reports.mkdir(exist_ok=True)

def write(name, document):
    (reports / name).write_text(json.dumps(document, indent=1))

digest = hashlib.sha256(file.read_bytes()).hexdigest()
write("model.json", {
    "model": "toy", "seed": seed, "recipe": {"epochs": 1},
    "built_with": {"onnx": onnx.__version__}, "weights": {file.as_posix(): digest},
})
write("metrics.json", {
    "test": {"n": 1000, "accuracy": 1 - errors / 1000, "calibration_error": 0.001,
             "digest": "the same", "per_digit": {str(d): {"n": 100} for d in range(10)}},
    "corrupted": {"mean_error": 0.03},
    "leaks": {"test_in_train": 0, "test_in_val": 0, "val_in_train": 0},
})
rows = [f"{i},{i % 10},{(i + 1) % 10},0.9" for i in range(errors)]
(reports / "mistakes.csv").write_text("\\n".join(["index,label,prediction,confidence", *rows, ""]))
write("validation.json", {"success": True})
golden = np.zeros((10, 28, 28), dtype=np.uint8)
golden[np.arange(10), 0, np.arange(10)] = 255
(reports / "golden.png").write_bytes(sheets.sheet(golden, columns=10))
"""
ONNX = "models/digits.onnx"


def make(folder: Path) -> Project:
    """An empty project on branch `main`, with a folder beside it as DVC remote `shelf`."""
    folder.mkdir(parents=True)
    init(folder)
    dvc(folder, "remote", "add", "--default", "shelf", str(folder.parent / "shelf"))
    (folder / "make.py").write_text(MAKE)
    (folder / "dvc.yaml").write_text(PIPELINE.format(python=sys.executable))
    (folder / ".gitignore").write_text("/models\n/build/\n")
    return Project(folder)


def train(project: Project, seed: int, errors: int = 40) -> None:
    """Train with a seed and commit the results."""
    project.params.write_text(PARAMS.format(seed=seed))
    (project.root / "errors").write_text(str(errors))
    dvc(project.root, "repro", "--quiet")
    commit_all(project.root)


def copy(template: Path, folder: Path) -> Project:
    """A copy of a project made by `make`, with its remote."""
    shutil.copytree(template.parent, folder, symlinks=True)
    project = Project(folder / template.name)
    use_own_remote(project)
    return project


def clone(project: Project, name: str = "clone") -> Project:
    """A fresh clone beside it: the files that git tracks, the same DVC remote, no DVC cache."""
    git(project.root.parent, "clone", "--quiet", project.root.name, name)
    made = Project(project.root.parent / name)
    use_own_remote(made)
    configure_author(made.root)
    return made


def use_own_remote(project: Project) -> None:
    """Use the DVC remote beside the project instead of the template's."""
    url = f"['remote \"shelf\"']\n    url = {project.root.parent / 'shelf'}\n"
    (project.root / ".dvc" / "config.local").write_text(url)
