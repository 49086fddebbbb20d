"""`digits search`: results, resumption after any interruption, pruning, limits and errors."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BINARIES, REPOSITORY, write_splits

from digits.cli import main
from digits.core import locking, params
from digits.core.errors import DataError
from digits.core.params import Augmentation, Recipe, Search
from digits.core.project import Project
from digits.search import objective, space
from digits.search.objective import Objective
from digits.search.space import START
from digits.search.study import Study, Trial
from digits.training.loop import OnEpoch

SETTINGS = """\
search:
  trials: 3
  minutes: 60
  epochs: 2
  train_count: 150
  seed: 5
  startup_trials: 2
  space:
    widths: [[8], [32]]
    batch_size: [32, 64]
    learning_rate: [0.005, 0.05]
    weight_decay: [0.001, 0.1]
    dropout: [0, 0]
    label_smoothing: [0, 0.1]
    rotation: [0, 20]
    scale: [0, 0.2]
    shear: [0, 0.2]
    shift: [0, 3]
    elastic: [0, 3]
"""


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, real_digits: tuple[np.ndarray, np.ndarray]
) -> Path:
    """A project without a test set; its params.yaml has the comments of ours."""
    project = Project(tmp_path_factory.mktemp("search"))
    text = (REPOSITORY / "params.yaml").read_text()
    text = re.sub(r"(?ms)^search:.*?(?=^\S|\Z)", SETTINGS, text)
    text = re.sub(r"(?ms)^  tuned:.*?(?=^\S|^  \w)", "\n", text)  # an earlier search's result
    for key, value in (("network", "dense"), ("widths", "[8]"), ("optimizer", "adam")):
        text = re.sub(rf"(    {key}: )(\[.*?\]|\w+)", rf"\g<1>{value}", text, count=1)
    text = re.sub(r"batch_size: \d+", "batch_size: 64", text, count=1)
    project.params.write_text(text)
    (project.root / "dvc.yaml").touch()
    write_splits(project.splits, real_digits, {"train": 200, "val": 60})
    return project.root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    root = tmp_path / "project"
    shutil.copytree(template, root)
    monkeypatch.chdir(root)
    return Project(root)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that return a loss at once, without training."""
    monkeypatch.setattr(objective, "training", lambda *_: pretend)


