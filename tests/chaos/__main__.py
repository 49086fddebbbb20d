"""`python -m chaos [KILLS] [SEED]`: kill the registry's commands until there were so many kills."""

import random
import sys
import tempfile
from pathlib import Path

from chaos import registry


def main() -> None:
    """Exit with a traceback at the first thing that didn't survive."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1_000_000)
    print(f"{wanted} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="digits-kills-") as folder:
        here = registry.prepare(Path(folder), random.Random(seed))
        while (done := here.kills.total()) < wanted:
            command = here.dice.choice(registry.COMMANDS)
            if registry.kill(here, command) and done % 10 == 9:
                print(f"{done + 1}: {dict(here.kills)}", flush=True)
    print(f"survived {here.kills.total()} kills: {dict(here.kills)}")


if __name__ == "__main__":
    main()
