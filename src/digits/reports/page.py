"""The HTML report: everything in reports/ on one page.

The page contains no date, host name or absolute path, so equal files give an equal page. For a
missing report it shows the command that creates it.
"""

import base64
import importlib.resources
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

import jinja2
import pandas as pd
import yaml

from digits.core import files
from digits.core.errors import DataError
from digits.core.project import Project
from digits.formatting import percent
from digits.versioning import dvc
from digits.versioning.dvc import DataVersion

MISTAKES_LISTED = 200  # rows; reports/mistakes.csv has all
_PLOTS = ("confusion", "per_digit", "curves", "mistakes", "calibration")
_TEXT_LIMIT = 100  # characters of a value shown
_Z = 1.959964  # standard normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class Check:
    """One of the checks to read before shipping a model."""

    status: Literal["pass", "warning", "fail", "unknown"]
    finding: str
    detail: str


@dataclass(frozen=True)
class Sources:
    """The documents the page is made from; those that can't be read are empty."""

    metrics: Mapping[str, Any]
    card: Mapping[str, Any]
    validation: Mapping[str, Any]
    drift: Mapping[str, Any]
    lock: Mapping[str, Any]
    params: Mapping[str, Any]
    data: DataVersion | None
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
                problems[name] = str(exc).replace(str(path), project.relative(path), 1)
        try:
            data = dvc.data_version(project)
        except DataError as exc:
            data = None
            problems["data"] = str(exc).replace(str(project.data_pointer), "data.dvc", 1)
        return cls(**documents, data=data, problems=problems)


def build(project: Project) -> str:
    """The page as HTML that needs no other file, no network and no script."""
    sources = Sources.read(project)
    mistakes = _read_mistakes(project.mistakes)
    return _template().render(
        sources=sources,
        test=sources.metrics.get("test", {}),
        checks=checks(sources),
        plots=_plots(project),
        mistakes=mistakes[:MISTAKES_LISTED],
        mistakes_total=len(mistakes),
        batches=_batches(sources.drift),
        stages=sources.lock.get("stages", {}),
        params=_params(sources),
        level=sources.params.get("evaluate", {}).get("confidence_level"),
    )


def checks(sources: Sources) -> list[Check]:
    """What to know before shipping the model."""
    return [
        _check_validation(sources.validation),
        _check_generalisation(sources.metrics),
        _check_drift(sources.drift),
        _check_parameters(sources),
    ]


def _check_validation(report: Mapping[str, Any]) -> Check:
    if "success" not in report:
        return Check("unknown", "The data was not validated", "run dvc repro validate")
    results = report.get("expectations", [])
    failed = [result for result in results if not result.get("success")]
    if report["success"] and not failed:
        return Check("pass", "The data is valid", f"all {len(results)} expectations are met")
    detail = f"{len(failed)} of {len(results)} expectations are not met"
    return Check("fail", "The data is not valid", detail)


def _check_generalisation(metrics: Mapping[str, Any]) -> Check:
    """Compare validation with test accuracy: two proportions, normal approximation."""
    val, test = metrics.get("val", {}), metrics.get("test", {})
    if not all(split.get(key) for split in (val, test) for key in ("n", "accuracy")):
        return Check(
            "unknown", "Validation and test accuracy are not known", "run dvc repro evaluate"
        )
    gap = val["accuracy"] - test["accuracy"]
    pooled = (val["accuracy"] * val["n"] + test["accuracy"] * test["n"]) / (val["n"] + test["n"])
    margin = _Z * math.sqrt(pooled * (1 - pooled) * (1 / val["n"] + 1 / test["n"]))
    detail = (
        f"validation {percent(val['accuracy'])}, test {percent(test['accuracy'])}: "
        f"{100 * abs(gap):.2f} points apart; up to {100 * margin:.2f} is within sampling error"
    )
    if abs(gap) <= margin:
        return Check("pass", "Validation and test accuracy agree", detail)
    relation = "lower" if gap > 0 else "higher"
    return Check("warning", f"Test accuracy is {relation} than validation accuracy", detail)


