"""The workspace of Evidently's UI: every check as a run, on a dashboard over time.

Evidently's own functions write to its files in place. A killed check would leave half a file, with
which the UI doesn't start. So runs are written here, in Evidently's form, atomically.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import uuid
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits.core import files
from digits.core.project import Project

if TYPE_CHECKING:
    from evidently.core.report import Snapshot
    from evidently.sdk.models import DashboardPanelPlot

    from digits.drift.detector import DriftResult

MAX_RUNS = 500  # with as many, the UI needs 7 s of CPU time to start, and 0.8 GB
PROJECT = uuid.UUID("6469676974732064726966740000000a")
_IDENTITY = ("n", "p_value", "estimated_accuracy", "no_digit_share", "tests", "strangest")
_MEASURED = "measured accuracy"
_METADATA = "metadata.json"  # written last
_NAME = "Drift of handwriting"
_DESCRIPTION = (
    "One point for each batch that 'digits drift' or the monitor has checked; 'Reports' lists them "
    "with their names. 'digits drift PATH --html FILE' draws all features of a batch."
)


def path(project: Project) -> Path:
    """The workspace."""
    return project.build / "evidently"


def runs(project: Project) -> list[Path]:
    """The files of all runs, the oldest first."""
    found = (path(project) / str(PROJECT) / "snapshots").glob("*.json")
    return sorted(found, key=lambda file: file.stat().st_mtime_ns)


def add(project: Project, name: str, result: DriftResult, report: Snapshot) -> None:
    """Add a check to the workspace, and its project with a dashboard if this is the first one.

    The same findings in a batch of the same name are the same run: a repeated check adds nothing,
    one with labels adds the measured accuracy. If the disk is full or read-only, that is logged.
    """
    file = _file(project, name, result.as_dict())
    document = report.dump_dict()
    for metric in document["metric_results"].values():
        metric["widget"] = None  # a copy; without it the UI starts several times faster
    try:
        if not (path(project) / str(PROJECT) / _METADATA).exists():
            _create(project)
        if file.exists():
            if result.accuracy is None:
                return
            document["timestamp"] = files.read_json(file)["timestamp"]
        _write(file, document, project.build)
        for old in runs(project)[:-MAX_RUNS]:
            old.unlink(missing_ok=True)
    except OSError as exc:
        logging.getLogger(__name__).warning("%s is not on the dashboard: %s", name, exc)


def add_measured(project: Project, name: str, found: Mapping[str, Any], accuracy: float) -> None:
    """Add the measured accuracy to the run of a check, if that is on the dashboard.

    Args:
        found: the check's `DriftResult`, as `as_dict` gave it; it may have more fields.
        accuracy: 0–1.
    """
    file = _file(project, name, found)
    if not file.exists():
        return
    document = files.read_json(file)
    (metric,) = [m for m in document["metric_results"].values() if m["display_name"] == "accuracy"]
    value = copy.deepcopy(metric["values"]["estimated"])
    value.update(value=round(100 * accuracy, 4), display_name=_MEASURED)
    value["metric_value_location"]["param"]["label"] = "measured"
    metric["values"]["measured"] = value
    for widget in document["widgets"]:
        counters = (widget["params"] or {}).get("counters") or [{}]
        if counters[0].get("label") == "estimated accuracy":
            kept = [one for one in counters if one["label"] != _MEASURED]
            shown = {"label": _MEASURED, "value": f"{accuracy:.1%}"}
            widget["params"]["counters"] = [*kept, shown]
    _write(file, document, project.build)


def serve(project: Project, port: int) -> None:
    """Run Evidently's UI on this machine until Ctrl-C or SIGTERM; it sends nothing elsewhere."""
    from evidently.ui.service.app import get_config, run

    config = get_config(host="127.0.0.1", port=port, workspace=str(path(project)))
    config.telemetry.enabled = False
    logging.disable(logging.INFO)  # a line for each request
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # a list of its components
        run(config)


