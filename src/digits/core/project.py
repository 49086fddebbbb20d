"""Where everything of a project lives. dvc.yaml names the same places for DVC."""

from dataclasses import dataclass
from pathlib import Path

from digits.core.errors import DigitsError


@dataclass(frozen=True)
class Project:
    """A checkout that holds dvc.yaml, and the places in it."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> "Project":
        """The project that holds `start` (default: the working directory).

        Raises:
            DigitsError: neither that folder nor one above it holds a dvc.yaml and a params.yaml.
        """
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
                return cls(folder)
        raise DigitsError(
            f"{here}: no dvc.yaml and params.yaml here or above; run this inside the project"
        )

    # what people write
    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    # raw data, tracked by data.dvc: no stage writes here
    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def data_pointer(self) -> Path:
        return self.root / "data.dvc"

    @property
    def mnist(self) -> Path:
        return self.data / "mnist"

    @property
    def handwriting(self) -> Path:
        return self.data / "handwriting"

    # what stages make, kept by DVC's cache
    @property
    def build(self) -> Path:
        return self.root / "build"

    @property
    def ingested(self) -> Path:
        return self.build / "ingested"

    @property
    def splits(self) -> Path:
        return self.build / "splits"

    @property
    def evaluated(self) -> Path:
        return self.build / "evaluated"

    @property
    def reference(self) -> Path:
        return self.build / "reference"

    @property
    def models(self) -> Path:
        return self.root / "models"

    # what people review, kept by git
    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def validation_report(self) -> Path:
        return self.reports / "validation.json"

    @property
    def model_card(self) -> Path:
        return self.reports / "model.json"

    @property
    def training_curves(self) -> Path:
        return self.reports / "training"

    @property
    def metrics(self) -> Path:
        return self.reports / "metrics.json"

    @property
    def mistakes(self) -> Path:
        return self.reports / "mistakes.csv"

    @property
    def plots(self) -> Path:
        return self.reports / "plots"

    @property
    def benchmarks(self) -> Path:
        return self.reports / "benchmarks.json"

    @property
    def drift_report(self) -> Path:
        return self.reports / "drift.json"

    @property
    def notebook(self) -> Path:
        return self.reports / "digits.ipynb"

    @property
    def zoo_report(self) -> Path:
        return self.reports / "zoo.json"

    @property
    def zoo_page(self) -> Path:
        return self.reports / "zoo.md"

    @property
    def zoo_plots(self) -> Path:
        return self.reports / "zoo"

    @property
    def search_report(self) -> Path:
        return self.reports / "search.json"

    # what people look at: holds dates, or is made from the above; never a stage's output
    @property
    def html(self) -> Path:
        return self.build / "html"

    @property
    def index_page(self) -> Path:
        return self.reports / "index.html"

    # this machine's own affairs
    @property
    def state(self) -> Path:
        return self.build / "state"

    @property
    def checkpoints(self) -> Path:
        return self.state / "training"

    @property
    def search(self) -> Path:
        return self.state / "search"

    @property
    def quarantine(self) -> Path:
        return self.build / "quarantine"

    @property
    def registry_cache(self) -> Path:
        return self.build / "registry"

    @property
    def zoo(self) -> Path:
        return self.build / "zoo"

    def relative(self, path: Path) -> str:
        """`path` as people know it: relative to the project where it lies inside."""
        try:
            return path.resolve().relative_to(self.root).as_posix()
        except ValueError:
            return str(path)
