"""`python -m chaos registry [KILLS] [SEED]`: SIGKILL the registry's commands until there were so
many kills. `python -m chaos workflow [INJECTIONS] [SEED]`: break what a scheduled run needs, in
every state of the run, and see what comes of it; the table goes to reports/chaos.md. Exit code 1 if
anything didn't survive.
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from chaos import campaign, registry, report, world
from chaos.campaign import Result
from chaos.injections import Kind
from digits.core import files
from digits.core.project import Project


def kill_registry(wanted: int, seed: int) -> None:
    """Exit with a traceback at the first thing that didn't survive."""
    print(f"{wanted} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="digits-kills-") as folder:
        here = registry.prepare(Path(folder), random.Random(seed))
        while (done := here.kills.total()) < wanted:
            command = here.dice.choice(registry.COMMANDS)
            if registry.kill(here, command) and done % 10 == 9:
                print(f"{done + 1}: {dict(here.kills)}", flush=True)
    print(f"survived {here.kills.total()} kills: {dict(here.kills)}")


def break_workflow(wanted: int, seed: int) -> None:
    """Print a line for each injection, then the table."""
    start, results = time.monotonic(), []
    kinds, impossible = campaign.possible()
    for name in impossible:
        print(f"left out on this machine: {name}", flush=True)
    print(f"{wanted} injections, seed {seed}", flush=True)
    try:
        for result in _results(kinds, wanted, seed):
            results.append(result)
            used = f"{(time.monotonic() - start) / 60:.1f} min"
            print(f"{len(results):4}/{wanted} {used:>9}  {report.line(result)}", flush=True)
    except KeyboardInterrupt:
        print("chaos: interrupted; so far:", file=sys.stderr)
    minutes = (time.monotonic() - start) / 60
    page = report.page(results, wanted, seed, minutes, impossible)
    print(page)
    if len(results) >= wanted:
        files.write_text(Project.find().reports / "chaos.md", page)
    if len(results) < wanted or not all(result.survived for result in results):
        sys.exit("chaos: something didn't survive, or there were too few injections")


def _results(kinds: Sequence[Kind], wanted: int, seed: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="digits-chaos-") as folder:
        template = world.template(Path(folder) / "template")
        source = world.first_start(Path(folder) / "started", template)
        yield from campaign.run(source, campaign.plan(kinds, wanted, seed), seed)


def main() -> None:
    """Choose what is broken."""
    what, *numbers = sys.argv[1:]
    wanted = int(numbers[0]) if numbers else 200
    seed = int(numbers[1]) if len(numbers) > 1 else random.randrange(1_000_000)
    {"registry": kill_registry, "workflow": break_workflow}[what](wanted, seed)


if __name__ == "__main__":
    main()
