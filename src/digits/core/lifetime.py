"""A process that ends when whoever started it does, and that no tool phones home from."""

import os
import signal
import threading

WATCHED = "DIGITS_ENDS_WITH"  # pids, comma-separated: when one of them ends, so does the reader
_INTERVAL = 0.5  # s between two looks

QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def end_with_ancestors(whole_group: bool = False) -> None:
    """From here on, end at once when the parent, or one that is `watched`, ends.

    This holds when those are killed with SIGKILL too, against which they can do nothing.

    Args:
        whole_group: take this process's group along, if it leads one.
    """
    parent = os.getppid()
    pids = watched()

    def watch() -> None:
        pause = threading.Event()
        while os.getppid() == parent and all(map(alive, pids)):
            pause.wait(_INTERVAL)
        if whole_group and os.getpgrp() == os.getpid():
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-ancestors", daemon=True).start()


def watched() -> list[int]:
    """The processes that this one is to end with, besides its parent."""
    return [int(pid) for pid in os.environ.get(WATCHED, "").split(",") if pid]


def alive(pid: int) -> bool:
    """Whether a process is running (a zombie isn't)."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
