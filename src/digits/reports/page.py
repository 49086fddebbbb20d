"""The page a reader looks at: every report of a project in one file of HTML.

It holds no date, no machine's name and no address: the same tree gives the same page. A report
that is missing leaves a section that says how to make it.
"""

import base64
import csv
import importlib.resources
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

import jinja2
import yaml

from digits.core import files
from digits.core.errors import DataError
from digits.core.project import Project
from digits.formatting import percent

MISTAKES_LISTED = 200  # rows; the whole list is in reports/mistakes.csv
_TEXT_LIMIT = 100  # characters of an observed value
_Z = 1.959964  # standard normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class Fact:
    """One thing to know before shipping."""

    state: Literal["good", "look", "bad", "unknown"]
    what: str
    detail: str


@dataclass(frozen=True)
class Sources:
    """Every document the page is made from; what could not be read is an empty one."""

    metrics: Mapping[str, Any]
    card: Mapping[str, Any]
    validation: Mapping[str, Any]
    drift: Mapping[str, Any]
    lock: Mapping[str, Any]
    params: Mapping[str, Any]
    data: Mapping[str, Any]
    problems: Mapping[str, str]  # name of a document → why it is empty

    @classmethod
    def read(cls, project: Project) -> "Sources":
        """Read what is there."""
        files = {
            "metrics": project.metrics,
            "card": project.model_card,
            "validation": project.validation_report,
            "drift": project.drift_report,
            "lock": project.root / "dvc.lock",
            "params": project.params,
            "data": project.data_pointer,
        }
        documents, problems = {}, {}
        for name, path in files.items():
            try:
                documents[name] = _document(path)
            except DataError as exc:
                documents[name] = {}
                problems[name] = str(exc).replace(str(path), project.relative(path), 1)
        return cls(**documents, problems=problems)


def build(project: Project) -> str:
    """The page as HTML that needs no other file, no network and no script."""
    sources = Sources.read(project)
    listed = _mistakes(project.reports / "mistakes.csv")
    return _template().render(
        sources=sources,
        test=sources.metrics.get("test", {}),
        facts=facts(sources),
        figures=_figures(project, sources),
        mistakes=listed[:MISTAKES_LISTED],
        mistakes_total=len(listed),
        batches=_batches(sources),
        data=_data_version(sources),
        stages=_stages(sources.lock),
        params=_params(sources),
        level=sources.params.get("evaluate", {}).get("confidence_level"),
    )


def facts(sources: Sources) -> list[Fact]:
    """What speaks for and against shipping the model."""
    return [
        _validated(sources.validation),
        _generalises(sources.metrics),
        _drifted(sources.drift),
        _current(sources),
    ]


def _validated(report: Mapping[str, Any]) -> Fact:
    if "success" not in report:
        return Fact("unknown", "Nobody has validated the data", "dvc repro validate does")
    results = report.get("expectations", [])
    failed = [result for result in results if not result.get("success")]
    if report["success"] and not failed:
        return Fact("good", "The data is valid", f"all {len(results)} expectations hold")
    return Fact(
        "bad", "The data is not valid", f"{len(failed)} of {len(results)} expectations fail"
    )


def _generalises(metrics: Mapping[str, Any]) -> Fact:
    """Validation against test accuracy: two proportions, normal approximation."""
    val, test = metrics.get("val", {}), metrics.get("test", {})
    if not all(split.get(key) for split in (val, test) for key in ("n", "accuracy")):
        return Fact("unknown", "Validation and test not compared", "dvc repro evaluate does")
    gap = val["accuracy"] - test["accuracy"]
    pooled = (val["accuracy"] * val["n"] + test["accuracy"] * test["n"]) / (val["n"] + test["n"])
    chance = _Z * math.sqrt(pooled * (1 - pooled) * (1 / val["n"] + 1 / test["n"]))
    detail = (
        f"validation {percent(val['accuracy'])}, test {percent(test['accuracy'])}: "
        f"{100 * abs(gap):.2f} points apart, chance explains up to {100 * chance:.2f}"
    )
    if abs(gap) <= chance:
        return Fact("good", "Validation and test agree", detail)
    better = "Test is worse than validation" if gap > 0 else "Test is better than validation"
    return Fact("look", better, detail)


def _drifted(report: Mapping[str, Any]) -> Fact:
    batches = report.get("batches", {})
    if not batches:
        return Fact("unknown", "No new handwriting was checked", "digits add takes a batch in")
    drifted = sorted(name for name, batch in batches.items() if batch.get("drift"))
    if not drifted:
        detail = f"in {_count(len(batches), 'batch', 'batches')} of new handwriting"
        return Fact("good", "No drift", detail)
    detail = f"{len(drifted)} of {_count(len(batches), 'batch', 'batches')}: {', '.join(drifted)}"
    return Fact("look", "Some handwriting differs from what was learned", detail)


def _current(sources: Sources) -> Fact:
    if not sources.lock:
        return Fact("unknown", "Nobody knows what made these results", "dvc repro writes dvc.lock")
    changed = [row["key"] for rows in _params(sources).values() for row in rows if row["stale"]]
    if changed:
        detail = f"changed since in params.yaml: {', '.join(changed)}; run dvc repro"
        return Fact("look", "The results are older than the parameters", detail)
    return Fact("good", "Results and parameters belong together", "dvc.lock and params.yaml agree")


