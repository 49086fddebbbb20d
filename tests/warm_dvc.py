"""DVC in processes of its own that are forked from one that has imported it.

`digits` calls DVC by its command line; importing it is most of the second that a call takes, and
tests call it hundreds of times. Arguments, environment, output and exit code stay the real ones.
"""

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_DVC = [sys.executable, "-m", "dvc"]


class Subprocess:
    """In place of the module `subprocess`: `run` forks `python -m dvc`, and starts the rest."""

    DEVNULL, TimeoutExpired = subprocess.DEVNULL, subprocess.TimeoutExpired

    def __init__(self) -> None:
        self._user = os.getpid()
        self._lock = threading.Lock()
        self._start()

    def run(
        self, command: Sequence[str], cwd: Path, env: dict[str, str], **options: Any
    ) -> "subprocess.CompletedProcess[bytes]":
        """As `subprocess.run`, with output captured as bytes."""
        mine = os.getpid() == self._user  # not a fork's, which may be killed
        if [*command[:3]] != _DVC or options["timeout"] or not mine:
            return subprocess.run(command, cwd=cwd, env=env, **options)
        with tempfile.TemporaryDirectory() as folder:
            out, err = (str(Path(folder) / name) for name in ("out", "err"))
            request = {"arguments": command[3:], "cwd": str(cwd), "env": env, "files": [out, err]}
            code = self._ask(json.dumps(request))
            return subprocess.CompletedProcess(
                command, code, Path(out).read_bytes(), Path(err).read_bytes()
            )

    def end(self) -> None:
        """End the process that is forked."""
        self._parent.communicate()

    def _start(self) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _ask(self, request: str) -> int:
        assert self._parent.stdin
        assert self._parent.stdout
        with self._lock:
            try:
                print(request, file=self._parent.stdin, flush=True)
                return int(self._parent.stdout.readline())
            except BaseException:  # its answer must not be the next one's
                self._parent.kill()
                self._parent.wait()
                self._start()
                raise


def _serve() -> None:
    """Fork for each line of stdin, wait, and answer with the exit code."""
    from dvc.cli import main

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        main(["init", "--quiet", "--no-scm"])
        main(["params", "diff", "--quiet"])
        main(["status", "--quiet"])  # most of DVC is imported when it is used
    gc.freeze()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            code = _dvc(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # an orderly end takes as long as a command
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _dvc(request: dict[str, Any]) -> int:
    from dvc.cli import main

    for number, path in enumerate([os.devnull, *request["files"]]):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    return int(main(request["arguments"]))


if __name__ == "__main__":
    _serve()
