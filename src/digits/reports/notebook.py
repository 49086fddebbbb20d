"""Executing a notebook in place, so that its file depends on what its cells show and nothing else.

What the cells of reports/digits.ipynb call is in tour.
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

_TIMEOUT = 600  # s for a cell
_FORMAT = 4  # of notebook files
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(project: Project, say: Callable[[str], None] = print) -> int:
    """Execute reports/digits.ipynb with this environment's Python, in the project's folder.

    If a cell fails, the file stays as it was.

    Args:
        say: called with one line a cell.

    Returns:
        How many cells were executed.

    Raises:
        DataError: the notebook is missing or none, or a result that it shows is missing.
        DigitsError: a cell failed; the message names it and ends with its error's last line.
    """
    _check_results(project)
    notebook = _read(project)
    name = project.relative(project.notebook)
    with tempfile.TemporaryDirectory() as home:
        _run(notebook, project.root, Path(home), name, say)
    clean(notebook)
    files.write_text(project.notebook, _text(notebook))
    return sum(cell.cell_type == "code" for cell in notebook.cells)


def clean(notebook: Any) -> None:
    """Take out what differs from one execution to the next without meaning anything."""
    notebook.metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if output.get("name") != "stderr"  # what libraries say is no result
            ]


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

    path = project.notebook
    if not path.is_file():
        name = project.relative(path)
        raise DataError(f"{name}: not found; 'git checkout {name}' brings it back")
    document = files.read_json(path)
    if not isinstance(document, dict) or document.get("nbformat") != _FORMAT:
        raise DataError(f"{path}: no notebook of format {_FORMAT}")
    try:
        nbformat.validate(document)
    except nbformat.ValidationError as exc:
        raise DataError(f"{path}: no notebook ({str(exc).splitlines()[0]})") from exc
    return nbformat.reads(json.dumps(document), as_version=_FORMAT)


def _run(notebook: Any, root: Path, home: Path, name: str, say: Callable[[str], None]) -> None:
    """Execute all cells in a kernel that reads nobody's settings.

    Raises:
        DigitsError: a cell failed, took too long, or ended the kernel.
    """
    import nbclient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    begun: list[Any] = []

    def begin(cell: Any, **_: Any) -> None:
        if cell.cell_type == "code":
            begun.append(cell)
            say(f"cell {len(begun)} of {len(code)}: {_last_line(cell.source)}")

    client = nbclient.NotebookClient(
        notebook,
        timeout=_TIMEOUT,
        kernel_name=_KERNEL["name"],
        resources={"metadata": {"path": str(root)}},
        record_timing=False,
        coalesce_streams=True,
        on_notebook_start=_leave_signals_alone,
        on_cell_start=begin,
    )
    kernel = client.create_kernel_manager()
    kernel.kernel_spec_manager.kernel_dirs = []  # this Python's own, whatever else is installed
    kernel.connection_file = str(home / "kernel.json")
    kernel.transport, kernel.ip = "ipc", str(home / "kernel")  # files of ours instead of ports
    environment = (
        os.environ | processes.QUIET_TOOLS_ENV | {"IPYTHONDIR": str(home), "PYTHONHASHSEED": "0"}
    )
    try:
        client.execute(env=environment)
    except CellExecutionError as exc:
        raise _failure(name, begun, f"{exc.ename}: {_last_line(exc.evalue)}") from exc
    except CellTimeoutError as exc:
        raise _failure(name, begun, f"took more than {_TIMEOUT} s") from exc
    except DeadKernelError as exc:
        raise _failure(name, begun, "its Python ended") from exc
    except RuntimeError as exc:  # the kernel didn't start
        raise DigitsError(f"{name}: not executed: {_last_line(str(exc))}") from exc


def _leave_signals_alone(notebook: Any) -> None:
    """Let Ctrl-C raise KeyboardInterrupt: nbclient would end the kernel and stumble over that."""
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(one)


def _failure(name: str, begun: list[Any], why: str) -> DigitsError:
    """An error that names the cell which was begun last."""
    cell = f"cell {len(begun)} ({_last_line(begun[-1].source)})"
    return DigitsError(f"{name}: {cell} failed, the file is left as it was: {why}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _text(notebook: Any) -> str:
    import nbformat

    return nbformat.writes(notebook).rstrip("\n") + "\n"
