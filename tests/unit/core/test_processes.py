"""Child processes end with their parent; a lock is released when its holder ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from digits.core import locking, processes
from digits.core.errors import BusyError

ORPHAN = "import subprocess, sys; print(subprocess.Popen(['sleep', '100']).pid, flush=True)"
WATCHER = (
    "from digits.core.processes import end_with_ancestors; end_with_ancestors();"
    "import time; time.sleep(100)"
)


def test_run_passes_on_each_line_and_returns_exit_code_and_tail(tmp_path: Path) -> None:
    lines: list[str] = []
    code = "import sys\nfor i in range(30): print(i)\nsys.exit('at the end')"
    finished = processes.run([sys.executable, "-c", code], tmp_path, lines.append)
    assert lines == [*map(str, range(30)), "at the end"]
    assert finished.code == 1
    assert finished.tail[-1] == "at the end"


def test_processes_that_a_command_leaves_behind_are_killed(tmp_path: Path) -> None:
    lines: list[str] = []
    processes.run(
        [sys.executable, "-c", ORPHAN.replace("['sleep', '100']", "['sleep', '100'], stdout=-3")],
        tmp_path,
        lines.append,
    )
    _assert_gone(int(lines[0]))


def test_an_exception_while_a_command_runs_kills_its_whole_group(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    code = ORPHAN + "; import time; time.sleep(100)"
    with pytest.raises(KeyboardInterrupt):
        processes.run([sys.executable, "-c", code], tmp_path, interrupt)
    _assert_gone(pids[0])


@pytest.mark.parametrize("started_by", ["shell", "python"])
def test_a_stage_ends_when_its_ancestor_is_killed(started_by: str) -> None:
    inner = [sys.executable, "-c", WATCHER]
    if started_by == "shell":
        inner = ["sh", "-c", f'{sys.executable} -c "{WATCHER}"; true']
    outer = (
        "import os, subprocess, sys, time;"
        f"os.environ['{processes.WATCHED_PIDS}'] = str(os.getpid());"
        f"subprocess.Popen({inner!r}); time.sleep(100)"
    )
    process = subprocess.Popen([sys.executable, "-c", outer], start_new_session=True)
    family = _family(process.pid)
    process.kill()
    process.wait()
    for member in family:
        _assert_gone(member.pid)


def test_a_command_ends_when_the_run_that_started_it_has_ended(tmp_path: Path) -> None:
    run = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    environment = os.environ | {processes.WATCHED_PIDS: str(run.pid)}
    run.kill()
    run.wait()
    command = [sys.executable, "-m", "digits", "report"]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, check=False)
    assert ended.returncode == -signal.SIGKILL


def test_sigterm_raises_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), processes.sigterm_interrupts():
        signal.raise_signal(signal.SIGTERM)


def test_a_busy_lock_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "state" / "run.lock"
    with locking.exclusive(path, "digits run"):
        reason = (
            rf"digits run \(pid {os.getpid()}\) has been running .* try again when it has ended"
        )
        with pytest.raises(BusyError, match=reason), locking.exclusive(path, "another"):
            pass
    with locking.exclusive(path, "another"):
        pass


def test_waiting_for_a_lock_announces_its_holder_and_then_takes_it(tmp_path: Path) -> None:
    path, messages, done = tmp_path / "run.lock", [], threading.Event()

    def second() -> None:
        with locking.exclusive(path, "second", wait=True, on_wait=messages.append):
            done.set()

    with locking.exclusive(path, "first"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(1)
        assert not done.is_set()
    assert done.wait(5)
    thread.join()
    assert messages
    assert "first" in messages[0]


def test_a_lock_is_released_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    code = (
        "import sys, time; from pathlib import Path; from digits.core import locking\n"
        f"with locking.exclusive(Path({str(path)!r}), 'first'): print(flush=True); time.sleep(100)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with locking.exclusive(path, "second"):
        pass


def _family(pid: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        family = psutil.Process(pid).children(recursive=True)
        if any(
            "end_with_ancestors" in " ".join(p.cmdline()) and "python" in p.name() for p in family
        ):
            time.sleep(1)
            return [p for p in family if "python" in p.name()]
        time.sleep(0.1)
    raise AssertionError("the stage didn't start")


def _assert_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not processes.alive(pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} is still running")
