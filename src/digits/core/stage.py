"""The entry point that all stages share: parameters, one-line errors, no orphaned processes."""

import os
import sys
from collections.abc import Callable

from digits.core import params, processes
from digits.core.errors import DigitsError
from digits.core.params import Params
from digits.core.project import Project


def main(stage: Callable[[Project, Params], None]) -> None:
    """Run a stage of the project in the working directory; a DigitsError exits with its code."""
    os.environ.update(processes.QUIET_TOOLS_ENV)
    processes.end_with_ancestors()
    try:
        project = Project.find()
        stage(project, params.load(project.params))
    except DigitsError as exc:
        print(f"{stage.__name__}: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