def _document(path: Path) -> dict[str, Any]:
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


def _figures(project: Project, sources: Sources) -> dict[str, str]:
    """Name → data URI. What a stage has drawn is taken as it is; the rest is drawn here."""
    found = {}
    for name in ("confusion", "per_digit", "curves", "mistakes", "calibration"):
        path = project.plots / f"{name}.png"
        image = path.read_bytes() if path.is_file() else _draw(name, project, sources)
        if image:
            found[name] = "data:image/png;base64," + base64.b64encode(image).decode("ascii")
    return found


def _draw(name: str, project: Project, sources: Sources) -> bytes | None:
    from digits.plots import (
        results as result_plots,  # Matplotlib: only where a stage hasn't drawn already
    )

    test = sources.metrics.get("test", {})
    if name == "confusion" and test.get("confusion"):
        return result_plots.confusion(test["confusion"])
    if name == "per_digit" and test.get("per_digit"):
        return result_plots.per_digit(test["per_digit"])
    if name == "curves":
        history = _history(project.training_curves / "plots" / "metrics")
        return result_plots.curves(history, sources.card.get("best_epoch", 0)) if history else None
    return None  # the others need the pictures, which only their stage has


def _history(folder: Path) -> dict[str, dict[str, list[float]]]:
    """split → metric → one value an epoch, from DVCLive's tables; empty if one is missing."""
    history: dict[str, dict[str, list[float]]] = {"train": {}, "val": {}}
    for split, metrics in history.items():
        for metric in ("loss", "accuracy"):
            path = folder / split / f"{metric}.tsv"
            if not path.is_file():
                return {}
            metrics[metric] = [float(row[metric]) for row in _table(path, (metric,))]
    return history


def _mistakes(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    rows = _table(path, ("index", "confidence"))
    return sorted(rows, key=lambda row: (-float(row["confidence"]), float(row["index"])))


def _table(path: Path, numbers: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV or TSV file whose columns `numbers` hold numbers."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
        for row in rows:
            for name in numbers:
                float(row[name])
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(
            f"{path}: expected numbers in the columns {', '.join(numbers)} ({exc}); "
            "run 'dvc repro' to make it again"
        ) from exc
    return rows


def _batches(sources: Sources) -> list[dict[str, Any]]:
    """Batches by name, their tests by falling distance, with the lengths of bars in percent."""
    batches: Mapping[str, Mapping[str, Any]] = sources.drift.get("batches", {})
    tests = [test for batch in batches.values() for test in batch.get("tests", {}).values()]
    longest = max([0.25, *map(_distance, tests)])  # one scale for all, to compare batches by
    return [
        dict(batch)
        | {
            "name": name,
            "mark": _mark(batch.get("min_distance"), longest),
            "tests": _bars(batch.get("tests", {}), longest),
        }
        for name, batch in sorted(batches.items())
    ]


def _mark(least: Any, longest: float) -> float | None:
    return 100 * least / longest if _number(least) and least <= longest else None


def _bars(tests: Mapping[str, Mapping[str, Any]], longest: float) -> list[dict[str, Any]]:
    rows = [
        dict(test) | {"name": name, "length": 100 * _distance(test) / longest}
        for name, test in tests.items()
    ]
    return sorted(rows, key=lambda row: (-row["length"], row["name"]))


def _distance(test: Mapping[str, Any]) -> float:
    distance = test.get("distance")
    return distance if _number(distance) else 0.0


def _data_version(sources: Sources) -> Mapping[str, Any]:
    outs = sources.data.get("outs") or [{}]
    first: Mapping[str, Any] = outs[0]
    return first


def _stages(lock: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "outs": [
                {"path": out.get("path"), "md5": str(out.get("md5", ""))[:10]}
                for out in stage.get("outs", [])
            ],
        }
        for name, stage in lock.get("stages", {}).items()
    ]


def _params(sources: Sources) -> dict[str, list[dict[str, Any]]]:
    """Section → its parameters; `stale` where dvc.lock has another value than params.yaml."""
    locked: dict[str, Any] = {}
    for stage in sources.lock.get("stages", {}).values():
        for values in stage.get("params", {}).values():
            locked |= dict(_flat(values))
    sections: dict[str, list[dict[str, Any]]] = {}
    for key, value in _flat(sources.params):
        stale = key in locked and locked[key] != value
        section, _, name = key.partition(".")
        row = {"key": key, "name": name or section, "value": _plain(value), "stale": stale}
        sections.setdefault(section, []).append(row | {"was": _plain(locked.get(key))})
    return sections


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _template() -> jinja2.Template:
    source = importlib.resources.files("digits.reports") / "templates" / "index.html.j2"
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # a report of an older version may lack a figure
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda value: percent(value) if _number(value) else "–",
        "count": lambda value: f"{value:,}" if _number(value) else "–",
        "decimals": lambda value, n: f"{value:.{n}f}" if _number(value) else "–",
        "probability": _probability,
        "megabytes": lambda value: f"{value / 1e6:.1f} MB" if _number(value) else "–",
        "plain": _plain,
    }
    return environment.from_string(source.read_text(encoding="utf-8"))


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _probability(value: Any) -> str:
    if not _number(value):
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _plain(value: Any) -> str:
    """A value of a report or a parameter in one short line."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 1] + "…"


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
