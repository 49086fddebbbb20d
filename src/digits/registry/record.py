"""What the git-tracked files of a revision say about its model.

The author of a pull request can write these files, and old commits lack newer fields. So nothing
here fails on a value that is missing or has another type than expected: it counts as not recorded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from digits.core.errors import DataError
from digits.core.project import Project
from digits.formatting import one_line
from digits.gate.evidence import at, figure, pair
from digits.versioning import dvc, git
from digits.versioning.dvc import DataVersion

MNIST = "mnist"  # always trained and tested on; every other batch has a name of its own
_TEXT_LIMIT = 200  # characters
_ENTRY_LIMIT = 2_000  # parameters; aliases in a YAML file could unfold to billions
_HEADER = 128  # bytes before the values of an .npy file
_LABELS = "build/splits/{}-labels.npy"  # one byte per image
_PATHS = {
    "metrics": "reports/metrics.json",
    "card": "reports/model.json",
    "drift": "reports/drift.json",
    "validation": "reports/validation.json",
    "lock": "dvc.lock",
}


@dataclass(frozen=True)
class Batch:
    """What is recorded of one batch of handwriting; None where it is not.

    Shares are 0–1. `in_sample` is the number of its images that the model was trained or chosen on.
    `drift` is the verdict, `drifted` are the features that differ, the most distant first.
    """

    name: str
    trained_on: bool | None
    in_sample: int | None
    evaluated: bool
    n: int | None
    errors: int | None
    accuracy: float | None
    interval: tuple[float, float] | None
    drift_checked: bool
    drift: bool | None
    estimated_accuracy: float | None
    drifted: list[str]


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.lock: path → DVC's MD5 of what it read and wrote, and its parameters."""

    name: str
    deps: dict[str, str]
    outs: dict[str, str]
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Record:
    """The documents of a revision; one that is missing or damaged is empty."""

    commit: str | None  # None: the working tree
    metrics: dict[str, Any]
    card: dict[str, Any]
    drift: dict[str, Any]
    validation: dict[str, Any]
    lock: dict[str, Any]
    data: DataVersion | None  # pinned by data.dvc; `built_from` is the one that was used
    problems: list[str] = field(default_factory=list)  # why documents can't be read

    @classmethod
    def read(cls, project: Project, commit: str | None = None) -> "Record":
        """Read a commit's documents, by default those of the working tree."""
        documents: dict[str, dict[str, Any]] = {}
        problems = []
        for name, path in _PATHS.items():
            try:
                documents[name] = git.read_mapping(project, path, commit)
            except DataError as exc:
                documents[name] = {}
                problems.append(one_line(str(exc)))
        try:
            data = dvc.find_data_version(project, commit)
        except DataError as exc:
            data = None
            problems.append(one_line(str(exc)))
        return cls(commit, **documents, data=data, problems=problems)

    @property
    def weights(self) -> dict[str, str]:
        """Path → SHA-256 of the weights files."""
        return {
            text(path): text(digest)
            for path, digest in sorted(mapping(self.card, "weights").items())
        }

    @property
    def stages(self) -> list[Stage]:
        """The stages in the order of dvc.lock, which is that of the pipeline."""
        stages = mapping(self.lock, "stages")
        return [
            Stage(
                text(name),
                _digests(at(stage, "deps")),
                _digests(at(stage, "outs")),
                _parameters(mapping(stage, "params")),
            )
            for name, stage in islice(stages.items(), _ENTRY_LIMIT)
        ]

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter that the results were made with; dots separate nested sections."""
        return {name: value for one in self.stages for name, value in one.parameters.items()}

    @property
    def code(self) -> dict[str, str]:
        """Path → DVC's MD5 of the sources that the results were made with."""
        deps = {path: digest for one in self.stages for path, digest in one.deps.items()}
        return {path: deps[path] for path in sorted(deps) if path.startswith("src/")}

    @property
    def built_from(self) -> str:
        """The MD5 of the data version that the results were made from; empty if not recorded."""
        data = (stage.deps.get("data", "") for stage in self.stages)
        return next(filter(None, data), "").removesuffix(".dir")

    @property
    def train_batches(self) -> list[str] | None:
        """The batches trained on besides MNIST; None if that is not recorded."""
        batches = self.parameters.get("preprocess.train_batches")
        return [text(name) for name in batches] if isinstance(batches, list) else None

    @property
    def batches(self) -> dict[str, Batch]:
        """The batches of handwriting that the reports or the parameters name, by name."""
        evaluated, checked = mapping(self.metrics, "batches"), mapping(self.drift, "batches")
        names = islice({*evaluated, *checked, *(self.train_batches or ())}, _ENTRY_LIMIT)
        return {
            text(name): _batch(name, evaluated, checked, self.train_batches)
            for name in sorted(names, key=str)
        }

    def images(self, split: str) -> int | None:
        """The number of images in a split, by the size of the labels file in dvc.lock."""
        for stage in mapping(self.lock, "stages").values():
            for entry in _entries(at(stage, "deps")):
                if at(entry, "path") == _LABELS.format(split):
                    size = figure(entry, "size")
                    return int(size) - _HEADER if size and size > _HEADER else None
        return None


