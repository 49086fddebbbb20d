"""A few of the injections of `make chaos`, several at a time, at a faster pace."""

import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from chaos import campaign, injections, world
from chaos.campaign import Result
from chaos.injections import KINDS, Moment
from chaos.world import Run, World

from flows import services

_ROUNDS = (  # the last two with a new batch in the inbox, for which runs take longer
    ("pending", ("database locked 20 s", "SIGKILL server and worker")),
    ("running", ("SIGKILL flow", "SIGKILL worker", "SIGKILL server")),
    (
        "running",
        ("SIGTERM flow", "SIGTERM worker", "SIGTERM server", "SIGKILL everything, make server"),
    ),
)


@pytest.mark.timeout(600)
def test_scheduled_runs_survive_kills(
    built_template: Path, prefect_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each round, what was hit has ended, a later run completes, and nothing is lost."""
    monkeypatch.setattr(injections, "_GONE", 2.0)
    source = world.template(tmp_path / "template", built_template)
    here = World(tmp_path / "world", "monitor", interval=8)
    here.folder.mkdir()
    here.prepare(source)
    shutil.copytree(prefect_home, here.database.parent)
    try:
        here.start()
        _hurry(here)
        for phase, names in _ROUNDS:
            if phase == "running":
                here.drop()
            hit = _inject(here, Moment(phase, "", 0.0), names)
            _hurry(here)
            result = Result(", ".join(names), "monitor", phase, "")
            campaign.check(here, result, hit)
            result.lost += filter(None, [here.champion_problem()])
            assert result.survived, result
    finally:
        here.stop()


def _inject(here: World, when: Moment, names: Sequence[str]) -> list[Run]:
    """The runs that were hit."""
    kinds = {kind.name: kind for kind in KINDS}
    run = injections.wait_for(here, when)
    hit = here.active()
    try:
        kinds[names[0]].inject(here, run, random.Random(1))
    except TimeoutError:  # the run had just ended
        return _inject(here, when, names)
    for name in names[1:]:
        kinds[name].inject(here, run, random.Random(1))
    return hit


def _hurry(here: World) -> None:
    """Replace the keeper by one that looks every second and waits less before it ends a run."""
    keeper = here.service("keeper")
    assert keeper
    if "--pause" in keeper.cmdline():
        return
    keeper.terminate()
    psutil.wait_procs([keeper], timeout=30)
    command = [sys.executable, "-m", "flows.keeper", "--pause", "1", "--grace", "8"]
    environment = here.settings | services.server_environment(here.project, here.url)
    services.start(here.project, "keeper", command, environment)
