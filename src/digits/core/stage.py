"""The entry point that all stages share: parameters, one-line errors, no orphaned processes."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from digits.core import files, params, processes
from digits.core.errors import DigitsError
from digits.core.params import Params
from digits.core.project import Project

RESULT_PATH = "DIGITS_STAGE_RESULT"  # environment variable; the caller sets it, DVC passes it on


def main(stage: Callable[[Project, Params], None]) -> None:
    """Run a stage in the project around the working directory and exit with its code.

    The exit code is 0, that of the `DigitsError` raised, or 2 for any other exception, as 1 means
    a negative verdict. If `DIGITS_STAGE_RESULT` names a file, the stage's name, exit code and
    error go there as JSON. So no file means that the stage did not run, or that it was killed.
    """
    os.environ.update(processes.QUIET_TOOLS_ENV)
    processes.end_with_ancestors()
    code, error = 0, ""
    try:
        project = Project.find()
        stage(project, params.load(project.params))
    except DigitsError as exc:
        code, error = exc.exit_code, str(exc)
        print(f"{stage.__name__}: {error}", file=sys.stderr)
    except Exception as exc:
        code, error = 2, f"{type(exc).__name__}: {exc}"
        traceback.print_exc()
    if path := os.environ.get(RESULT_PATH):
        files.write_json(Path(path), {"stage": stage.__name__, "exit_code": code, "error": error})
    if code:
        sys.exit(code)
