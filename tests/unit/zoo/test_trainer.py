"""Training time over interruptions; training itself is tested in test_benchmark.py."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from digits.training.checkpoints import State
from digits.zoo import trainer


def test_training_time_adds_up_over_interruptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: clock.now))
    path = tmp_path / "1.npz"
    state = State([np.ones(2)], [], [], {"val_loss": [0.5]}, np.zeros(3))
    first = trainer._TimedCheckpoint(path)
    clock.now += 5
    first.save(state)
    clock.now += 60  # not trained
    second = trainer._TimedCheckpoint(path)
    loaded = second.load()
    assert loaded is not None
    assert loaded.history == state.history
    clock.now += 2
    assert second.seconds == 7
