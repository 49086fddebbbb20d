"""How `git` and `dvc` are called: without a terminal, without telemetry, with bytes captured."""

import os
import subprocess
from collections.abc import Mapping

from digits.core import processes
from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.formatting import duration

_ERROR_LINES = 3


def run(
    project: Project,
    *command: str,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in the project's root folder, whatever its exit code.

    Args:
        environment: variables to add to this process's.
        timeout: seconds after which the command is killed.

    Raises:
        DigitsError: the program is not installed, or it took longer than `timeout`.
    """
    quiet = processes.QUIET_TOOLS_ENV | {"GIT_TERMINAL_PROMPT": "0", "PYTHONUTF8": "1"}
    try:
        return subprocess.run(
            command,
            cwd=project.root,
            env={**os.environ, **quiet, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as exc:
        raise DigitsError(f"no answer within {duration(exc.timeout)}") from exc
    except FileNotFoundError as exc:
        raise DigitsError(f"{command[0]}: not found; install it and try again") from exc


def error_message(stderr: bytes) -> str:
    """A failed command's error as one line, at most its last three lines."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    # DVC prints an offer of help after its errors
    errors = [
        line.removeprefix("ERROR: ").removeprefix("unexpected error - ")
        for line in lines
        if line.startswith("ERROR: ")
    ]
    return "; ".join((errors or lines)[-_ERROR_LINES:]) or "failed without an error message"
