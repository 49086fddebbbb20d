"""The command `digits run` on a small project, as its user sees it: results, failures, kills."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import run, set_param
from repository import dvc

from digits.core import files, locking, params
from digits.core.params import STAGES
from digits.core.project import Project
from digits.data import mnist
from digits.recogniser import Recogniser

STEPS = ("fetch", *STAGES, "gate", "report", "verify")


@pytest.fixture
def _prefect_server(monkeypatch: pytest.MonkeyPatch, prefect_api: str) -> None:
    """Runs are recorded on a server that is up."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)


@pytest.fixture
def _own_prefect_server(monkeypatch: pytest.MonkeyPatch, prefect_home: Path) -> None:
    """Each run starts a server of its own, the default."""
    monkeypatch.setenv("PREFECT_HOME", str(prefect_home))


def digits(project: Project, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run("digits", *arguments, cwd=project.root, check=False)


def step_statuses(output: str) -> dict[str, str]:
    """Step → result, read from the table that `digits run` ends with."""
    rows = (line.split() for line in output.splitlines())
    known = (row for row in rows if len(row) > 1 and row[0] in STEPS)
    return {row[0]: row[1] for row in known if row[1] in ("ran", "unchanged")}


def result_hashes(project: Project) -> dict[str, str]:
    """Path → SHA-256 of dvc.lock and of all reports that are in git."""
    paths = [project.root / "dvc.lock", *sorted(project.reports.rglob("*"))]
    paths = [f for f in paths if f.is_file() and f != project.index_page]
    return {project.relative(f): files.sha256(f) for f in paths}


def test_first_run_makes_all_results_and_second_run_has_nothing_to_do(
    built_project: Project, first_run: str
) -> None:
    data_is_there = {"fetch": "unchanged"}
    assert step_statuses(first_run) == dict.fromkeys(STEPS, "ran") | data_is_there
    metrics = files.read_json(built_project.metrics)["test"]
    assert metrics["n"] == 397
    assert metrics["accuracy"] > 0.5
    assert f"accuracy         {metrics['accuracy']:.4f}" in first_run
    assert built_project.index_page.is_file()
    assert files.read_json(built_project.validation_report)["success"] is True
    assert set(files.read_json(built_project.drift_report)["batches"]) == {"uci-digits"}

    second = digits(built_project, "run")
    assert second.returncode == 0
    assert "Nothing to do" in second.stdout


def test_a_changed_parameter_reruns_only_what_depends_on_it(fewer_epochs_run: str) -> None:
    statuses = step_statuses(fewer_epochs_run)
    unchanged = {step for step, status in statuses.items() if status == "unchanged"}
    assert unchanged == {"fetch", "ingest", "validate", "preprocess"}
    assert statuses.keys() == set(STEPS)


@pytest.mark.usefixtures("_prefect_server")
def test_invalid_data_stops_the_run_before_training(built_project: Project) -> None:
    set_param(built_project, "validate", "max_mean_intensity", 0.1)
    finished = digits(built_project, "run")
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert "validate failed with exit code 1" in finished.stderr
    assert "ink is white on black: mean intensity at most 0.1: broken by" in finished.stderr
    assert "preprocess" not in step_statuses(finished.stdout)
    assert files.read_json(built_project.validation_report)["success"] is False


@pytest.mark.usefixtures("_prefect_server")
def test_flipped_byte_stops_the_run_and_fetch_repairs_it(built_project: Project) -> None:
    path = built_project.mnist / "train-images-idx3-ubyte"
    expected = files.sha256(path)
    damaged = bytearray(path.read_bytes())
    damaged[5000] ^= 1
    path.write_bytes(damaged)

    finished = digits(built_project, "run")
    assert finished.returncode == 2
    for part in (path.name, expected, files.sha256(path), "digits fetch"):
        assert part in finished.stderr

    repro = run("dvc", "repro", cwd=built_project.root, check=False)
    assert repro.returncode != 0
    assert expected in repro.stdout + repro.stderr

    fetched = digits(built_project, "fetch")
    assert fetched.returncode == 0, fetched.stderr
    assert files.sha256(path) == expected
    repaired = digits(built_project, "run")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert step_statuses(repaired.stdout)["train"] == "unchanged"


@pytest.mark.usefixtures("_own_prefect_server")
def test_killed_run_ends_all_its_processes_and_the_next_run_resumes(
    built_project: Project,
) -> None:
    before = result_hashes(built_project)
    set_param(built_project, "models.accurate", "epochs", 200)
    log = built_project.build / "log.txt"
    for victim in ("flows.pipeline", "dvc repro"):
        with log.open("w") as output:
            top = subprocess.Popen(
                [sys.executable, "-m", "digits", "run"],
                cwd=built_project.root,
                stdout=output,
                stderr=output,
            )
        _wait_until(lambda: bool(re.search(r"epoch \d+/200 ", log.read_text())))
        processes = _processes_in(built_project.root)
        (killed, *_) = [p for p in processes if victim in " ".join(p.cmdline())]
        killed.send_signal(signal.SIGKILL)
        top.wait(60)
        _assert_ended(processes)
        Recogniser.load(built_project.root)  # the previous model is still complete
    assert "resuming after epoch" in log.read_text()

    # what the killed runs left changes no byte when training and all after it is done anew
    set_param(built_project, "models.accurate", "epochs", 4)
    dvc(built_project.root, "repro", "--force", "--quiet", "--downstream", "train")
    assert result_hashes(built_project) == before


@pytest.mark.usefixtures("_own_prefect_server")
def test_ctrl_c_ends_all_processes_and_exits_with_130(built_project: Project) -> None:
    top = subprocess.Popen(
        [sys.executable, "-m", "digits", "run", "--force"],
        cwd=built_project.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_until(lambda: _is_running(built_project.root, "digits.stages"))
    time.sleep(1)  # let the stage start working
    processes = _processes_in(built_project.root)
    top.send_signal(signal.SIGINT)
    _, stderr = top.communicate(timeout=60)
    assert top.returncode == 130
    assert "interrupted" in stderr
    _assert_ended(processes)


@pytest.mark.usefixtures("_prefect_server")
def test_second_run_at_the_same_time_names_the_process_that_holds_the_lock(
    built_project: Project,
) -> None:
    set_param(built_project, "evaluate", "gallery", 7)
    with locking.exclusive(built_project.state / "run.lock", "the first run"):
        finished = digits(built_project, "run")
    assert finished.returncode == 2
    assert f"the first run (pid {os.getpid()})" in finished.stderr
    assert "--wait" in finished.stderr


def test_typo_in_params_is_reported_before_anything_runs(small_project: Project) -> None:
    text = small_project.params.read_text()
    small_project.params.write_text(text.replace("epochs:", "epoch:"))
    finished = digits(small_project, "run")
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert "unknown key 'epoch' in models.accurate" in line
    assert not small_project.build.exists()


@pytest.mark.usefixtures("_prefect_server")
def test_without_data_and_network_every_source_is_named(
    small_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(small_project.data)
    shutil.rmtree(small_project.root / ".dvc" / "cache")
    monkeypatch.setenv("DIGITS_MIRRORS", "https://127.0.0.1:9/mnist https://127.0.0.1:9/m.npz")
    monkeypatch.setenv("DIGITS_NO_NPM", "1")
    finished = digits(small_project, "run")
    assert finished.returncode == 2, finished.stdout + finished.stderr
    assert "https://127.0.0.1:9/mnist" in finished.stderr
    assert "https://127.0.0.1:9/m.npz" in finished.stderr
    assert not small_project.data.exists()


def test_json_reports_are_sorted_and_indented(built_project: Project) -> None:
    for path in (built_project.metrics, built_project.drift_report, built_project.model_card):
        text = path.read_text()
        expected = json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False)
        assert text == expected + "\n"


def test_params_pin_the_raw_files(built_project: Project) -> None:
    sums = params.load(built_project.params).fetch.sha256
    assert mnist.verify(built_project.mnist, sums) == []
    name = "train-images-idx3-ubyte"
    (damaged,) = mnist.verify(built_project.mnist, sums | {name: "0" * 64})
    assert name in damaged


def _processes_in(root: Path) -> list[psutil.Process]:
    """Other processes whose working directory is `root`."""
    processes = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(root) and process.pid != os.getpid():
                process.cmdline()  # raises if it has ended
                processes.append(process)
        except psutil.Error:
            continue
    return processes


def _is_running(root: Path, module: str) -> bool:
    """Whether `python -m` runs a module of this name, or of this package, in `root`."""
    for process in _processes_in(root):
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if "-m" in line and any(module in part for part in line):
            return True
    return False


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, "not within 180 s"
        time.sleep(0.2)


def _assert_ended(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=20)
    alive = [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not alive, [p.cmdline() for p in alive]
