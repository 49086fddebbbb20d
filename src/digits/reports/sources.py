"""The documents that the report page is made from: empty, with a reason, if one can't be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from digits.core import files
from digits.core.errors import DataError
from digits.core.project import Project
from digits.registry.record import Record
from digits.versioning import dvc
from digits.versioning.dvc import DataVersion


@dataclass(frozen=True)
class Sources:
    """The documents, and `record`: the same for figures that need a checked type."""

    metrics: Mapping[str, Any]
    card: Mapping[str, Any]
    validation: Mapping[str, Any]
    drift: Mapping[str, Any]
    lock: Mapping[str, Any]
    params: Mapping[str, Any]
    data: DataVersion | None
    record: Record
    problems: Mapping[str, str]  # name of an empty document → why it can't be read

    @classmethod
    def read(cls, project: Project) -> "Sources":
        """Read all documents of a project."""
        paths = {
            "metrics": project.metrics,
            "card": project.model_card,
            "validation": project.validation_report,
            "drift": project.drift_report,
            "lock": project.root / "dvc.lock",
            "params": project.params,
        }
        documents: dict[str, Any] = {}
        problems = {}
        for name, path in paths.items():
            try:
                documents[name] = _read_mapping(path)
            except DataError as exc:
                documents[name] = {}
                problems[name] = without_folder(project, str(exc))
        try:
            data = dvc.data_version(project)
        except DataError as exc:
            data = None
            problems["data"] = without_folder(project, str(exc))
        return cls(**documents, data=data, record=Record.read(project), problems=problems)


def without_folder(project: Project, text: str) -> str:
    """A message whose paths start in the project: the page must not tell where that is."""
    return text.replace(f"{project.root}/", "").replace(str(project.root), "the project's folder")


def mistakes(path: Path) -> list[dict[str, Any]]:
    """The misread test images, most confident first; empty without a table.

    Raises:
        DataError: the table is damaged.
    """
    if not path.is_file():
        return []
    columns = ["index", "label", "prediction", "confidence"]
    try:
        table = pd.read_csv(path, usecols=columns, dtype={"index": int, "confidence": float})
    except ValueError as exc:
        raise DataError(
            f"{path}: expected columns {', '.join(columns)}, with numbers in index and confidence "
            f"({exc}); run 'dvc repro' to recreate it"
        ) from exc
    return table.sort_values(["confidence", "index"], ascending=[False, True]).to_dict("records")


def _read_mapping(path: Path) -> dict[str, Any]:
    if path.suffix == ".json":
        document = files.read_json(path)
    else:
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as exc:
            raise DataError(f"{path}: not found") from exc
        except (yaml.YAMLError, UnicodeDecodeError) as exc:
            raise DataError(f"{path}: not valid YAML") from exc
    if not isinstance(document, dict):
        raise DataError(f"{path}: expected a mapping, got {type(document).__name__}")
    return document
