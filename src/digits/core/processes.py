"""Child processes that never outlive the process that started them.

The parent kills its child's process group and lists itself in DIGITS_ENDS_WITH; the child watches
the listed processes, in case the parent is killed before it can clean up.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# environment variables that keep third-party tools from sending telemetry and filling the terminal
QUIET_TOOLS_ENV = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# environment variable: comma-separated pids of processes that the child must not outlive
WATCHED_PIDS = "DIGITS_ENDS_WITH"

_POLL = 0.5  # s between checks of the watched processes
_GRACE = 5.0  # s from SIGTERM to SIGKILL
_TAIL = 12  # lines of output that an error quotes


@dataclass(frozen=True)
class Finished:
    """A command's exit code (negative: killed by that signal) and its last lines of output."""

    code: int
    tail: tuple[str, ...]


def run(
    command: Sequence[str],
    folder: Path,
    on_line: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command in its own process group and pass each output line to `on_line`.

    However this call ends (return, exception, Ctrl-C), the whole group has ended too. If this
    process is killed, descendants that called `end_with_ancestors` end by themselves.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=child_environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    tail: deque[str] = deque(maxlen=_TAIL)
    # processes that the command leaves behind would keep the pipe open and block this call
    threading.Thread(target=_kill_group_after, args=(process,), daemon=True).start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line.rstrip())
            on_line(line.rstrip())
        return Finished(process.wait(), tuple(tail))
    finally:
        end_group(process)


def supervise(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a command on this terminal in its own process group and return its exit code.

    Ctrl-C and SIGTERM reach the command once, as SIGTERM. When it ends, even by SIGKILL, the rest
    of its group is killed.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=child_environment(environment),
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(4 * _GRACE)
        raise
    finally:
        end_group(process)


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment for a child that ends with it and finds the same Python."""
    binaries = str(Path(sys.executable).parent)  # so that `python` in dvc.yaml is this interpreter
    return {
        **os.environ,
        **QUIET_TOOLS_ENV,
        "PATH": os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        WATCHED_PIDS: ",".join(map(str, [*watched_pids(), os.getpid()])),
        **(extra or {}),
    }


def end_group(process: "subprocess.Popen[Any]") -> None:
    """End a process that leads a group, and the rest of the group."""
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Within the block, SIGTERM raises KeyboardInterrupt, as Ctrl-C does, so that cleanup runs."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_with_ancestors(whole_group: bool = False) -> None:
    """From now on, kill this process when its parent or one of `watched_pids()` has ended.

    It works even if they were killed with SIGKILL, which leaves them no time to clean up.

    Args:
        whole_group: also kill this process's group, if it leads one.
    """
    parent = os.getppid()
    pids = watched_pids()

    def watch() -> None:
        pause = threading.Event()
        while os.getppid() == parent and all(map(alive, pids)):
            pause.wait(_POLL)
        if whole_group and os.getpgrp() == os.getpid():
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-ancestors", daemon=True).start()


def watched_pids() -> list[int]:
    """The processes, besides its parent, that this process must not outlive."""
    return [int(pid) for pid in os.environ.get(WATCHED_PIDS, "").split(",") if pid]


def alive(pid: int) -> bool:
    """Whether a process is running; a zombie is not."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kill_group_after(process: "subprocess.Popen[Any]") -> None:
    process.wait()
    _signal_group(process.pid, signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
