"""Looking for a better recipe: which trials there were, which comes next, when it ends.

Optuna proposes and keeps the trials, in a text file whose path it is given. What is tried stands in
`space`, what a trial does in `objective`; neither knows of a test split.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from digits.core.errors import DataError
from digits.core.params import Recipe, Search
from digits.search import space
from digits.search.objective import Objective

if TYPE_CHECKING:
    import optuna

START = "accurate"  # of `models`: where a search starts
FOUND = "tuned"  # and where it puts what it found
_UNPRUNED = 1  # epochs: the learning rate still rises, and what is distorted is learned slowly


@dataclass(frozen=True)
class Trial:
    """One recipe that was tried.

    `number` counts from 1; the first is the start. `params` is what it sets in the recipe.
    `val_loss` (cross-entropy with the recipe's `label_noise`, nats) is the lowest after any of its
    `epochs`; None: there is none.
    A "pruned" trial was stopped as worse than most; the loss of a "failed" one was no number.
    """

    number: int
    state: Literal["complete", "pruned", "failed"]
    params: dict[str, Any]
    val_loss: float | None
    epochs: int


class Study:
    """The trials of one search, in a file that a killed process leaves sound.

    The sampler is TPE (Bergstra et al. 2011), made anew for each trial from seed and number: what
    is tried depends on the trials before alone, so that a search which was interrupted tries what
    it would have tried anyway.

    The pruner is the median rule (Golovin et al. 2017): a trial is stopped if its best loss so far
    is worse than the median of the others' at that epoch. Hyperband would deal some tens of trials
    of a few epochs out to brackets, each too small to compare in.
    """

    def __init__(self, store: Path, name: str, params: Search, start: Recipe) -> None:
        """Open the file, or make it. The caller sees to it that nobody else has it open.

        Args:
            name: the search's fingerprint; in the same file, others have trials of their own.
            start: the recipe that the first trial tries.

        Raises:
            ParameterError: the start lies outside the space.
        """
        import optuna

        space.check(params.space, start, START)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.params = params
        self.start = start
        self._storage = _open(store)
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(params.startup_trials, n_warmup_steps=_UNPRUNED + 1),
        )
        self._queue_again()
        if not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial(space.proposal(start))

    @property
    def trials(self) -> list[Trial]:
        """Those that are finished, in order."""
        found = self._study.get_trials(deepcopy=False)
        return [self._trial(frozen) for frozen in found if frozen.state.is_finished()]

    def attempt(self, objective: Objective, late: Callable[[], bool]) -> Trial | None:
        """Run the next trial: one that was cut off if there is one, else a new one.

        Args:
            late: whether time is up; then the trial is cut off after its epoch.

        Returns:
            The trial, None if it was cut off.
        """
        from optuna.trial import TrialState

        self._study.sampler = self._sampler()
        trial = self._study.ask(space.distributions(self.params.space))
        recipe = space.recipe(self.start, space.values(trial.params, self.start))
        watch = _Watch(trial, self.params.epochs, late)
        failed = False
        try:
            objective(recipe.model_copy(update={"epochs": self.params.epochs}), watch)
        except DataError:
            failed = True
        if watch.cut:
            self._queue_again()
            return None
        lowest = _lowest(self._study.trials[trial.number])
        if failed or lowest is None:
            self._study.tell(trial, state=TrialState.FAIL)
        elif watch.pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, lowest)
        return self.trials[-1]

    def _queue_again(self) -> None:
        """Let what was cut off, by a kill or because time was up, wait for another turn."""
        from optuna.trial import TrialState

        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._storage.set_trial_state_values(frozen._trial_id, TrialState.WAITING)

    def _sampler(self) -> "optuna.samplers.TPESampler":
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        known = self._study.get_trials(deepcopy=False)
        waiting = (frozen.number for frozen in known if frozen.state == TrialState.WAITING)
        entropy = (self.params.seed, next(waiting, len(known)))
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        return TPESampler(n_startup_trials=self.params.startup_trials, seed=seed)

    def _trial(self, frozen: "optuna.trial.FrozenTrial") -> Trial:
        states: dict[str, Any] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        lowest = _lowest(frozen)
        return Trial(
            frozen.number + 1,
            states[frozen.state.name],
            space.values(frozen.params, self.start),
            None if lowest is None else round(lowest, 6),
            len(frozen.intermediate_values),
        )


class _Watch:
    """Tells Optuna of each epoch and the training when to stop; a last epoch is never too late."""

    def __init__(self, trial: "optuna.Trial", epochs: int, late: Callable[[], bool]) -> None:
        self._trial = trial
        self._epochs = epochs
        self._late = late
        # in its turn before, if it was cut off: the same training had the same losses
        self._told = set(trial.study.trials[trial.number].intermediate_values)
        self.pruned = False
        self.cut = False

    def __call__(self, epoch: int, val_loss: float) -> bool:
        if epoch not in self._told:
            self._trial.report(val_loss, epoch)
        if epoch < self._epochs:
            self.pruned = self._trial.should_prune()
            self.cut = not self.pruned and self._late()
        return self.pruned or self.cut


def search(
    study: Study,
    objective: Objective,
    on_trial: Callable[[Trial], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run trials until as many are finished as `trials` says or `minutes` have passed.

    Args:
        on_trial: called with each that is finished.
        clock: seconds, from any beginning.
    """
    end = clock() + 60 * study.params.minutes
    while len(study.trials) < study.params.trials and clock() < end:
        trial = study.attempt(objective, lambda: clock() >= end)
        if trial:
            on_trial(trial)


def best(trials: Iterable[Trial]) -> Trial | None:
    """The complete trial with the lowest validation loss, the first of equals."""
    complete = (trial for trial in trials if trial.state == "complete")
    return min(complete, key=_loss, default=None)


def report(study: Study, images: int) -> dict[str, Any]:
    """What reports/search.json holds: budget, space, every trial and the best; no dates.

    Args:
        images: how many each trial learned from.
    """
    trials = study.trials
    found = best(trials)
    budget = study.params.model_dump(mode="json") | {"train_count": images}
    return {
        "start": START,
        "space": budget.pop("space"),
        "budget": budget,
        "trials": [asdict(trial) for trial in trials],
        "best": asdict(found) if found else None,
    }


class _Alone:
    """A lock for a file that nobody else has open: Optuna's own would outlive a killed process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _open(store: Path) -> "optuna.storages.JournalStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    store.parent.mkdir(parents=True, exist_ok=True)
    if store.exists():
        _mend(store)
    return JournalStorage(JournalFileBackend(str(store), lock_obj=_Alone()))


def _mend(store: Path) -> None:
    """Cut off half a last line, as a full disk leaves it: Optuna would write on behind it."""
    with store.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def _loss(trial: Trial) -> float:
    return math.inf if trial.val_loss is None else trial.val_loss


def _lowest(frozen: "optuna.trial.FrozenTrial") -> float | None:
    return min(filter(math.isfinite, frozen.intermediate_values.values()), default=None)
