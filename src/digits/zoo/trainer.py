"""Draws of models, each from another random start, and their trainings within a budget of time."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from digits.core import files
from digits.core.errors import DataError, DigitsError
from digits.core.params import Recipe
from digits.core.project import Project
from digits.data.dataset import Dataset
from digits.models import networks, weights
from digits.models.backend import keras
from digits.training import loop
from digits.training.checkpoints import Checkpoint, State
from digits.zoo.cache import Kept, Shelf

_SEEDS = 3
_FEWER_SEEDS = {"mobilenet": 1}  # one training of it takes longer than several of the others


@dataclass(frozen=True)
class Training:
    """One network to train: `recipe` has one member and one view."""

    recipe: Recipe
    seed: int


@dataclass(frozen=True)
class Draw:
    """A model from one random start."""

    name: str
    recipe: Recipe
    seed: int

    def trainings(self) -> list[Training]:
        """What has to be trained for it; no two draws of a model share a member."""
        alone = self.recipe.model_copy(update={"members": 1, "views": 1})
        members = range(1, self.recipe.members + 1)
        return [Training(alone, loop.member_seed(self.seed, member)) for member in members]


def plan(recipes: Mapping[str, Recipe], first: int, seeds: int | None) -> Iterator[Draw]:
    """In the order of training: each model once before any is twice, ensembles after the rest."""
    counts = {
        name: seeds or _FEWER_SEEDS.get(recipe.network, _SEEDS) for name, recipe in recipes.items()
    }
    for ensembles in (False, True):
        for place in range(max(counts.values())):
            for name, recipe in recipes.items():
                if (recipe.members > 1) == ensembles and place < counts[name]:
                    yield Draw(name, recipe, first + place)


class Trainer:
    """Trains what isn't kept, until the budget is used up."""

    def __init__(
        self,
        project: Project,
        data: Dataset,
        store: Shelf,
        minutes: float,
        say: Callable[[str], None],
    ) -> None:
        """A trainer whose budget of minutes starts now; `say` is called with lines of progress."""
        self._project, self._data, self._store, self._say = project, data, store, say
        self._minutes = minutes
        self._start = time.monotonic()
        self._kept: dict[Training, Kept] = {}
        self._failed: dict[Training, str] = {}

    def results(self, draws: Sequence[Draw]) -> dict[Draw, Kept | str]:
        """Each draw's network, or why there is none; those not trained in time say "budget"."""
        owners: dict[Training, str] = {}
        for draw in draws:
            for task in draw.trainings():
                owners.setdefault(task, draw.name)
        for task in owners:
            if found := self._store.find(task.recipe, task.seed):
                self._kept[task] = found
        self._train_all({t: name for t, name in owners.items() if t not in self._kept})
        return {draw: self._result(draw) for draw in draws}

    def _train_all(self, missing: Mapping[Training, str]) -> None:
        for place, (task, name) in enumerate(missing.items()):
            if self._used() >= self._minutes:
                return
            self._say(
                f"training {place + 1} of {len(missing)}: {name}, seed {task.seed}; "
                f"{self._used():.0f} of {self._minutes:g} min used"
                f"{self._left(list(missing)[place:])}"
            )
            try:
                self._train(task)
            except DigitsError as exc:
                self._failed[task] = str(exc)

    def _train(self, task: Training) -> None:
        """Train one network and keep it; if the budget ends before, keep the checkpoint alone."""
        _forget_networks()
        checkpoint = _TimedCheckpoint(self._store.unfinished(task.recipe, task.seed))
        deadline = self._start + 60 * self._minutes
        trained = loop.train(
            self._data.train,
            self._data.val,
            self._data.scale,
            task.recipe,
            task.seed,
            checkpoint=checkpoint,
            pretrained=weights.pretrained(self._project.root, task.recipe),
            on_epoch=lambda *_: time.monotonic() >= deadline,
            log=lambda line: self._say(f"  {line}"),
        )
        if trained.complete:
            network = networks.joined([trained.model])
            self._kept[task] = self._store.put(task.recipe, task.seed, network, checkpoint.seconds)
            checkpoint.remove()

    def _result(self, draw: Draw) -> Kept | str:
        tasks = draw.trainings()
        if lacking := [task for task in tasks if task not in self._kept]:
            return next((self._failed[task] for task in lacking if task in self._failed), "budget")
        parts = [self._kept[task] for task in tasks]
        if tasks == [Training(draw.recipe, draw.seed)]:
            return parts[0]
        return self._store.find(draw.recipe, draw.seed) or self._join(draw, parts)

    def _join(self, draw: Draw, parts: Sequence[Kept]) -> Kept:
        self._say(f"joining: {draw.name}, seed {draw.seed}")
        _forget_networks()
        members = [member for part in parts for member in self._store.members(part)]
        network = networks.joined(members, draw.recipe.views)
        seconds = sum(part.card["seconds"] for part in parts)
        return self._store.put(draw.recipe, draw.seed, network, seconds)

    def _used(self) -> float:
        return (time.monotonic() - self._start) / 60

    def _left(self, missing: Sequence[Training]) -> str:
        """How long the rest takes, judged by what is kept; nothing if nothing is."""
        known: dict[Recipe, list[float]] = {}
        for task, kept in self._kept.items():
            known.setdefault(task.recipe, []).append(kept.card["seconds"])
        if not known:
            return ""
        means = {recipe: statistics.mean(seconds) for recipe, seconds in known.items()}
        typical = statistics.mean(means.values())
        minutes = sum(means.get(task.recipe, typical) for task in missing) / 60
        return f", all would take about {minutes:.{0 if minutes > 10 else 1}f} min more"


class _TimedCheckpoint(Checkpoint):
    """A checkpoint that knows how long its training has taken, over all its runs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._files = (path, path.with_suffix(".json"))
        self._before = 0.0
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._start

    def load(self) -> State | None:
        state = super().load()
        if state:
            try:
                self._before = float(files.read_json(self._files[1])["seconds"])
            except (DataError, KeyError, TypeError, ValueError):
                return None
        return state

    def save(self, state: State) -> None:
        files.write_json(self._files[1], {"seconds": self.seconds})
        super().save(state)

    def remove(self) -> None:
        for file in self._files:
            file.unlink(missing_ok=True)


def _forget_networks() -> None:
    """Free memory, and let layers be named, hence weights written, as if nothing came before."""
    keras.backend.clear_session()
