"""Where everything of a project is. dvc.yaml repeats the paths that DVC tracks."""

from dataclasses import dataclass
from pathlib import Path

from digits.core.errors import DigitsError


class _Below:
    """An attribute of a project: a path below its root folder."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, project: "Project", _: type["Project"]) -> Path:
        return project.root / self._path


@dataclass(frozen=True)
class Project:
    """A checkout: the folder with dvc.yaml and params.yaml, and the paths in it."""

    root: Path

    # edited by people
    params = _Below("params.yaml")

    # raw data, tracked by data.dvc; stages only read it
    data = _Below("data")
    data_pointer = _Below("data.dvc")
    mnist = _Below("data/mnist")
    handwriting = _Below("data/handwriting")

    # written by stages, stored in DVC's cache
    build = _Below("build")
    ingested = _Below("build/ingested")
    splits = _Below("build/splits")
    evaluated = _Below("build/evaluated")
    reference = _Below("build/reference")
    models = _Below("models")

    # results, reviewed by people and tracked by git
    reports = _Below("reports")
    validation_report = _Below("reports/validation.json")
    doubted_labels = _Below("reports/labels.csv")
    doubted_labels_sheet = _Below("reports/labels.png")
    model_card = _Below("reports/model.json")
    training_curves = _Below("reports/training")
    metrics = _Below("reports/metrics.json")
    mistakes = _Below("reports/mistakes.csv")
    mistakes_sheet = _Below("reports/mistakes.png")
    batch_mistakes = _Below("reports/mistakes-handwriting.csv")
    batch_mistakes_sheet = _Below("reports/mistakes-handwriting.png")
    golden = _Below("reports/golden.png")
    plots = _Below("reports/plots")
    benchmarks = _Below("reports/benchmarks.json")
    drift_report = _Below("reports/drift.json")
    notebook = _Below("reports/digits.ipynb")
    zoo_report = _Below("reports/zoo.json")
    zoo_page = _Below("reports/zoo.md")
    zoo_plots = _Below("reports/zoo")
    search_report = _Below("reports/search.json")

    # pages made from the results or with dates in them; never the output of a stage
    html = _Below("build/html")
    index_page = _Below("reports/index.html")
    gate_report = _Below("build/gate")

    # state of this machine
    state = _Below("build/state")
    checkpoints = _Below("build/state/training")
    search = _Below("build/state/search")
    quarantine = _Below("build/quarantine")
    registry_cache = _Below("build/registry")
    zoo = _Below("build/zoo")

    @classmethod
    def find(cls, start: Path | None = None) -> "Project":
        """The project that contains `start` (default: the working directory).

        Raises:
            DigitsError: neither that folder nor one above it has a dvc.yaml and a params.yaml.
        """
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
                return cls(folder)
        raise DigitsError(
            f"{here}: no dvc.yaml and params.yaml here or above; run this inside the project"
        )

    def relative(self, path: Path) -> str:
        """`path` relative to the project, or as it is if it lies outside."""
        try:
            return path.resolve().relative_to(self.root).as_posix()
        except ValueError:
            return str(path)
