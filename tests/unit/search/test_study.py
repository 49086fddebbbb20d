"""`digits search`: what it finds and writes, that it goes on after any end, and when it stops."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
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
from digits.search.study import START, Study, Trial, best, search
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
    """A project with train and val and without test; its params.yaml has all its comments."""
    project = Project(tmp_path_factory.mktemp("search"))
    text = (REPOSITORY / "params.yaml").read_text()
    text = re.sub(r"(?ms)^search:.*?(?=^\S|\Z)", SETTINGS, text)
    text = re.sub(r"(?ms)^  tuned:.*?(?=^\S|^  \w)", "\n", text)  # what was found before
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
    """Trials whose loss is known at once."""
    monkeypatch.setattr(objective, "learning", lambda *_: pretend)


@pytest.fixture(scope="module")
def whole(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project after a search that trained and that nothing interrupted."""
    root = tmp_path_factory.mktemp("whole") / "project"
    shutil.copytree(template, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        main(["search", "--trials", "2"])
    return Project(root)


def pretend(recipe: Recipe, watch: OnEpoch) -> None:
    """A loss that is lowest at a learning rate of 0.01 without rotation."""
    wrong = abs(math.log10(recipe.learning_rate / 0.01)) + recipe.augmentation.rotation / 20
    for epoch in range(1, recipe.epochs + 1):
        if watch(epoch, wrong + 1 / epoch):
            return


def settings(project: Project, **changes: Any) -> Search:
    return params.load(project.params).search.model_copy(update=changes)


def study(project: Project, **changes: Any) -> Study:
    start = params.load(project.params).models[START]
    return Study(project.search / "trials.log", "name", settings(project, **changes), start)


def begin(project: Project) -> "subprocess.Popen[str]":
    """A search in a process of its own."""
    return subprocess.Popen(
        [BINARIES / "digits", "search", "--trials", "2"],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_NUM_INTRAOP_THREADS": "1"},
    )


def epochs(project: Project) -> int:
    """How many epochs the store knows of."""
    store = project.search / "trials.log"
    return store.read_text().count('intermediate_value"') if store.exists() else 0


def lines(before: str, after: str) -> tuple[set[str], set[str]]:
    """What is gone from a text, and what is new in it."""
    old, new = set(before.splitlines()), set(after.splitlines())
    return old - new, new - old


# what it finds and writes


def test_the_best_trial_becomes_a_recipe_and_nothing_else_changes(
    whole: Project, template: Path
) -> None:
    report = json.loads(whole.search_report.read_text())
    assert [trial["number"] for trial in report["trials"]] == [1, 2]
    assert report["best"]["val_loss"] == min(trial["val_loss"] for trial in report["trials"])
    assert report["budget"]["train_count"] == 150

    loaded = params.load(whole.params)
    start = loaded.models[START]
    assert loaded.models["tuned"] == space.recipe(start, report["best"]["params"])
    before, after = (template / "params.yaml").read_text(), whole.params.read_text()
    gone, new = lines(before, after)
    assert not gone
    differing = [key for key, value in loaded.models["tuned"] if value != getattr(start, key)]
    written = 2 + len(differing) + len(Augmentation.model_fields)  # name, merge; a line a value
    assert len(after.splitlines()) - len(before.splitlines()) == written
    assert "  tuned:                  # found by 'digits search'" in "\n".join(new)


def test_the_start_is_tried_first_and_exactly(whole: Project) -> None:
    first = json.loads(whole.search_report.read_text())["trials"][0]
    start = params.load(whole.params).models[START]
    assert space.recipe(start, first["params"]) == start


def test_a_search_that_is_killed_and_interrupted_finds_the_same(
    whole: Project, project: Project
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
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert told.strip() == "digits: interrupted"
    assert not project.search_report.exists()

    main(["search", "--trials", "2"])
    assert project.search_report.read_bytes() == whole.search_report.read_bytes()
    assert project.params.read_bytes() == whole.params.read_bytes()


@pytest.mark.usefixtures("pretended")
def test_a_larger_budget_adds_only_what_is_missing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["search"])
    first = json.loads(project.search_report.read_text())["trials"]
    capsys.readouterr()
    main(["search", "--trials", "5"])
    trials = json.loads(project.search_report.read_text())["trials"]
    assert (trials[:3], len(trials)) == (first, 5)
    told = capsys.readouterr().out
    assert "going on after trial 3 of 5" in told
    assert "trial 3 of 5" not in told.replace("after trial 3 of 5", "")


@pytest.mark.usefixtures("pretended")
def test_a_budget_that_is_used_up_leaves_nothing_to_do(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["search"])
    written = {path: path.read_bytes() for path in (project.params, project.search_report)}
    main(["search"])
    assert "Nothing to do: 3 trials of 3 are finished" in capsys.readouterr().out
    assert written == {path: path.read_bytes() for path in written}


@pytest.mark.usefixtures("pretended")
def test_another_space_is_another_search(project: Project) -> None:
    main(["search"])
    text = project.params.read_text()
    project.params.write_text(text.replace("rotation: [0, 20]", "rotation: [0, 15]"))
    main(["search", "--trials", "2"])
    assert len(json.loads(project.search_report.read_text())["trials"]) == 2


@pytest.mark.usefixtures("pretended")
def test_json_is_the_report_and_a_dry_run_leaves_params_alone(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    before = project.params.read_bytes()
    main(["search", "--json", "--dry-run"])
    told = capsys.readouterr()
    assert json.loads(told.out) == json.loads(project.search_report.read_text())
    assert "trial 3 of 3" in told.err
    assert project.params.read_bytes() == before


def test_a_start_that_stays_the_best_is_written_and_said(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "learning", lambda *_: lambda _, watch: watch(1, 0.5))
    main(["search"])
    assert "No trial is better than models.accurate" in capsys.readouterr().out
    models = params.load(project.params).models
    assert models["tuned"] == models["accurate"]


# how it goes on and when it stops


def test_trials_depend_on_those_before_and_not_on_interruptions(project: Project) -> None:
    at_once: list[Trial] = []
    search(study(project, trials=6), pretend, at_once.append)
    project.search.rename(project.state / "other")
    for trials in range(1, 7):  # a process each, and each trial cut off once
        assert study(project).attempt(pretend, lambda: True) is None
        search(study(project, trials=trials), pretend, lambda _: None)
    assert study(project).trials == at_once


def test_half_a_last_line_is_mended(project: Project) -> None:
    search(study(project, trials=2), pretend, lambda _: None)
    store = project.search / "trials.log"
    store.write_bytes(store.read_bytes() + b'{"op_code": 4, "tri')
    search(study(project, trials=3), pretend, lambda _: None)
    assert [trial.number for trial in study(project).trials] == [1, 2, 3]


def test_what_is_worse_than_most_is_pruned_after_its_second_epoch(project: Project) -> None:
    losses = iter([0.3, 0.2, 9.0])

    def objective(recipe: Recipe, watch: OnEpoch) -> None:
        loss = next(losses)
        any(watch(epoch, loss) for epoch in range(1, recipe.epochs + 1))

    found = study(project, epochs=4)
    search(found, objective, lambda _: None)
    assert [trial.state for trial in found.trials] == ["complete", "complete", "pruned"]
    assert found.trials[2].epochs == 2
    assert best(found.trials) == found.trials[1]


def test_no_trial_outlasts_the_minutes(project: Project) -> None:
    now = 0.0

    def objective(recipe: Recipe, watch: OnEpoch) -> None:
        nonlocal now
        for epoch in range(1, recipe.epochs + 1):
            now += 25  # seconds
            if watch(epoch, 0.5):
                return

    found = study(project, trials=9, minutes=2.0)
    done: list[Trial] = []
    search(found, objective, done.append, clock=lambda: now)
    assert now == 125  # the third was cut off in time: it has two epochs of 25 s
    assert len(done) == 2
    search(found, objective, done.append, clock=lambda: now)
    assert [trial.number for trial in done] == [1, 2, 3, 4]


def broken(_: Recipe, watch: OnEpoch) -> None:
    watch(1, math.nan)
    raise DataError("the loss became NaN")


def silent(_: Recipe, watch: OnEpoch) -> None:
    watch(1, math.nan)


@pytest.mark.parametrize("failing", [broken, silent])
def test_a_loss_that_is_no_number_is_a_failed_trial(project: Project, failing: Objective) -> None:
    turns = iter([failing, pretend, pretend])
    found = study(project)
    search(found, lambda recipe, watch: next(turns)(recipe, watch), lambda _: None)
    assert [trial.state for trial in found.trials] == ["failed", "complete", "complete"]
    assert found.trials[0].val_loss is None


# mistakes


def fails(project: Project, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a search that fails and writes nothing."""
    before = project.params.read_bytes()
    with pytest.raises(SystemExit, match="2"):
        main(["search"])
    assert project.params.read_bytes() == before
    assert not project.search_report.exists()
    told = capsys.readouterr().err.splitlines()
    return told[-1]


def test_missing_splits_are_named(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    path = project.splits / "val-labels.npy"
    path.unlink()
    told = fails(project, capsys)
    assert told == f"digits: {path}: not found; run 'dvc repro' or 'dvc pull' to create it"


@pytest.mark.parametrize(
    ("old", "new", "told"),
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
            "'search.space.shift' is [2.0, 3.0]; expected to hold 1.5, which 'models.accurate' has",
        ),
        (
            "widths: [[8], ",
            "widths: [",
            "'search.space.widths' is [[32]]; expected to hold [8], which 'models.accurate' has",
        ),
    ],
)
def test_a_mistake_in_the_space_is_told_on_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], old: str, new: str, told: str
) -> None:
    text = project.params.read_text()
    assert old in text
    project.params.write_text(text.replace(old, new))
    assert told in fails(project, capsys)


def test_a_search_in_which_all_trials_fail_writes_nothing(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "learning", lambda *_: silent)
    assert "none of 3 trials gave a loss" in fails(project, capsys)


def test_minutes_in_which_no_trial_ends_are_named(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(recipe: Recipe, watch: OnEpoch) -> None:
        time.sleep(0.1)
        pretend(recipe, watch)

    monkeypatch.setattr(objective, "learning", lambda *_: slow)
    project.params.write_text(project.params.read_text().replace("minutes: 60", "minutes: 0.001"))
    assert "no trial ended within 0.001 minutes; raise 'search.minutes'" in fails(project, capsys)


def test_two_searches_at_once_are_refused(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with locking.exclusive(project.search / "lock", "digits search"):
        assert "digits search (pid " in fails(project, capsys)
