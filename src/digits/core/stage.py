"""What every stage does around its work: parameters, one-line errors, ending with its ancestors."""

import os
import sys
from collections.abc import Callable

from digits.core import lifetime, params
from digits.core.errors import DigitsError
from digits.core.params import Params
from digits.core.project import Project


def main(stage: Callable[[Project, Params], None]) -> None:
    """Run a stage in the project around the working directory and exit with its code."""
    os.environ.update(lifetime.QUIET)
    lifetime.end_with_ancestors()
    try:
        project = Project.find()
        stage(project, params.load(project.params))
    except DigitsError as exc:
        print(f"{stage.__name__}: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
