"""Training models with several seeds, within a time limit.

A member of an ensemble and a single model with the same recipe and seed are the same network: it
is trained once.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from digits.core.errors import DigitsError
from digits.core.params import Recipe
from digits.models import networks, weights
from digits.models.backend import keras
from digits.training import loop
from digits.training.checkpoints import Checkpoint, State
from digits.zoo.cache import CachedModel, ModelCache

_SEEDS = 3
_FEWER_SEEDS = {"mobilenet": 1}  # it takes longer to train than several of the others together


class Member(NamedTuple):
    """One network to train; its recipe has one member and one view."""

    recipe: Recipe
    seed: int


@dataclass(frozen=True)
class SeededRun:
    """A model trained with one seed."""

    name: str
    recipe: Recipe
    seed: int

    def members(self) -> list[Member]:
        """The networks to train for it; two runs of the same model share none."""
        single = self.recipe.model_copy(update={"members": 1, "views": 1})
        numbers = range(1, self.recipe.members + 1)
        return [Member(single, loop.member_seed(self.seed, number)) for number in numbers]


Results = Mapping[SeededRun, CachedModel | str]
"""The trained model, or the reason why there is none."""


def plan(recipes: Mapping[str, Recipe], first_seed: int, seeds: int | None) -> list[SeededRun]:
    """The runs in training order: seed by seed, and ensembles after all single models.

    Args:
        recipes: model name → recipe.
        seeds: how many per model; None: the default, which is lower for slow networks.
    """
    runs = [
        SeededRun(name, recipe, first_seed + i)
        for name, recipe in recipes.items()
        for i in range(seeds or _FEWER_SEEDS.get(recipe.network, _SEEDS))
    ]
    return sorted(runs, key=lambda run: (run.recipe.members > 1, run.seed))


class Trainer:
    """Trains what is not cached, until the time is up."""

    def __init__(self, cache: ModelCache, minutes: float) -> None:
        """A trainer with a time limit that counts from now."""
        self._cache = cache
        self._minutes = minutes
        self._start = time.monotonic()
        self._trained: dict[Member, CachedModel] = {}
        self._failed: dict[Member, str] = {}

    def results(self, runs: Sequence[SeededRun]) -> Results:
        """The model of each run, trained now or from the cache, or why it was not trained."""
        missing: dict[Member, str] = {}
        for member, name in ((member, run.name) for run in runs for member in run.members()):
            if member in missing or member in self._trained:
                continue
            if cached := self._cache.find(*member):
                self._trained[member] = cached
            else:
                missing[member] = name
        self._train_all(missing)
        return {run: self._result(run) for run in runs}

    def _train_all(self, missing: Mapping[Member, str]) -> None:
        """Train these members; each comes with the name of the model it is trained for."""
        for i, (member, name) in enumerate(missing.items()):
            minutes = (time.monotonic() - self._start) / 60
            if minutes >= self._minutes:
                return
            self._cache.log(
                f"training run {i + 1} of {len(missing)}: {name}, seed {member.seed}; "
                f"{minutes:.0f} of {self._minutes:g} min used{self._estimate(list(missing)[i:])}"
            )
            try:
                self._train(member)
            except DigitsError as exc:
                self._failed[member] = str(exc)

    def _train(self, member: Member) -> None:
        """Train and cache one network. If time runs out, only its checkpoint remains."""
        keras.backend.clear_session()  # layer names, which the files contain, count from 1 again
        data, root = self._cache.data, self._cache.project.root
        path = self._cache.project.zoo / "unfinished" / f"{self._cache.key(*member)}.npz"
        checkpoint = _TimedCheckpoint(path)
        deadline = self._start + 60 * self._minutes
        trained = loop.train(
            data.train,
            data.val,
            data.scale,
            member.recipe,
            member.seed,
            checkpoint=checkpoint,
            pretrained=weights.pretrained(root, member.recipe),
            on_epoch=lambda *_: time.monotonic() >= deadline,
            log=lambda line: self._cache.log(f"  {line}"),
        )
        if trained.complete:
            network = networks.joined([trained.model])
            self._trained[member] = self._cache.add(*member, network, checkpoint.seconds)
            path.unlink(missing_ok=True)

    def _result(self, run: SeededRun) -> CachedModel | str:
        members = run.members()
        if missing := [member for member in members if member not in self._trained]:
            reasons = (self._failed[member] for member in missing if member in self._failed)
            return next(reasons, "time limit")
        models = [self._trained[member] for member in members]
        if members == [Member(run.recipe, run.seed)]:
            return models[0]
        return self._cache.find(run.recipe, run.seed) or self._join(run, models)

    def _join(self, run: SeededRun, models: Sequence[CachedModel]) -> CachedModel:
        self._cache.log(f"joining members: {run.name}, seed {run.seed}")
        keras.backend.clear_session()
        members = [network for model in models for network in self._cache.networks(model)]
        network = networks.joined(members, run.recipe.views)
        seconds = sum(model.card["seconds"] for model in models)
        return self._cache.add(run.recipe, run.seed, network, seconds)

    def _estimate(self, missing: Sequence[Member]) -> str:
        """The time that all the rest takes, judged by trained models; "" if there are none."""
        if not self._trained:
            return ""
        known = {member.recipe: model.card["seconds"] for member, model in self._trained.items()}
        typical = mean(known.values())
        minutes = sum(known.get(member.recipe, typical) for member in missing) / 60
        return f", about {minutes:.{0 if minutes > 10 else 1}f} min more to train all"


class _TimedCheckpoint(Checkpoint):
    """A checkpoint that adds up the training time of an interrupted and resumed run.

    The sum is saved as part of the history, and taken out of it when the state is loaded.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._earlier = 0.0
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._earlier + time.monotonic() - self._start

    def load(self) -> State | None:
        state = super().load()
        if state:
            (self._earlier,) = state.history.pop("seconds", [0.0])
        return state

    def save(self, state: State) -> None:
        super().save(replace(state, history=state.history | {"seconds": [self.seconds]}))
