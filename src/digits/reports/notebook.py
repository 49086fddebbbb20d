"""Execute reports/digits.ipynb in place; equal results give an equal file.

The functions that its cells call are in notebook_cells.
"""

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from digits.core import files, processes
from digits.core.errors import DataError, DigitsError
from digits.core.project import Project

_TIMEOUT = 600  # seconds per cell
_FORMAT = 4  # nbformat's major version
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(project: Project, report: Callable[[str], None] = print) -> int:
    """Execute reports/digits.ipynb with this environment's Python, in the project's folder.

    If a cell fails, the file is not changed.

    Args:
        report: called with one line before each cell.

    Returns:
        The number of code cells.

    Raises:
        DataError: the notebook or a result that it needs is missing, or the file is not a notebook.
        DigitsError: a cell failed; the message names the cell and its error.
    """
    import nbformat

    _check_results(project)
    notebook = _read(project)
    with tempfile.TemporaryDirectory() as home:
        _run(notebook, project, Path(home), report)
    clean(notebook)
    files.write_text(project.notebook, nbformat.writes(notebook).rstrip("\n") + "\n")
    return len(_code_cells(notebook))


def clean(notebook: Any) -> None:
    """Remove what varies between executions: timings, versions and libraries' stderr."""
    notebook.metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    for cell in _code_cells(notebook):
        cell.metadata.pop("execution", None)
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]


def _check_results(project: Project) -> None:
    needed = (
        project.splits,
        project.model_card,
        project.training_curves,
        project.metrics,
        project.mistakes,
    )
    if missing := [project.relative(path) for path in needed if not path.exists()]:
        raise DataError(f"{', '.join(missing)}: not found; run 'dvc repro' first")


def _read(project: Project) -> Any:
    import nbformat

    name = project.relative(project.notebook)
    if not project.notebook.is_file():
        raise DataError(f"{name}: not found; restore it with 'git checkout {name}'")
    document = files.read_json(project.notebook)
    if not isinstance(document, dict) or document.get("nbformat") != _FORMAT:
        raise DataError(f"{name}: not a notebook of format {_FORMAT}")
    try:
        nbformat.validate(document)
    except nbformat.ValidationError as exc:
        raise DataError(f"{name}: not a valid notebook ({str(exc).splitlines()[0]})") from exc
    return nbformat.reads(json.dumps(document), as_version=_FORMAT)


def _run(notebook: Any, project: Project, home: Path, report: Callable[[str], None]) -> None:
    """Execute all cells in a kernel that ignores the user's settings.

    Raises:
        DigitsError: a cell failed, timed out or ended the kernel.
    """
    import nbclient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    name = project.relative(project.notebook)
    total = len(_code_cells(notebook))
    started: list[str] = []

    def start(cell: Any, **_: Any) -> None:
        if cell.cell_type == "code":
            started.append(_last_line(cell.source))
            report(f"cell {len(started)} of {total}: {started[-1]}")

    def failure(reason: str) -> DigitsError:
        return DigitsError(
            f"{name}: cell {len(started)} ({started[-1]}) failed, the file is unchanged: {reason}"
        )

    client = nbclient.NotebookClient(
        notebook,
        timeout=_TIMEOUT,
        kernel_name=_KERNEL["name"],
        resources={"metadata": {"path": str(project.root)}},
        record_timing=False,
        coalesce_streams=True,
        on_notebook_start=_restore_signal_handling,
        on_cell_start=start,
    )
    kernel = client.create_kernel_manager()
    kernel.kernel_spec_manager.kernel_dirs = []  # only the kernel of this Python
    kernel.connection_file = str(home / "kernel.json")
    kernel.transport, kernel.ip = "ipc", str(home / "kernel")  # private sockets instead of ports
    environment = os.environ | processes.QUIET_TOOLS_ENV
    environment |= {"IPYTHONDIR": str(home), "PYTHONHASHSEED": "0"}
    try:
        client.execute(env=environment)
    except CellExecutionError as exc:
        raise failure(f"{exc.ename}: {_last_line(exc.evalue)}") from exc
    except CellTimeoutError as exc:
        raise failure(f"it took more than {_TIMEOUT} s") from exc
    except DeadKernelError as exc:
        raise failure("its Python process ended") from exc
    except RuntimeError as exc:  # the kernel didn't start
        raise DigitsError(f"{name}: not executed: {_last_line(str(exc))}") from exc


def _restore_signal_handling(notebook: Any) -> None:
    """Let Ctrl-C raise KeyboardInterrupt; nbclient's own handler ends the kernel and then fails."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)


def _code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
