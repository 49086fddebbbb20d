"""One pipeline at a time: a lock that its holder can't leave behind, and that says who holds it."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from digits.core.errors import BusyError

_PAUSE = 0.5  # s between two tries


@contextlib.contextmanager
def exclusive(
    path: Path,
    who: str,
    wait: bool = False,
    say: Callable[[str], None] = print,
    hint: str = "",
) -> Iterator[None]:
    """Hold the lock file at `path`; the system lets go of it when this process ends, however.

    Args:
        who: what others read of the holder.
        wait: wait for the holder instead of giving up.
        hint: what else can be done, for the message.
        say: called once with a line if there is somebody to wait for.

    Raises:
        BusyError: somebody else holds it, and `wait` is off; the message says who.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if not _taken(file.fileno()):
            if not wait:
                raise BusyError(f"{_holder(path)}; try again when it has ended{hint}")
            say(f"{_holder(path)}; waiting")
            while not _taken(file.fileno()):
                time.sleep(_PAUSE)
        file.truncate(0)
        file.write(json.dumps({"who": who, "pid": os.getpid(), "since": time.time()}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        minutes = (time.time() - holder["since"]) / 60
        return f"{holder['who']} (pid {holder['pid']}) has been running for {minutes:.1f} min"
    except (ValueError, KeyError, OSError):
        return "another run of this project's pipeline holds its lock"
