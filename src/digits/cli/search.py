"""`digits search`: look for a better recipe on val, and put it into params.yaml."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from digits.cli import _terminal
from digits.core import files, locking, params
from digits.core.errors import DataError, ParameterError
from digits.core.params import Recipe, Search
from digits.core.project import Project
from digits.data import dataset
from digits.data.dataset import Split
from digits.search import objective, params_file, space
from digits.search import study as search_study
from digits.search.objective import Objective
from digits.search.study import FOUND, START, Study, Trial
from digits.training.loop import OnEpoch

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command("search")
@click.option("--trials", type=click.IntRange(min=1), help="How many, those of earlier runs too.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Start nothing new after these, and cut off what runs.",
)
@click.option("--dry-run", is_flag=True, help="Leave params.yaml as it is.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document, reports/search.json."
)
def command(trials: int | None, minutes: float | None, dry_run: bool, as_json: bool) -> None:
    """Look for a better recipe than models.accurate, and write it as models.tuned.

    Each trial learns from some of the training images and is judged by its loss on val; the test
    set is not read. What is tried, and for how long, stands in params.yaml under 'search'. A search
    that was interrupted goes on where it was; one whose space, start or images have changed begins
    anew.

    Then review 'git diff params.yaml', set train.model to 'tuned', and 'digits run'.
    """
    project = Project.find()
    settings = params.load(project.params)
    if START not in settings.models:
        raise ParameterError(f"params.yaml: 'models.{START}' is missing; a search starts from it")
    changes = {"trials": trials, "minutes": minutes}
    budget = settings.search.model_copy(update={k: v for k, v in changes.items() if v is not None})

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    with (
        locking.exclusive(project.search / "lock", "digits search"),
        _interrupts() as interrupted,
    ):
        study, learn, images = _open(project, budget, settings.models[START])
        _search(study, _interruptible(learn, interrupted), say)
        found = search_study.best(study.trials)
        if not found:
            raise DataError(_nothing_found(study))
        _write(project, study, found, images, dry_run)
    if as_json:
        click.echo(json.dumps(search_study.report(study, images), indent=2))
    _tell(study, found, dry_run, say)


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Within, Ctrl-C and SIGTERM raise KeyboardInterrupt; what is yielded says whether one came.

    Python drops what is raised while it collects garbage, of which TensorFlow leaves much.
    """
    came: list[int] = []

    def interrupt(number: int, _: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def on_dropped(dropped: Any) -> None:
        if dropped.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(dropped)

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    hook, sys.unraisablehook = sys.unraisablehook, on_dropped
    try:
        yield lambda: bool(came)
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _interruptible(learn: Objective, interrupted: Callable[[], bool]) -> Objective:
    """An objective that a dropped interrupt ends after the epoch."""

    def learn_on(recipe: Recipe, watch: OnEpoch) -> None:
        def look(epoch: int, val_loss: float) -> bool:
            if interrupted():
                raise KeyboardInterrupt
            return watch(epoch, val_loss)

        learn(recipe, look)

    return learn_on


def _open(project: Project, budget: Search, start: Recipe) -> tuple[Study, Objective, int]:
    """The search's trials so far, what each does, and from how many images."""
    _terminal.silence_libraries()
    data, val = (Split.read(project.splits, name) for name in ("train", "val"))
    scale = dataset.read_scale(project.splits)
    data = objective.some(data, budget.train_count, budget.seed)
    name = objective.fingerprint(budget, start, data, val, scale)
    study = Study(project.search / "trials.log", name, budget, start)
    return study, objective.learning(data, val, scale, budget.seed), len(data.labels)


def _search(study: Study, learn: Objective, say: Callable[[str], None]) -> None:
    done = len(study.trials)
    wanted = study.params.trials
    if done >= wanted:
        say(f"Nothing to do: {done} trials of {wanted} are finished; --trials asks for more.")
        return
    if done:
        say(f"going on after trial {done} of {wanted}")
    begin = time.monotonic()

    def on_trial(trial: Trial) -> None:
        passed = (time.monotonic() - begin) / 60
        left = passed / (trial.number - done) * (wanted - trial.number)
        left = max(0.0, min(left, study.params.minutes - passed))
        say(f"{_line(trial, study)}  {passed:.1f} min, about {left:.0f} min left")

    search_study.search(study, learn, on_trial)


def _line(trial: Trial, study: Study) -> str:
    best = search_study.best(study.trials)
    told = f"best {_loss(best.val_loss)} (trial {best.number})" if best else "no best yet"
    return (
        f"trial {trial.number} of {study.params.trials}  {trial.state:8}  "
        f"val loss {_loss(trial.val_loss)}  {told}"
    )


def _loss(loss: float | None) -> str:
    return "-" if loss is None else f"{loss:.4f}"


def _nothing_found(study: Study) -> str:
    finished = len(study.trials)
    if finished:
        return f"none of {finished} trials gave a loss; look at 'search.space' in params.yaml"
    return f"no trial ended within {study.params.minutes:g} minutes; raise 'search.minutes'"


def _write(project: Project, study: Study, found: Trial, images: int, dry_run: bool) -> None:
    """reports/search.json and, unless it's a dry run, the recipe in params.yaml."""
    # newlines stay what they are
    text = project.params.read_bytes().decode()
    changed = params_file.put(text, FOUND, space.recipe(study.start, found.params), START)
    files.write_json(project.search_report, search_study.report(study, images))
    if changed != text and not dry_run:
        files.write_text(project.params, changed)


def _tell(study: Study, found: Trial, dry_run: bool, say: Callable[[str], None]) -> None:
    first = study.trials[0]
    say(
        f"best: trial {found.number}, val loss {_loss(found.val_loss)}; "
        f"models.{START} (trial 1): {_loss(first.val_loss)}"
    )
    for name, old, new in _differences(first.params, found.params):
        say(f"  {name:16}{old} → {new}")
    if found.number == 1:
        say(f"No trial is better than models.{START}; models.{FOUND} is the same.")
    if dry_run:
        say("A dry run: params.yaml is as it was; reports/search.json is written.")
    else:
        say(f"Written: models.{FOUND} in params.yaml, reports/search.json.")


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(name, old[name], value) for name, value in new.items() if old[name] != value]
