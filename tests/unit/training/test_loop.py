"""The training loop: resuming, early stopping, bad input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import NO_AUGMENTATION, REPOSITORY

from digits.core import params
from digits.core.errors import DataError
from digits.core.params import Recipe
from digits.data.dataset import Split
from digits.training import loop
from digits.training.checkpoints import Checkpoint

SCALE = (0.15, 0.3)


class Killed(Exception):
    """What ends a process halfway."""


@pytest.fixture(scope="module")
def data(real_digits: tuple[np.ndarray, np.ndarray]) -> tuple[Split, Split]:
    images, labels = real_digits
    return Split(images[:320], labels[:320]), Split(images[320:400], labels[320:400])


def recipe(**changes: Any) -> Recipe:
    chosen = params.load(REPOSITORY / "params.yaml").recipe
    small = {"widths": (4, 8, 8), "epochs": 3, "batch_size": 64, "patience": 3}
    return chosen.model_copy(update=small | changes)


def cross_entropy(model: Any, split: Split, noise: float) -> float:
    """Mean loss by the definition in `losses`, computed with NumPy."""
    probabilities = model.predict(split.images, verbose=0)
    of_labels = probabilities[np.arange(len(split.labels)), split.labels]
    costs = -np.log(of_labels * (1 - noise) + noise / 10)
    return float(costs.mean() + np.log(1 - noise + noise / 10))


def kill_after(epoch: int) -> loop.OnEpoch:
    def kill(finished: int, _: float) -> bool:
        if finished == epoch:
            raise Killed
        return False

    return kill


def weights(trained: loop.Trained) -> list[bytes]:
    return [array.tobytes() for array in trained.model.get_weights()]


@pytest.mark.parametrize(
    ("changes", "epoch"),
    [
        ({}, 1),
        ({"dropout": 0.3, "averaging": 0.9, "optimizer": "adam", "learning_rate": 0.01}, 2),
        ({"dropout": 0.3, "averaging": 0.9}, 3),
    ],
)
def test_a_killed_run_resumes_and_ends_with_the_same_weights(
    data: tuple[Split, Split], tmp_path: Path, changes: dict[str, Any], epoch: int
) -> None:
    undisturbed = loop.train(*data, SCALE, recipe(**changes), seed=1)
    checkpoint = Checkpoint(tmp_path / "1.npz")
    with pytest.raises(Killed):
        loop.train(
            *data,
            SCALE,
            recipe(**changes),
            1,
            checkpoint=checkpoint,
            on_epoch=kill_after(epoch),
        )
    lines: list[str] = []
    resumed = loop.train(
        *data, SCALE, recipe(**changes), 1, checkpoint=checkpoint, log=lines.append
    )
    assert lines[0] == f"resuming after epoch {epoch}/3"
    assert len(lines) == 1 + 3 - epoch
    assert weights(resumed) == weights(undisturbed)
    assert resumed.history == undisturbed.history


def test_a_damaged_checkpoint_is_ignored(data: tuple[Split, Split], tmp_path: Path) -> None:
    path = tmp_path / "1.npz"
    path.write_bytes(b"PK\x03\x04 half a file")
    lines: list[str] = []
    loop.train(*data, SCALE, recipe(epochs=1), 1, checkpoint=Checkpoint(path), log=lines.append)
    assert lines[0].startswith("epoch 1/1")


def test_early_stopping_keeps_the_best_epoch(data: tuple[Split, Split]) -> None:
    trained = loop.train(
        *data,
        SCALE,
        recipe(
            epochs=40,
            patience=1,
            schedule="constant",
            augmentation=NO_AUGMENTATION,
            optimizer="adam",
            learning_rate=0.02,
            label_noise=0,
        ),
        seed=1,
    )
    losses = trained.history["val_loss"]
    assert len(losses) < 40
    assert trained.best_epoch == int(np.argmin(losses)) + 1 == len(losses) - 1
    assert cross_entropy(trained.model, data[1], 0) == pytest.approx(min(losses), abs=1e-4)


@pytest.mark.parametrize("noise", [0, 0.1])
def test_validation_loss_uses_unsmoothed_labels(data: tuple[Split, Split], noise: float) -> None:
    smoothed = recipe(epochs=1, label_smoothing=0.5, label_noise=noise)
    trained = loop.train(*data, SCALE, smoothed, seed=1)
    (loss,) = trained.history["val_loss"]
    assert cross_entropy(trained.model, data[1], noise) == pytest.approx(loss, abs=1e-4)


def test_an_empty_split_is_an_error_that_names_it(data: tuple[Split, Split]) -> None:
    empty = Split(data[0].images[:0], data[0].labels[:0])
    with pytest.raises(DataError, match="the val split is empty; check 'preprocess'"):
        loop.train(data[0], empty, SCALE, recipe(), seed=1)


def test_a_loss_of_nan_is_an_error_that_names_the_learning_rate(
    data: tuple[Split, Split],
) -> None:
    broken = (0.15, 1e-38)  # pixels become infinite
    with pytest.raises(DataError, match=r"NaN in epoch 1 with 'learning_rate' 0\.03; lower it"):
        loop.train(*data, broken, recipe(learning_rate=0.03), seed=1)


def test_each_member_has_its_own_seed_and_the_first_that_of_a_single_model() -> None:
    seeds = [loop.member_seed(7, member) for member in range(1, 7)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 6
