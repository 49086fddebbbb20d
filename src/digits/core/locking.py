"""File locks that are released when their holder ends and that tell others who holds them."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from digits.core.errors import BusyError

_POLL = 0.5  # s between attempts


@contextlib.contextmanager
def exclusive(
    path: Path,
    holder: str,
    wait: bool = False,
    on_wait: Callable[[str], None] = print,
    hint: str = "",
) -> Iterator[None]:
    """Hold the lock file at `path`; the system releases it however this process ends.

    Args:
        holder: what error messages call this process.
        wait: wait until the lock is free instead of raising an error.
        on_wait: called once with a line that names the current holder.
        hint: added to the error message.

    Raises:
        BusyError: another process holds the lock and `wait` is off.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if not _acquire(file.fileno()):
            if not wait:
                raise BusyError(f"{_describe_holder(path)}; try again when it has ended{hint}")
            on_wait(f"{_describe_holder(path)}; waiting")
            while not _acquire(file.fileno()):
                time.sleep(_POLL)
        file.truncate(0)
        file.write(json.dumps({"who": holder, "pid": os.getpid(), "since": time.time()}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _acquire(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe_holder(path: Path) -> str:
    try:
        lock = json.loads(path.read_text())
        minutes = (time.time() - lock["since"]) / 60
        return f"{lock['who']} (pid {lock['pid']}) has been running for {minutes:.1f} min"
    except (ValueError, KeyError, OSError):
        return "another run of this project's pipeline holds its lock"
