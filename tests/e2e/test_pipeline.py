"""The whole workflow on a small real project: what its user sees, start to end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import run, set_param

from digits.core import files, params
from digits.core.project import Project
from digits.data import mnist
from digits.recogniser import Recogniser

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(autouse=True)
def _own_prefect(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One database for all flows of this module: making one takes longer than a run."""
    home = tmp_path_factory.getbasetemp() / "prefect"
    monkeypatch.setenv("PREFECT_HOME", str(home))


def digits(project: Project, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run("digits", *arguments, cwd=project.root, check=False)


def ran(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """Step → result in the table that ends a run."""
    steps = (
        "fetch",
        "ingest",
        "validate",
        "preprocess",
        "train",
        "evaluate",
        "drift",
        "report",
        "verify",
    )
    rows = (line.split() for line in done.stdout.splitlines())
    known = (row for row in rows if len(row) > 1 and row[0] in steps)
    return {row[0]: row[1] for row in known if row[1] in ("ran", "unchanged")}


def hashes(project: Project) -> dict[str, str]:
    """Everything that git sees of the results."""
    paths = [project.root / "dvc.lock", *sorted(project.reports.rglob("*"))]
    paths = [f for f in paths if f.is_file() and f != project.index_page]
    return {project.relative(f): files.sha256(f) for f in paths}


def test_a_first_run_a_second_and_a_changed_parameter(
    small_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_HOME")  # the project makes its own
    first = digits(small_project, "run")
    assert first.returncode == 0, first.stdout + first.stderr
    assert set(ran(first).values()) == {"ran"}
    metrics = files.read_json(small_project.metrics)["test"]
    assert metrics["n"] == 397
    assert metrics["accuracy"] > 0.5
    assert f"accuracy         {metrics['accuracy']:.4f}" in first.stdout
    assert small_project.index_page.is_file()
    assert files.read_json(small_project.validation_report)["success"] is True
    assert set(files.read_json(small_project.drift_report)["batches"]) == {"uci-digits"}

    second = digits(small_project, "run")
    assert second.returncode == 0
    assert "Nothing to do" in second.stdout

    set_param(small_project, "models.accurate", "epochs", 1)
    third = digits(small_project, "run")
    assert third.returncode == 0, third.stdout + third.stderr
    assert {step for step, status in ran(third).items() if status == "unchanged"} == {
        "ingest",
        "validate",
        "preprocess",
    }


def test_a_forced_repro_gives_the_same_bytes(built_project: Project) -> None:
    before = hashes(built_project)
    run("dvc", "repro", "-f", "-q", cwd=built_project.root)
    assert hashes(built_project) == before


def test_invalid_data_stops_before_training(built_project: Project) -> None:
    set_param(built_project, "validate", "max_class_share", 0.1)
    done = digits(built_project, "run")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "validate failed with exit code 1" in done.stderr
    assert "each digit has 5% to 10% of train and of test" in done.stderr
    assert "preprocess" not in ran(done)
    assert files.read_json(built_project.validation_report)["success"] is False


def test_a_flipped_byte_stops_the_run_and_fetch_cures_it(built_project: Project) -> None:
    path = built_project.mnist / "train-images-idx3-ubyte"
    sound = files.sha256(path)
    damaged = bytearray(path.read_bytes())
    damaged[5000] ^= 1
    path.write_bytes(damaged)

    done = digits(built_project, "run")
    assert done.returncode == 2
    for told in (path.name, sound, files.sha256(path), "digits fetch"):
        assert told in done.stderr

    by_hand = run("dvc", "repro", cwd=built_project.root, check=False)
    assert by_hand.returncode != 0
    assert sound in by_hand.stdout + by_hand.stderr

    cured = digits(built_project, "fetch")
    assert cured.returncode == 0, cured.stderr
    assert files.sha256(path) == sound
    after = digits(built_project, "run")
    assert after.returncode == 0, after.stdout + after.stderr
    assert ran(after).get("train", "unchanged") == "unchanged"


def test_killed_while_training_leaves_nothing_and_can_go_on(built_project: Project) -> None:
    before = hashes(built_project)
    set_param(built_project, "models.accurate", "epochs", 1)
    for victim in ("flows.pipeline", "dvc repro"):
        command = [sys.executable, "-m", "digits", "run"]
        with (built_project.root / "build" / "log.txt").open("w") as log:
            top = subprocess.Popen(command, cwd=built_project.root, stdout=log, stderr=log)
        _wait_for(built_project.root, "digits.stages.train")
        known = _processes(built_project.root)
        (killed, *_) = [p for p in known if victim in " ".join(p.cmdline())]
        killed.send_signal(signal.SIGKILL)
        top.wait(60)
        _gone(known)
        Recogniser.load(built_project.root)  # the model before is still there, and whole
    again = digits(built_project, "run")
    assert again.returncode == 0, again.stdout + again.stderr
    set_param(built_project, "models.accurate", "epochs", 3)
    run("dvc", "repro", "-q", cwd=built_project.root)
    assert hashes(built_project) == before


def test_ctrl_c_ends_all_and_says_so(built_project: Project) -> None:
    command = [sys.executable, "-m", "digits", "run", "--force"]
    top = subprocess.Popen(
        command,
        cwd=built_project.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for(built_project.root, "digits.stages")
    known = _processes(built_project.root)
    top.send_signal(signal.SIGINT)
    _, stderr = top.communicate(timeout=60)
    assert top.returncode == 130
    assert "interrupted" in stderr
    _gone(known)


def test_a_second_run_says_who_holds_the_lock(built_project: Project) -> None:
    from digits.core import locking

    set_param(built_project, "evaluate", "gallery", 7)
    with locking.exclusive(built_project.state / "run.lock", "the first run"):
        done = digits(built_project, "run")
    assert done.returncode == 2
    assert f"the first run (pid {os.getpid()})" in done.stderr
    assert "--wait" in done.stderr


def test_a_typo_in_params_is_told_before_anything_runs(small_project: Project) -> None:
    text = small_project.params.read_text()
    small_project.params.write_text(text.replace("epochs:", "epoch:"))
    done = digits(small_project, "run")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "unknown key 'epoch' in models.accurate" in line
    assert not small_project.build.exists()


def test_no_data_and_no_network_names_every_source(
    small_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.rmtree(small_project.data)
    shutil.rmtree(small_project.root / ".dvc" / "cache")
    monkeypatch.setenv("DIGITS_MIRRORS", "https://127.0.0.1:9/mnist https://127.0.0.1:9/m.npz")
    monkeypatch.setenv("DIGITS_NO_NPM", "1")
    done = digits(small_project, "run")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "https://127.0.0.1:9/mnist" in done.stderr
    assert "https://127.0.0.1:9/m.npz" in done.stderr
    assert not small_project.data.exists()


def test_json_reports_are_for_machines(built_project: Project) -> None:
    for path in (built_project.metrics, built_project.drift_report, built_project.model_card):
        text = path.read_text()
        assert (
            json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            == text
        )


def test_params_pin_the_raw_files(built_project: Project) -> None:
    sums = params.load(built_project.params).fetch.sha256
    assert mnist.verify(built_project.mnist, sums) == []
    name = "train-images-idx3-ubyte"
    (damaged,) = mnist.verify(built_project.mnist, sums | {name: "0" * 64})
    assert name in damaged


def _processes(root: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(root) and process.pid != os.getpid():
                process.cmdline()
                found.append(process)
        except psutil.Error:
            continue
    return found


def _wait_for(root: Path, word: str) -> psutil.Process:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        for process in _processes(root):
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            if any(word in part for part in line) and "-m" in line:
                time.sleep(3)  # well into its work
                return process
        time.sleep(0.2)
    raise AssertionError(f"no process with {word} appeared")


def _gone(processes: list[psutil.Process]) -> None:
    _, left = psutil.wait_procs(processes, timeout=20)
    left = [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not left, [p.cmdline() for p in left]
