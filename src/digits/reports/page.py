"""The HTML report: the gate's verdict, then everything in reports/, on one page.

Equal files at an equal commit on an equal machine give an equal page: it contains no time of
making, host name or absolute path. For a missing report it shows the command that creates it.
"""

import base64
import importlib.resources
import io
import json
import os
from collections.abc import Mapping, Sequence, Set
from functools import cache
from typing import Any, TypeGuard

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from digits.core import files
from digits.core.errors import DataError, DigitsError
from digits.core.project import Project
from digits.data import handwriting
from digits.drift import words
from digits.formatting import percent
from digits.gate import pictures
from digits.gate.evidence import TEST, Evidence, figure
from digits.gate.pictures import Tile
from digits.plots import sheets
from digits.registry import history
from digits.registry.record import mapping, text
from digits.reports import gate, origin, sources, verdict
from digits.reports.comparison import images
from digits.reports.sources import Sources, without_folder
from digits.validation import checks
from digits.versioning import dvc

_EXAMPLES = 5  # of a broken expectation
DOUBTED_SHOWN = 100  # reports/labels.csv has more
MISTAKES_LISTED = 200  # rows; reports/mistakes.csv has all
_FULL_BAR = {"digits": 0.2}  # distance at which a bar of this view is full,
_FULL = 2.0  # and one of the others: in standard deviations
GLYPHS_SHOWN = 40  # images of a gallery; the sheets in reports/ have all
_PLOTS = ("confusion", "per_digit", "curves", "calibration")
_TEXT_LIMIT = 100  # characters of a value shown


def build(project: Project) -> str:
    """The page as HTML that needs no other file, no network and no script.

    Raises:
        DataError: a report has another form than the one that stages write.
    """
    try:
        return _render(project)
    except (AttributeError, KeyError, TypeError, ValueError, jinja2.TemplateError) as exc:
        raise DataError(
            f"a file in reports/ has an unexpected form ({exc!r}); run 'digits run' to recreate it"
        ) from exc


def _render(project: Project) -> str:
    found = Sources.read(project)
    judged = verdict.read(project, found)
    wrong = sources.mistakes(project.mistakes)
    versions, history_problem = _history(project)
    return _template().render(
        sources=found,
        origin=origin.read(project, found),
        verdict=judged,
        headline=gate.HEADLINES[judged.judgement.verdict],
        symbols=gate.SYMBOLS,
        changed={
            side: _gallery(tiles) | {"title": images.title(side, tiles)}
            for side, tiles in judged.tiles.items()
            if tiles
        },
        test=found.metrics.get("test", {}),
        val=found.metrics.get("val", {}),
        plots=_plots(project),
        misread=_misread(project, judged.challenger, TEST),
        mistakes=wrong[:MISTAKES_LISTED],
        mistakes_total=len(wrong),
        doubted=_doubted(project),
        expectations=_expectations(project, found.validation),
        batches=_batches(project, found, judged.challenger),
        history=versions,
        history_problem=history_problem,
        stages=found.lock.get("stages", {}),
        params=_params(found),
        level=found.params.get("evaluate", {}).get("confidence_level"),
    )


# pictures


def _plots(project: Project) -> dict[str, str]:
    """Name → data URI of each plot that the evaluate stage has drawn."""
    paths = {name: project.plots / f"{name}.png" for name in _PLOTS}
    return {name: _uri(path.read_bytes()) for name, path in paths.items() if path.is_file()}


def _misread(project: Project, evidence: Evidence | None, name: str) -> dict[str, Any]:
    """The images of a set that are misread; empty if nothing is known of them."""
    if evidence is None or name not in evidence.sets:
        return {}
    return _gallery(pictures.misread(project, evidence, name))


def _gallery(tiles: Sequence[Tile]) -> dict[str, Any]:
    """How many tiles there are, and the first of those whose image is known."""
    shown = [
        {
            "image": _uri(_png(tile.image)),
            "caption": tile.caption,
            "confidence": tile.misread.confidence,
            "set": tile.set,
            "index": tile.index,
        }
        for tile in pictures.chosen(tiles, GLYPHS_SHOWN)
        if tile.image is not None
    ]
    return {"total": len(tiles), "shown": shown}


def _doubted(project: Project) -> list[dict[str, Any]]:
    """The labels that the validate stage doubts, with their images; empty without them."""
    if not (project.doubted_labels.is_file() and project.doubted_labels_sheet.is_file()):
        return []
    try:
        rows = pd.read_csv(project.doubted_labels).to_dict("records")[:DOUBTED_SHOWN]
        images = sheets.cells(project.doubted_labels_sheet.read_bytes())
    except (DataError, ValueError):  # damaged
        return []
    return [row | {"image": _uri(_png(image))} for row, image in zip(rows, images, strict=False)]