# values of documents that may hold anything


def mapping(document: Any, *keys: str) -> dict[str, Any]:
    """The mapping under nested keys, its keys as text; empty if there is none."""
    value = at(document, *keys)
    if not isinstance(value, Mapping):
        return {}
    return {str(key): one for key, one in islice(value.items(), _ENTRY_LIMIT)}


def count(document: Any, *keys: str) -> int | None:
    """The whole number under nested keys; None if there is none."""
    value = figure(document, *keys)
    return None if value is None else int(value)


def text(value: Any) -> str:
    """A value as one line of limited length."""
    line = one_line(str(value))
    return line if len(line) <= _TEXT_LIMIT else line[: _TEXT_LIMIT - 1] + "…"


def _parameters(files: Mapping[str, Any]) -> dict[str, Any]:
    entries = (
        entry
        for file in files.values()
        for entry in dvc.flatten({} if not isinstance(file, Mapping) else file)
    )
    return dict(islice(entries, _ENTRY_LIMIT))


def _digests(entries: Any) -> dict[str, str]:
    return {
        text(entry["path"]): text(at(entry, "md5") or "")
        for entry in _entries(entries)
        if "path" in entry
    }


def _entries(entries: Any) -> Iterable[Mapping[str, Any]]:
    return (one for one in entries if isinstance(one, Mapping)) if isinstance(entries, list) else ()


def _batch(
    name: str,
    evaluated: Mapping[str, Any],
    checked: Mapping[str, Any],
    train_batches: list[str] | None,
) -> Batch:
    figures, drift = mapping(evaluated, name), mapping(checked, name)
    in_sample, verdict = count(figures, "in_sample"), at(drift, "drift")
    trained_on = None if train_batches is None else text(name) in train_batches
    # older evaluations left the accuracy on a batch to the drift report
    source = figures if figure(figures, "accuracy") is not None else drift
    tests = mapping(drift, "tests")
    drifted = [feature for feature in tests if at(tests, feature, "drift") is True]
    return Batch(
        name=text(name),
        trained_on=True if in_sample else trained_on,
        in_sample=in_sample,
        evaluated=figure(source, "accuracy") is not None,
        n=count(figures, "n") if "n" in figures else count(drift, "n"),
        errors=count(figures, "errors"),
        accuracy=figure(source, "accuracy"),
        interval=pair(figures, "accuracy_interval"),
        drift_checked=bool(drift),
        drift=verdict if isinstance(verdict, bool) else None,
        estimated_accuracy=figure(drift, "estimated_accuracy"),
        drifted=[
            text(feature)
            for feature in sorted(drifted, key=lambda one: -(figure(tests, one, "distance") or 0))
        ],
    )