@pytest.fixture(scope="module")
def searched(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after an uninterrupted search with real training."""
    root = tmp_path_factory.mktemp("searched") / "project"
    shutil.copytree(template, root)
    run_to_end(Project(root))
    return Project(root)


def pretend(recipe: Recipe, on_epoch: OnEpoch) -> None:
    """A loss that is lowest at a learning rate of 0.01 without rotation."""
    wrong = abs(math.log10(recipe.learning_rate / 0.01)) + recipe.augmentation.rotation / 20
    for epoch in range(1, recipe.epochs + 1):
        if on_epoch(epoch, wrong + 1 / epoch):
            return


def settings(project: Project, **changes: Any) -> Search:
    return params.load(project.params).search.model_copy(update=changes)


def study(project: Project, **changes: Any) -> Study:
    start = params.load(project.params).models[START]
    return Study(project.search / "trials.log", "name", settings(project, **changes), start)


def begin(project: Project) -> "subprocess.Popen[str]":
    """Start a search in its own process."""
    return subprocess.Popen(
        [BINARIES / "digits", "search", "--trials", "2"],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_NUM_INTRAOP_THREADS": "1"},
    )


def run_to_end(project: Project) -> None:
    process = begin(project)
    stderr = process.communicate(timeout=200)[1]
    assert process.returncode == 0, stderr


def epochs(project: Project) -> int:
    """The number of epochs in the store."""
    store = project.search / "trials.log"
    return store.read_text().count('intermediate_value"') if store.exists() else 0


def lines(before: str, after: str) -> tuple[set[str], set[str]]:
    """The lines that are only in `before`, and those that are only in `after`."""
    old, new = set(before.splitlines()), set(after.splitlines())
    return old - new, new - old


# results


def test_best_trial_is_written_as_a_recipe_and_nothing_else_changes(
    searched: Project, template: Path
) -> None:
    report = json.loads(searched.search_report.read_text())
    assert [trial["number"] for trial in report["trials"]] == [1, 2]
    assert report["best"]["val_loss"] == min(trial["val_loss"] for trial in report["trials"])
    assert report["budget"]["train_count"] == 150
    assert report["arithmetic"] == "fast"

    loaded = params.load(searched.params)
    start = loaded.models[START]
    assert loaded.models["tuned"] == space.recipe(start, report["best"]["params"])
    before, after = (template / "params.yaml").read_text(), searched.params.read_text()
    removed, added = lines(before, after)
    assert not removed
    differing = [key for key, value in loaded.models["tuned"] if value != getattr(start, key)]
    written = 2 + len(differing) + len(Augmentation.model_fields)  # name, merge; a line a value
    assert len(after.splitlines()) - len(before.splitlines()) == written
    assert "  tuned:                  # found by 'digits search'" in "\n".join(added)


def test_first_trial_is_exactly_the_start(searched: Project) -> None:
    first = json.loads(searched.search_report.read_text())["trials"][0]
    start = params.load(searched.params).models[START]
    assert space.recipe(start, first["params"]) == start


def test_killed_and_interrupted_search_has_the_same_result(
    searched: Project, project: Project
) -> None:
    process = begin(project)
    while not epochs(project) and process.poll() is None:
        time.sleep(0.01)
    process.kill()  # in its first trial, after an epoch
    process.communicate()
    assert epochs(project)

    process = begin(project)
    assert process.stdout
    assert any("trial 1 of 2" in line for line in process.stdout), process.communicate()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)  # in its second
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert stderr.strip() == "digits: interrupted"
    assert not project.search_report.exists()

    run_to_end(project)
    assert project.search_report.read_bytes() == searched.search_report.read_bytes()
    assert project.params.read_bytes() == searched.params.read_bytes()


@pytest.mark.usefixtures("pretended")
def test_larger_budget_runs_only_the_missing_trials(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["search"])
    first = json.loads(project.search_report.read_text())["trials"]
    capsys.readouterr()
    main(["search", "--trials", "5"])
    trials = json.loads(project.search_report.read_text())["trials"]
    assert (trials[:3], len(trials)) == (first, 5)
    output = capsys.readouterr().out
    assert "resuming after trial 3 of 5" in output
    assert "trial 3 of 5" not in output.replace("after trial 3 of 5", "")


@pytest.mark.usefixtures("pretended")
def test_finished_search_does_nothing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    main(["search"])
    written = {path: path.read_bytes() for path in (project.params, project.search_report)}
    main(["search"])
    assert "Nothing to do: 3 of 3 trials are finished" in capsys.readouterr().out
    assert written == {path: path.read_bytes() for path in written}


@pytest.mark.usefixtures("pretended")
def test_changed_space_starts_a_new_search(project: Project) -> None:
    main(["search"])
    text = project.params.read_text()
    project.params.write_text(text.replace("rotation: [0, 20]", "rotation: [0, 15]"))
    main(["search", "--trials", "2"])
    assert len(json.loads(project.search_report.read_text())["trials"]) == 2


@pytest.mark.usefixtures("pretended")
def test_json_is_the_report_and_dry_run_leaves_params_alone(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    before = project.params.read_bytes()
    main(["search", "--json", "--dry-run"])
    output = capsys.readouterr()
    assert json.loads(output.out) == json.loads(project.search_report.read_text())
    assert "trial 3 of 3" in output.err
    assert project.params.read_bytes() == before


def test_start_is_written_if_no_trial_is_better(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "training", lambda *_: lambda _, on_epoch: on_epoch(1, 0.5))
    main(["search"])
    assert "No trial is better than models.accurate" in capsys.readouterr().out
    models = params.load(project.params).models
    assert models["tuned"] == models["accurate"]


# resumption, pruning, limits


def test_interruptions_do_not_change_the_trials(project: Project) -> None:
    at_once: list[Trial] = []
    study(project, trials=6).search(pretend, at_once.append)
    project.search.rename(project.state / "other")
    for trials in range(1, 7):  # as if in a new process each, and each trial interrupted once
        assert study(project).run_trial(pretend, lambda: True) is None
        study(project, trials=trials).search(pretend, lambda _: None)
    assert study(project).trials == at_once


def test_incomplete_last_line_of_the_store_is_removed(project: Project) -> None:
    study(project, trials=2).search(pretend, lambda _: None)
    store = project.search / "trials.log"
    store.write_bytes(store.read_bytes() + b'{"op_code": 4, "tri')
    study(project, trials=3).search(pretend, lambda _: None)
    assert [trial.number for trial in study(project).trials] == [1, 2, 3]


def test_trial_worse_than_the_median_is_pruned_after_its_second_epoch(project: Project) -> None:
    losses = iter([0.3, 0.2, 9.0])

    def objective(recipe: Recipe, on_epoch: OnEpoch) -> None:
        loss = next(losses)
        any(on_epoch(epoch, loss) for epoch in range(1, recipe.epochs + 1))

    found = study(project, epochs=4)
    found.search(objective, lambda _: None)
    assert [trial.state for trial in found.trials] == ["complete", "complete", "pruned"]
    assert found.trials[2].epochs == 2
    assert found.best == found.trials[1]


def test_time_limit_interrupts_a_trial(project: Project) -> None:
    now = 0.0

    def objective(recipe: Recipe, on_epoch: OnEpoch) -> None:
        nonlocal now
        for epoch in range(1, recipe.epochs + 1):
            now += 25  # seconds
            if on_epoch(epoch, 0.5):
                return

    found = study(project, trials=9, minutes=2.0)
    done: list[Trial] = []
    found.search(objective, done.append, clock=lambda: now)
    assert now == 125  # the third trial was interrupted after its first epoch of 25 s
    assert len(done) == 2
    found.search(objective, done.append, clock=lambda: now)
    assert [trial.number for trial in done] == [1, 2, 3, 4]


def broken(_: Recipe, on_epoch: OnEpoch) -> None:
    on_epoch(1, math.nan)
    raise DataError("the loss became NaN")


def silent(_: Recipe, on_epoch: OnEpoch) -> None:
    on_epoch(1, math.nan)


@pytest.mark.parametrize("failing", [broken, silent])
def test_trial_without_a_finite_loss_has_failed(project: Project, failing: Objective) -> None:
    turns = iter([failing, pretend, pretend])
    found = study(project)
    found.search(lambda recipe, on_epoch: next(turns)(recipe, on_epoch), lambda _: None)
    assert [trial.state for trial in found.trials] == ["failed", "complete", "complete"]
    assert found.trials[0].val_loss is None


def test_help_does_not_import_tensorflow() -> None:
    code = (
        "import sys, digits.cli as c\n"
        "for name in ('search', 'zoo'): c.main([name, '--help'])\n"
        "assert not {'tensorflow', 'optuna', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([BINARIES / "python", "-c", code], check=True, stdout=subprocess.DEVNULL)


# errors


def fails(project: Project, capsys: pytest.CaptureFixture[str]) -> str:
    """The last line on stderr of a search that fails and writes nothing."""
    before = project.params.read_bytes()
    with pytest.raises(SystemExit, match="2"):
        main(["search"])
    assert project.params.read_bytes() == before
    assert not project.search_report.exists()
    output = capsys.readouterr().err.splitlines()
    return output[-1]


def test_missing_splits_are_named(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    path = project.splits / "val-labels.npy"
    path.unlink()
    output = fails(project, capsys)
    assert output == f"digits: {path}: not found; run 'dvc repro' or 'dvc pull' to create it"


@pytest.mark.parametrize(
    ("old", "new", "output"),
    [
        (
            "shift: [0, 3]",
            "shifts: [0, 3]",
            "unknown key 'shifts' in search.space; did you mean 'shift'?",
        ),
        ("shift: [0, 3]", "shift: [3, 0]", "'search.space.shift' is [3, 0]: expected [from, to]"),
        ("shift: [0, 3]", "shift: [0, 99]", "'search.space.shift.1' is 99"),
        (
            "shift: [0, 3]",
            "shift: [2, 3]",
            "'search.space.shift' is [2.0, 3.0]; expected it to include 1.5, as in 'models.acc",
        ),
        (
            "widths: [[8], ",
            "widths: [",
            "'search.space.widths' is [[32]]; expected it to include [8], as in 'models.accurate'",
        ),
    ],
)
def test_error_in_the_space_is_reported_on_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], old: str, new: str, output: str
) -> None:
    text = project.params.read_text()
    assert old in text
    project.params.write_text(text.replace(old, new))
    assert output in fails(project, capsys)


def test_nothing_is_written_if_all_trials_fail(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "training", lambda *_: silent)
    assert "none of 3 trials gave a loss" in fails(project, capsys)


def test_time_limit_in_which_no_trial_finishes_is_an_error(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(recipe: Recipe, on_epoch: OnEpoch) -> None:
        time.sleep(0.1)
        pretend(recipe, on_epoch)

    monkeypatch.setattr(objective, "training", lambda *_: slow)
    project.params.write_text(project.params.read_text().replace("minutes: 60", "minutes: 0.001"))
    assert "no trial finished within 0.001 minutes; raise 'search.minutes'" in fails(
        project, capsys
    )


def test_two_searches_at_once_are_refused(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with locking.exclusive(project.search / "lock", "digits search"):
        assert "digits search (pid " in fails(project, capsys)