def _check_drift(report: Mapping[str, Any]) -> Check:
    batches = report.get("batches", {})
    if not batches:
        return Check(
            "unknown",
            "No batch of handwriting was checked for drift",
            "add one with digits add PATH --name NAME",
        )
    total = "1 batch" if len(batches) == 1 else f"{len(batches):,} batches"
    drifted = sorted(name for name, batch in batches.items() if batch.get("drift"))
    if not drifted:
        return Check("pass", "No drift in new handwriting", f"{total} checked")
    detail = f"{len(drifted)} of {total}: {', '.join(drifted)}"
    return Check("warning", "Some new handwriting differs from the training data", detail)


def _check_parameters(sources: Sources) -> Check:
    if not sources.lock:
        return Check("unknown", "The origin of the results is unknown", "run dvc repro")
    changed = [row["key"] for rows in _params(sources).values() for row in rows if row["stale"]]
    if changed:
        detail = f"changed in params.yaml since: {', '.join(changed)}; run dvc repro"
        return Check("warning", "The results are stale", detail)
    return Check(
        "pass", "The results match params.yaml", "dvc.lock records the same parameter values"
    )


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


def _plots(project: Project) -> dict[str, str]:
    """Name → data URI of each plot that the evaluate stage has drawn."""
    paths = {name: project.plots / f"{name}.png" for name in _PLOTS}
    return {
        name: "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
        for name, path in paths.items()
        if path.is_file()
    }


def _read_mistakes(path: Path) -> list[dict[str, Any]]:
    """The misread images, most confident first."""
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


def _batches(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Batches by name, their tests by decreasing distance, with the lengths of bars in percent."""
    batches: Mapping[str, Mapping[str, Any]] = report.get("batches", {})
    tests = [test for batch in batches.values() for test in batch.get("tests", {}).values()]
    distances = [test.get("distance") for test in tests]
    distances += [batch.get("min_distance") for batch in batches.values()]
    longest = max([0.25, *filter(_is_number, distances)])  # the same scale for all batches

    def length(distance: Any) -> float:
        return 100 * distance / longest if _is_number(distance) else 0.0

    return [
        {
            **batch,
            "name": name,
            "mark": length(batch.get("min_distance")),
            "tests": sorted(
                (
                    {**test, "name": feature, "length": length(test.get("distance"))}
                    for feature, test in batch.get("tests", {}).items()
                ),
                key=lambda test: (-test["length"], test["name"]),
            ),
        }
        for name, batch in sorted(batches.items())
    ]


def _params(sources: Sources) -> dict[str, list[dict[str, Any]]]:
    """Section → its parameters; `stale` if dvc.lock has another value than params.yaml."""
    locked: dict[str, Any] = {}
    for stage in sources.lock.get("stages", {}).values():
        for values in stage.get("params", {}).values():
            locked |= dict(_flatten(values))
    sections: dict[str, list[dict[str, Any]]] = {}
    for key, value in _flatten(sources.params):
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(
            {
                "key": key,
                "name": name or section,
                "value": _short(value),
                "stale": key in locked and locked[key] != value,
                "locked": _short(locked.get(key)),
            }
        )
    return sections


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _template() -> jinja2.Template:
    source = importlib.resources.files("digits.reports") / "templates" / "index.html.j2"
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # reports of an older version may lack values
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda value: percent(value) if _is_number(value) else "–",
        "count": lambda value: f"{value:,}" if _is_number(value) else "–",
        "decimals": lambda value, n: f"{value:.{n}f}" if _is_number(value) else "–",
        "probability": _probability,
        "megabytes": lambda value: f"{value / 1e6:.1f} MB" if _is_number(value) else "–",
        "short": _short,
    }
    return environment.from_string(source.read_text(encoding="utf-8"))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _probability(value: Any) -> str:
    if not _is_number(value):
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _short(value: Any) -> str:
    """A value of a report or a parameter as one short line."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 1] + "…"
