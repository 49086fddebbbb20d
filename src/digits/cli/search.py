"""`digits search`: search for a better recipe and write it to params.yaml."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import click

from digits.cli import _terminal
from digits.core import files, locking, params
from digits.core.errors import DataError, ParameterError
from digits.core.params import Recipe, Search
from digits.core.project import Project
from digits.models import settings
from digits.search import params_file, space
from digits.search.space import RESULT, START

if TYPE_CHECKING:
    from digits.search.objective import Objective
    from digits.search.study import Study, Trial


@click.command("search")
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    help="Number of trials, including those of earlier runs.  [default: search.trials]",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Time limit in minutes for this run.  [default: search.minutes]",
)
@click.option("--dry-run", is_flag=True, help="Don't change params.yaml.")
@_terminal.json_option
def command(trials: int | None, minutes: float | None, dry_run: bool, as_json: bool) -> None:
    """Search for a better recipe than models.accurate and write it as models.tuned.

    Each trial trains on a part of the training set and is rated by its validation loss; the test
    set is not used. Trials that are worse than the median are pruned. The search space and the
    budget are in params.yaml under 'search'.

    A search resumes where it was interrupted. It starts over if the space, models.accurate or the
    images have changed. All trials are in reports/search.json.

    Then review 'git diff params.yaml', set train.model to 'tuned', and run 'digits run'.

    \b
    Exit codes: 0  the best trial was written
                2  no trial finished, or data is missing
    \b
    Examples:
      digits search
      digits search --trials 100 --minutes 480
    """
    project = Project.find()
    parameters = params.load(project.params)
    if START not in parameters.models:
        raise ParameterError(f"params.yaml: 'models.{START}' is missing; a search starts from it")
    changes = {"trials": trials, "minutes": minutes}
    budget = parameters.search.model_copy(
        update={name: value for name, value in changes.items() if value is not None}
    )
    _terminal.silence_libraries()
    settings.choose("fast")
    log = partial(click.echo, err=as_json)
    with locking.exclusive(project.search / "lock", "digits search"):
        study, objective = _open(project, budget, parameters.models[START])
        with _exit_on_interrupt():
            _run(study, objective, log)
        finished, best = study.trials, study.best
        if not finished:
            limit = f"{budget.minutes:g} minutes"
            raise DataError(f"no trial finished within {limit}; raise 'search.minutes'")
        if not best:
            raise DataError(f"none of {len(finished)} trials gave a loss; check 'search.space'")
        files.write_json(project.search_report, study.report())
        if not dry_run:
            _write_recipe(project, space.recipe(study.start, best.params))
    if as_json:
        click.echo(json.dumps(study.report(), indent=2))
    _summarise(finished[0], best, dry_run, log)


@contextlib.contextmanager
def _exit_on_interrupt() -> Iterator[None]:
    """Within the block, Ctrl-C and SIGTERM end the process at once.

    A KeyboardInterrupt may get lost: Python ignores exceptions during garbage collection, and
    TensorFlow turns some into others. Nothing needs to be cleaned up, as a study survives a kill.
    """

    def leave(*_: object) -> None:
        print("digits: interrupted", file=sys.stderr, flush=True)
        os._exit(130)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open(project: Project, budget: Search, start: Recipe) -> "tuple[Study, Objective]":
    """The study with its trials so far, and what a trial does."""
    from digits.data import dataset
    from digits.search import objective
    from digits.search.study import Study

    data, val = (dataset.Split.read(project.splits, name) for name in ("train", "val"))
    scale = dataset.read_scale(project.splits)
    data = objective.subset(data, budget.train_count, budget.seed)
    budget = budget.model_copy(update={"train_count": len(data.labels)})
    name = objective.fingerprint(budget, start, data, val, scale)
    study = Study(project.search / "trials.log", name, budget, start)
    return study, objective.training(data, val, scale, budget.seed)


def _run(study: "Study", objective: "Objective", log: Callable[[str], None]) -> None:
    """Run the remaining trials, with one line of progress per trial."""
    done, wanted = len(study.trials), study.params.trials
    if done >= wanted:
        log(f"Nothing to do: {done} of {wanted} trials are finished; --trials N runs more.")
        return
    if done:
        log(f"resuming after trial {done} of {wanted}")
    start = time.monotonic()

    def on_trial(trial: "Trial") -> None:
        passed = (time.monotonic() - start) / 60
        left = passed / (trial.number - done) * (wanted - trial.number)
        left = max(0.0, min(left, study.params.minutes - passed))
        best = study.best
        log(
            f"trial {trial.number} of {wanted}  {trial.state:8}  val loss {_loss(trial)}  "
            + (f"best {_loss(best)} (trial {best.number})" if best else "no best yet")
            + f"  {passed:.1f} min, about {left:.0f} min left"
        )

    study.search(objective, on_trial)


def _write_recipe(project: Project, recipe: Recipe) -> None:
    text = project.params.read_bytes().decode()  # `read_text` would change line endings
    changed = params_file.put(text, RESULT, recipe, START)
    if changed != text:
        files.write_text(project.params, changed)


def _summarise(first: "Trial", best: "Trial", dry_run: bool, log: Callable[[str], None]) -> None:
    log(
        f"best: trial {best.number}, val loss {_loss(best)}; "
        f"models.{START} (trial 1): {_loss(first)}"
    )
    for name, value in best.params.items():
        if value != first.params[name]:
            log(f"  {name:16}{first.params[name]} → {value}")
    if best.number == 1:
        log(f"No trial is better than models.{START}; models.{RESULT} is the same.")
    written = "reports/search.json" if dry_run else f"models.{RESULT} in params.yaml and its report"
    log(f"Written: {written}.")


def _loss(trial: "Trial") -> str:
    return "-" if trial.val_loss is None else f"{trial.val_loss:.4f}"