def _write(path: Path, document: dict[str, Any], build: Path) -> None:
    """Write a file of the workspace; the UI notices files that are moved there from elsewhere."""
    staged = build / f".{path.name}"
    files.write_text(staged, json.dumps(document, default=_plain))
    path.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(path)


def _plain(value: Any) -> Any:
    """A value of Evidently's models in plain types, as Evidently's own encoder gives it."""
    from evidently.legacy.utils import NumpyEncoder

    return NumpyEncoder().default(value)


def _file(project: Project, name: str, found: Mapping[str, Any]) -> Path:
    """The file of a check's run. Labels aren't a part of its identity."""
    kept = {key: found[key] for key in _IDENTITY}
    run = uuid.uuid5(PROJECT, json.dumps([name, kept], sort_keys=True))
    return path(project) / str(PROJECT) / "snapshots" / f"{run}.json"


def _create(project: Project) -> None:
    """Write the project and its dashboard, which people may change in the UI afterwards."""
    from evidently.sdk.models import DashboardModel, DashboardTabModel, ProjectModel

    folder, panels = path(project) / str(PROJECT), _panels()
    tab = DashboardTabModel(title="Checks", panels=[panel.id for panel in panels])
    dashboard = DashboardModel(tabs=[tab], panels=panels).dict()
    metadata = ProjectModel(id=PROJECT, name=_NAME, description=_DESCRIPTION).dict()
    for name, document in (("dashboard.json", dashboard), (_METADATA, metadata)):
        _write(folder / name, document, project.build)


def _panels() -> list[DashboardPanelPlot]:
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import bar_plot_panel, counter_panel, line_plot_panel, text_panel

    from digits.drift import figures
    from digits.drift.change import VIEWS

    def value(of: str, label: str, legend: str) -> PanelMetric:
        labels = {"of": of, "label": label}
        return PanelMetric(metric=figures.TYPE, metric_labels=labels, legend=legend)

    estimated = value("accuracy", "estimated", "estimated")
    lowest = value("accuracy", "lowest", "lowest that is tolerated")
    return [
        text_panel(_NAME, _DESCRIPTION),
        counter_panel(
            "Last check",
            [
                value("verdict", "images", "images"),
                value("accuracy", "estimated", "estimated accuracy, %"),
                value("no digit", "share", "show no digit, %"),
            ],
        ),
        line_plot_panel(
            "Accuracy, %",
            [estimated, value("accuracy", "measured", "measured, where labels are known"), lowest],
            "Estimated without labels.",
        ),
        line_plot_panel(
            "Does it hurt? Interval of the accuracy, %",
            [
                estimated,
                value("accuracy", "low", "lower end"),
                value("accuracy", "high", "upper end"),
                lowest,
            ],
            "The estimate's 95 % interval. Harmful: surely below what is tolerated.",
        ),
        line_plot_panel(
            "Has the handwriting changed? p-value, log10",
            [
                value("p-value", "log batch", "p-value"),
                value("p-value", "log alpha", "drift if below: alpha"),
            ],
            "−2 is a p-value of 0.01: so different is 1 batch of 100 that are like the reference.",
            size="half",
        ),
        bar_plot_panel(
            "What has changed?",
            [value("changed view", view, view) for view in VIEWS],
            "The views of an image whose p-value is below alpha.",
            size="half",
            stacked=True,
        ),
        line_plot_panel(
            "Images that show no digit, %",
            [
                value("no digit", "share", "estimated"),
                value("no digit", "low", "lower end"),
                value("no digit", "high", "upper end"),
            ],
            "Estimated, with a 95 % interval.",
            size="half",
        ),
        bar_plot_panel(
            "Verdict",
            [value("verdict", "verdict", "verdict")],
            "0: no drift. 1: drift, but read as well as before. 2: harmful.",
            size="half",
        ),
    ]
