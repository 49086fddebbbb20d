"""A search for a better recipe: Optuna proposes trials, prunes them and stores them in a file.

The search space is in `space`, the training in `objective`. None of them reads the test set.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from digits.core.errors import DataError
from digits.core.params import Recipe, Search
from digits.models.backend import ARITHMETIC
from digits.search import space
from digits.search.objective import Objective

_FIRST_PRUNED = 2  # epoch in which a trial may be pruned; before, the learning rate still rises


@dataclass(frozen=True)
class Trial:
    """One recipe that was tried.

    `number` counts from 1; the first trial is the start. `params` are the recipe's values.
    `val_loss` is the lowest validation loss of all `epochs` (cross-entropy with the recipe's
    `label_noise`, in nats), None if there is none. A "pruned" trial was stopped early because it
    was worse than the median; a "failed" one gave no finite loss.
    """

    number: int
    state: Literal["complete", "pruned", "failed"]
    params: dict[str, Any]
    val_loss: float | None
    epochs: int


class Study:
    """The trials of one search, in a file that survives a killed process.

    The sampler is TPE (Bergstra et al. 2011). It is created anew for each trial, with a seed of
    the trial's number, so that proposals depend on the finished trials only: an interrupted search
    tries the same recipes as an uninterrupted one.

    The pruner is the median rule (Golovin et al. 2017): a trial stops if its best loss so far is
    worse than the median of the other trials at that epoch. Hyperband would divide some tens of
    short trials among brackets too small to compare in.
    """

    def __init__(self, store: Path, name: str, params: Search, start: Recipe) -> None:
        """Open the study in a file, or create it. The caller must hold the search's lock.

        Args:
            name: the search's fingerprint, as one file may have several studies.
            start: the recipe of the first trial.

        Raises:
            ParameterError: the start is outside the search space.
        """
        space.check(params.space, start)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.params = params
        self.start = start
        self._storage = _open(store)
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(params.startup_trials, _FIRST_PRUNED),
        )
        if not self._frozen():
            self._study.enqueue_trial(space.proposal(start))

    @property
    def trials(self) -> list[Trial]:
        """The finished trials, in order."""
        return [self._trial(frozen) for frozen in self._frozen() if frozen.state.is_finished()]

    @property
    def best(self) -> Trial | None:
        """The complete trial with the lowest validation loss, the first one of equals."""
        complete = (trial for trial in self.trials if trial.state == "complete")
        return min(complete, key=attrgetter("val_loss"), default=None)

    def search(
        self,
        objective: Objective,
        on_trial: Callable[[Trial], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Run trials until `trials` of them are finished or `minutes` have passed.

        Args:
            on_trial: called after each finished trial.
            clock: a monotonic clock, in seconds.
        """
        end = clock() + 60 * self.params.minutes
        while len(self.trials) < self.params.trials and clock() < end:
            if trial := self.run_trial(objective, lambda: clock() >= end):
                on_trial(trial)

    def run_trial(self, objective: Objective, time_is_up: Callable[[], bool]) -> Trial | None:
        """Run the next trial: one that was interrupted, if there is one, else a new one.

        Args:
            time_is_up: asked after each epoch but the last; if so, the trial is interrupted.

        Returns:
            The finished trial; None if it was interrupted.
        """
        for frozen in self._frozen():
            if frozen.state == TrialState.RUNNING:  # it was interrupted: back into the queue
                self._storage.set_trial_state_values(frozen._trial_id, TrialState.WAITING)
        entropy = (self.params.seed, len(self.trials))
        self._study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=self.params.startup_trials,
            seed=int(np.random.SeedSequence(entropy).generate_state(1)[0]),
        )
        trial = self._study.ask(space.distributions(self.params.space))
        # a resumed trial has losses from before the interruption, and gets the same ones again
        reported = set(self._frozen()[trial.number].intermediate_values)
        state = TrialState.COMPLETE

        def on_epoch(epoch: int, val_loss: float) -> bool:
            nonlocal state
            if epoch not in reported:
                trial.report(val_loss, epoch)
            if epoch < self.params.epochs:
                if trial.should_prune():
                    state = TrialState.PRUNED
                elif time_is_up():
                    state = TrialState.WAITING
            return state != TrialState.COMPLETE

        recipe = space.recipe(self.start, space.values(trial.params, self.start))
        try:
            objective(recipe.model_copy(update={"epochs": self.params.epochs}), on_epoch)
        except DataError:
            state = TrialState.FAIL
        if state == TrialState.WAITING:
            return None
        lowest = _lowest(self._frozen()[trial.number])
        if lowest is None:
            state = TrialState.FAIL
        self._study.tell(trial, lowest if state == TrialState.COMPLETE else None, state)
        return self.trials[-1]

    def report(self) -> dict[str, Any]:
        """The content of reports/search.json: budget, search space, all trials, the best one."""
        budget = self.params.model_dump(mode="json")
        return {
            "start": space.START,
            "space": budget.pop("space"),
            "budget": budget,
            "arithmetic": ARITHMETIC,
            "trials": [asdict(trial) for trial in self.trials],
            "best": asdict(self.best) if self.best else None,
        }

    def _frozen(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _trial(self, frozen: FrozenTrial) -> Trial:
        states: dict[str, Any] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        lowest = _lowest(frozen)
        return Trial(
            number=frozen.number + 1,
            state=states[frozen.state.name],
            params=space.values(frozen.params, self.start),
            val_loss=None if lowest is None else round(lowest, 6),
            epochs=len(frozen.intermediate_values),
        )


def _open(store: Path) -> optuna.storages.JournalStorage:
    store.parent.mkdir(parents=True, exist_ok=True)
    if store.exists():
        with store.open("rb+") as file:  # cut off half a last line, as a full disk leaves it
            file.truncate(file.read().rfind(b"\n") + 1)
    # the caller holds a lock; Optuna's own lock file would outlive a killed process
    return optuna.storages.JournalStorage(JournalFileBackend(str(store), threading.Lock()))


def _lowest(frozen: FrozenTrial) -> float | None:
    return min(filter(math.isfinite, frozen.intermediate_values.values()), default=None)