def _expectations(project: Project, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The expectations on the data; those that are broken with examples, and their images."""
    rows = [dict(row) for row in report.get("expectations") or () if isinstance(row, Mapping)]
    for row in rows:
        found = row.get("examples")
        row["examples"] = found[:_EXAMPLES] if isinstance(found, list) else []
        row["named"] = [checks.example(one, str(row.get("column"))) for one in row["examples"]]
    broken = [row for row in rows if not row.get("success")]
    images = _ingested(project, {_id(one) for row in broken for one in row["examples"]})
    for row in broken:
        shown = zip(row["examples"], row["named"], strict=True)
        row["images"] = [(images[_id(one)], text) for one, text in shown if _id(one) in images]
    return rows


def _id(example: Any) -> int | None:
    """The id of the image that an expectation names as an example; None if it names no image."""
    found = example.get("id") if isinstance(example, Mapping) else None
    return found if isinstance(found, int) else None


def _ingested(project: Project, wanted: Set[int | None]) -> dict[int | None, str]:
    """Data URIs of images of the data set by their ids, as far as they are on this disk."""
    if not wanted - {None}:
        return {}
    try:
        index = files.read_table(project.ingested / "index.parquet")
        images = files.read_array(project.ingested / "images.npy")
        rows = np.flatnonzero(index["id"].isin(wanted - {None}))
        return {int(index["id"][row]): _uri(_png(images[row])) for row in rows}
    except (DataError, IndexError, KeyError, TypeError, ValueError):  # nothing to show
        return {}


def _png(image: np.ndarray) -> bytes:
    """A digit, uint8 (28, 28) white on black, as a picture of ink on paper."""
    png = io.BytesIO()
    Image.fromarray(255 - image).save(png, format="PNG", optimize=True)
    return png.getvalue()


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


# tables


def _history(project: Project) -> tuple[list[dict[str, Any]], str]:
    """The registered versions, newest first; or why they can't be read."""
    try:
        return history.rows(project), ""
    except DigitsError as exc:
        return [], without_folder(project, str(exc))


def _batches(project: Project, found: Sources, evidence: Evidence | None) -> list[dict[str, Any]]:
    """Batches by name with their figures, misread images, tests for drift, and pages on these."""
    reports = {text(name): one for name, one in mapping(found.drift, "batches").items()}
    return [
        {
            "figures": figures,
            "report": reports.get(name, {}),
            "tests": _tests(reports.get(name, {})),
            "misread": _misread(project, evidence, name),
            **_drift_pages(project, name, reports.get(name, {})),
        }
        for name, figures in found.record.batches.items()
    ]


def _tests(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The features of a drift check, the most significant first, with bars for their distances.

    Bars have the same scale for all batches, in percent: a few huge distances shorten no others.
    """
    rows = []
    for name, test in mapping(report, "tests").items():
        distance, p_value = figure(test, "distance") or 0.0, figure(test, "p_value")
        share = distance / _FULL_BAR.get(str(mapping(test).get("view")), _FULL)
        bar = {"length": 100 * min(share, 1.0), "cut": share > 1}
        order = (1.0 if p_value is None else p_value, -share, name)
        meaning, _ = words.feature(name)
        rows.append((order, {**mapping(test), "name": name, "meaning": meaning} | bar))
    return [row for _, row in sorted(rows, key=lambda row: row[0])]


def _drift_pages(project: Project, name: str, report: Mapping[str, Any]) -> dict[str, str]:
    """The picture of a drift check, and a link to Evidently's page on it, if they are here.

    They are no results of the pipeline: if they show another check than the report, as after
    `dvc checkout`, there are none.
    """
    try:
        pages = project.html / "drift"
        if files.read_json(pages / f"{handwriting.check_name(name)}.json") != report:
            return {}
    except DataError:  # no such file, or no name of a file
        return {}
    picture, page = pages / f"{name}.png", pages / f"{name}.html"
    found = {"picture": _uri(picture.read_bytes())} if picture.is_file() else {}
    if page.is_file():
        found["page"] = os.path.relpath(page, project.index_page.parent)
    return found


def _params(found: Sources) -> dict[str, list[dict[str, Any]]]:
    """Section → its parameters; `stale` if dvc.lock has another value than params.yaml."""
    locked: dict[str, Any] = {}
    for stage in found.lock.get("stages", {}).values():
        for values in stage.get("params", {}).values():
            locked |= dict(dvc.flatten(values))
    sections: dict[str, list[dict[str, Any]]] = {}
    for key, value in dvc.flatten(found.params):
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


# the template


@cache
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
