"""Processes that end together: nothing goes on writing once whoever started it is gone."""

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

from digits.core import lifetime

_GRACE = 5.0  # s from SIGTERM to SIGKILL
_TAIL = 12  # lines of output that an error quotes


@dataclass(frozen=True)
class Finished:
    """How a command ended: its exit code (negative: a signal) and its last lines of output."""

    code: int
    tail: tuple[str, ...]


def run(
    command: Sequence[str],
    folder: Path,
    on_line: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command in its own process group, handing on each line that it prints.

    However this call ends (an exception, Ctrl-C, SIGTERM turned into an exception), the whole
    group has ended with it. Should this process be killed, what calls
    `lifetime.end_with_ancestors` in the command ends by itself.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    tail: deque[str] = deque(maxlen=_TAIL)
    # what the command left behind would hold the pipe open, and this call with it
    threading.Thread(target=_end_with_leader, args=(process,), daemon=True).start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line.rstrip())
            on_line(line.rstrip())
        return Finished(process.wait(), tuple(tail))
    finally:
        end_group(process)


def supervise(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a command on this terminal, in its own process group; returns its exit code.

    Ctrl-C and SIGTERM reach the command as SIGTERM, once. However it ends, even by SIGKILL, what
    it left behind in its group has ended with it.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(environment),
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


def end_group(process: "subprocess.Popen[Any]") -> None:
    """End a process that leads a group, and whatever is left of that group."""
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Within, SIGTERM raises KeyboardInterrupt as Ctrl-C does, so that clean-up runs."""

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


def _end_with_leader(process: "subprocess.Popen[Any]") -> None:
    process.wait()
    _signal_group(process.pid, signal.SIGKILL)


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    binaries = str(Path(sys.executable).parent)  # so that `python` in dvc.yaml is this one
    return {
        **os.environ,
        **lifetime.QUIET,
        "PATH": os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        lifetime.WATCHED: ",".join(map(str, [*lifetime.watched(), os.getpid()])),
        **(more or {}),
    }


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
