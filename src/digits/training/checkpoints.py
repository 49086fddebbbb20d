"""Checkpoints: what a training run needs to resume after its last complete epoch."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digits.core import files


@dataclass(frozen=True)
class State:
    """A training run after an epoch.

    `variables` are the network's (random seeds included), `optimizer` the optimizer's, `best` the
    weights of the best epoch so far. `history` has one value per epoch of each metric, `difficulty`
    one value per image.
    """

    variables: list[np.ndarray]
    optimizer: list[np.ndarray]
    best: list[np.ndarray]
    history: dict[str, list[float]]
    difficulty: np.ndarray


def best_epoch(history: dict[str, list[float]]) -> int:
    """The epoch with the lowest validation loss, from 1."""
    return int(np.argmin(history["val_loss"])) + 1


class Checkpoint:
    """A file with the state of one training run, replaced after each epoch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> State | None:
        """The saved state; None if there is no readable one."""
        try:
            with np.load(self._path, allow_pickle=False) as file:
                lists = {
                    name: [file[f"{name}-{i}"] for i in range(int(file[f"{name}-count"]))]
                    for name in ("variables", "optimizer", "best")
                }
                history = json.loads(str(file["history"]))
                return State(**lists, history=history, difficulty=file["difficulty"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, state: State) -> None:
        """Replace the file atomically."""
        arrays: dict[str, np.ndarray] = {
            "history": np.array(json.dumps(state.history)),
            "difficulty": state.difficulty,
        }
        for name in ("variables", "optimizer", "best"):
            values: list[np.ndarray] = getattr(state, name)
            arrays[f"{name}-count"] = np.array(len(values))
            arrays |= {f"{name}-{i}": value for i, value in enumerate(values)}
        with files.replacing(self._path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
