"""A few of the kills of `make kills`."""

import random
from pathlib import Path

import pytest
from chaos import registry


@pytest.mark.timeout(600)
def test_every_command_of_the_registry_survives_sigkill(tmp_path: Path) -> None:
    here = registry.prepare(tmp_path, random.Random(7), gate=0)
    for command in registry.COMMANDS * 2:
        while not registry.kill(here, command):
            pass
    assert set(here.kills) >= {"register", "promote", "push", "get"}
    assert here.kills.total() == 10
