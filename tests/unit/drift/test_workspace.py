"""Evidently's workspace: what a check adds, once only, and what Evidently's UI makes of it."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import nearest_reader
import numpy as np
import pytest
from faults import pictures
from serving import free_port

from digits.core.project import Project
from digits.drift import workspace
from digits.drift.detector import DriftDetector, DriftResult

REPOSITORY = Path(__file__).parents[3]
Digits = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def drift_detector(real_digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> DriftDetector:
    return nearest_reader.detector(*real_digits, tmp_path_factory.mktemp("reference"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    return Project(tmp_path)


def recorded(project: Project) -> list[dict[str, Any]]:
    """All runs, the oldest first; NaN, which no browser reads, is an error."""
    return [
        json.loads(path.read_text(), parse_constant=pytest.fail) for path in workspace.runs(project)
    ]


def figures(run: dict[str, Any], of: str) -> dict[str, float]:
    (metric,) = [m for m in run["metric_results"].values() if m["display_name"] == of]
    return {label: value["value"] for label, value in metric["values"].items()}


def failed(run: dict[str, Any]) -> list[str]:
    """The names of tests that fail, without thresholds."""
    (tests,) = [w["params"]["tests"] for w in run["tests_widgets"] if w["type"] == "test_suite"]
    return [test["title"].split(":")[0] for test in tests if test["state"] == "fail"]


def check(
    detector: DriftDetector, project: Project, name: str, images: np.ndarray, labels: Any = None
) -> DriftResult:
    """Check a batch as the monitor does."""
    seen = detector.look(images)
    result = detector.judge(seen, labels)
    detector.add_to_dashboard(project, name, seen, result)
    return result


def test_a_run_has_the_figures_of_the_check(
    drift_detector: DriftDetector, real_digits: Digits, project: Project
) -> None:
    images, labels = (array[3::4] for array in real_digits)
    result = check(drift_detector, project, "march", images, labels)
    (run,) = recorded(project)
    assert (run["name"], run["tags"]) == ("march", ["none"])
    accuracy = figures(run, "accuracy")
    assert accuracy["estimated"] == pytest.approx(100 * result.estimated_accuracy)
    assert accuracy["measured"] == pytest.approx(100 * (result.accuracy or 0), abs=1e-3)
    assert figures(run, "p-value")["batch"] == result.p_value
    assert figures(run, "view") == result.views
    assert figures(run, "no digit")["share"] == pytest.approx(100 * result.no_digit_share)
    assert not failed(run)


def test_clothes_fail_the_tests_of_accuracy_and_change(
    drift_detector: DriftDetector, project: Project
) -> None:
    rng = np.random.default_rng(3)
    clothes = pictures.clothes(rng.integers(10, size=60), rng)
    check(drift_detector, project, "clothes", clothes)
    (run,) = recorded(project)
    assert figures(run, "verdict")["verdict"] == 2
    assert figures(run, "changed view")["picture"] == 1
    assert failed(run)[:2] == ["Read worse than tolerated, beyond doubt (1", "p-value of the batch"]
    assert "measured" not in figures(run, "accuracy")


def test_a_single_image_makes_a_run(
    drift_detector: DriftDetector, real_digits: Digits, project: Project
) -> None:
    check(drift_detector, project, "one", real_digits[0][3:4])
    assert figures(recorded(project)[0], "verdict")["images"] == 1


def test_a_repeated_check_is_the_same_run_and_labels_add_the_measured_accuracy(
    drift_detector: DriftDetector, real_digits: Digits, project: Project
) -> None:
    images, labels = (array[3:200:4] for array in real_digits)
    check(drift_detector, project, "march", images)
    (first,) = recorded(project)
    for given in (None, labels, None):
        check(drift_detector, project, "march", images, given)
    (last,) = recorded(project)
    assert last["timestamp"] == first["timestamp"]
    assert set(figures(last, "accuracy")) - set(figures(first, "accuracy")) == {"measured"}
    check(drift_detector, project, "march", images[1:])
    assert len(recorded(project)) == 2


def test_labels_that_come_later_add_the_measured_accuracy(
    drift_detector: DriftDetector, real_digits: Digits, project: Project
) -> None:
    result = check(drift_detector, project, "march", real_digits[0][3:200:4])
    for accuracy in (0.9, 0.975):
        workspace.add_measured(project, "march", result.as_dict(), accuracy)
    workspace.add_measured(project, "april", result.as_dict(), 0.5)
    (run,) = recorded(project)
    assert figures(run, "accuracy")["measured"] == 97.5
    counters = [c for w in run["widgets"] for c in (w["params"] or {}).get("counters") or []]
    assert [c["value"] for c in counters if c["label"] == "measured accuracy"] == ["97.5%"]


def test_the_oldest_runs_go(
    drift_detector: DriftDetector,
    real_digits: Digits,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workspace, "MAX_RUNS", 2)
    for name in ("a", "b", "c"):
        check(drift_detector, project, name, real_digits[0][3:30:4])
    assert [run["name"] for run in recorded(project)] == ["b", "c"]


def test_a_check_that_cannot_be_added_still_has_its_verdict(
    drift_detector: DriftDetector,
    real_digits: Digits,
    project: Project,
    caplog: pytest.LogCaptureFixture,
) -> None:
    project.build.write_text("not a folder")
    result = check(drift_detector, project, "march", real_digits[0][3:30:4])
    assert result.n
    assert "march is not on the dashboard" in caplog.text


def test_the_dashboard_serves_all_checks_and_new_ones_until_ctrl_c(
    drift_detector: DriftDetector, real_digits: Digits, project: Project
) -> None:
    images, labels = (array[3:200:4] for array in real_digits)
    results = [check(drift_detector, project, "a", images)]
    port = free_port()
    command = [sys.executable, "-c", "from digits.cli import main; main()"]
    command += ["dashboard", "--no-open", "--port", str(port)]
    ui = subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, text=True)
    try:
        assert ui.stdout is not None
        address = ui.stdout.readline().split()[1]
        server, project_id = address.split("/projects/")
        assert server == f"http://127.0.0.1:{port}"
        _wait_for(address)
        (listed,) = httpx.get(f"{server}/api/projects", timeout=60).json()
        assert (listed["id"], listed["name"]) == (project_id, "Drift of handwriting")
        assert _series(server, project_id, "estimated") == [_percent(results)]
        assert _series(server, project_id, "measured") == []

        check(drift_detector, project, "a", images, labels)
        results.append(check(drift_detector, project, "b", images[5:]))
        deadline = time.monotonic() + 60
        while len(_series(server, project_id, "estimated")[0]) < 2:
            assert time.monotonic() < deadline, "the new check doesn't appear"
            time.sleep(0.2)
        assert _series(server, project_id, "estimated") == [_percent(results)]
        assert len(_series(server, project_id, "measured")) == 1

        ui.send_signal(signal.SIGINT)
        assert ui.wait(60) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(address)
    finally:
        ui.kill()
        ui.wait()


def _percent(results: list[Any]) -> list[float]:
    return [pytest.approx(100 * result.estimated_accuracy) for result in results]


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            httpx.get(address, timeout=60).raise_for_status()
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline, "the UI doesn't start"
            time.sleep(0.2)


def _series(server: str, project_id: str, label: str) -> list[list[float]]:
    """What the dashboard's panels get from Evidently's API: the values of a figure over time."""
    dashboard = httpx.get(f"{server}/api/v2/dashboards/{project_id}", timeout=60).json()
    values = {
        json.dumps(value["metric_labels"]): value
        for panel in dashboard["panels"]
        for value in panel["values"]
        if value["metric_labels"] == {"of": "accuracy", "label": label}
    }
    keys = ("tags", "metadata", "metric", "metric_labels")
    filters = [{key: value[key] for key in keys} for value in values.values()]
    assert filters
    answer = httpx.post(
        f"{server}/api/v2/snapshots/{project_id}/data_series_batch",
        json={"series_filter": filters},
        timeout=60,
    )
    return [series["values"] for series in answer.raise_for_status().json()["series"]]
