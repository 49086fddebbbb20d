"""The notebook is executed in place or left unchanged, and contains only results."""

import base64
import re
import shutil

import nbformat
import pytest
from conftest import REPOSITORY, exit_code
from nbformat.v4 import new_code_cell, new_notebook, new_output

from digits.core import files
from digits.core.project import Project
from digits.reports import notebook, notebook_cells

SOURCE = REPOSITORY / "reports" / "digits.ipynb"
LIMIT = 1_500_000  # bytes


@pytest.fixture
def project(built_project: Project) -> Project:
    """A small project after `dvc repro`, with the notebook."""
    shutil.copy(SOURCE, built_project.notebook)
    return built_project


def outputs(document: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    cells = [cell for cell in document.cells if cell.cell_type == "code"]
    return [output for cell in cells for output in cell.outputs]


def test_the_notebook_is_executed_in_place_with_images_and_without_errors(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    before = nbformat.read(project.notebook, as_version=4)
    assert exit_code("notebook") == 0
    assert "14 cells executed" in capsys.readouterr().out
    after = nbformat.read(project.notebook, as_version=4)
    nbformat.validate(after)
    assert [cell.id for cell in after.cells] == [cell.id for cell in before.cells]
    assert {output.output_type for output in outputs(after)} == {"execute_result"}
    images = [o.data["image/png"] for o in outputs(after) if "image/png" in o.data]
    assert len(images) == 5  # balance, means, curves, mistakes, robustness
    assert all(base64.b64decode(png).startswith(b"\x89PNG") for png in images)
    assert project.notebook.stat().st_size < LIMIT
    text = project.notebook.read_text(encoding="utf-8")
    assert str(project.root) not in text
    assert "run 'digits zoo' first" in text
    counts = [cell.execution_count for cell in after.cells if cell.cell_type == "code"]
    assert counts == list(range(1, 15))


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("one = 1\nraise ValueError('first\\nsecond')", "cell 1 (raise ValueError"),
        (
            "from digits.core.errors import DataError as E\nraise E('run dvc repro')",
            "run dvc repro",
        ),
        ("import os\nos._exit(1)", "cell 1 (os._exit(1)) failed"),
    ],
)
def test_a_failing_cell_is_reported_in_one_line_and_the_file_is_unchanged(
    source: str, error: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), project.notebook)
    before = project.notebook.read_bytes()
    assert exit_code("notebook") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("digits:")]
    assert line.startswith("digits: reports/digits.ipynb: cell 1 (")
    assert error in line
    assert project.notebook.read_bytes() == before
    assert not list(project.reports.glob(".*ipynb*"))


def test_missing_results_are_named_before_any_cell_runs(
    small_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("notebook") == 2
    message = capsys.readouterr().err
    assert message.startswith("digits: build/splits, reports/model.json, ")
    assert message.endswith("not found; run 'dvc repro' first\n")


@pytest.mark.parametrize("text", [None, "no JSON", "[]", '{"nbformat": 4, "cells": 3}'])
def test_a_file_that_is_not_a_notebook_is_refused(
    text: str | None, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.notebook.unlink()
    if text is not None:
        project.notebook.write_text(text)
    assert exit_code("notebook") == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "digits.ipynb: not" in message  # not found, not valid JSON, not a notebook


def test_cleaning_removes_timings_versions_and_stderr() -> None:
    cell = new_code_cell("1", metadata={"execution": {"iopub.execute_input": "2020-01-01"}})
    cell.outputs = [
        new_output("stream", name="stderr", text="a warning"),
        new_output("stream", name="stdout", text="a result"),
    ]
    document = new_notebook(
        cells=[cell], metadata={"language_info": {"name": "python", "version": "3.11.7"}}
    )
    notebook.clean(document)
    assert cell.metadata == {}
    assert [output.text for output in cell.outputs] == ["a result"]
    assert "3.11" not in nbformat.writes(document)


def test_each_cell_calls_one_function_of_notebook_cells() -> None:
    document = nbformat.read(SOURCE, as_version=4)
    setup, *cells = [cell.source for cell in document.cells if cell.cell_type == "code"]
    assert "from digits.reports import notebook_cells as cells" in setup
    for source in cells:
        (name,) = re.fullmatch(r"cells\.(\w+)\(project\)", source).groups()  # type: ignore[union-attr]
        assert callable(getattr(notebook_cells, name))


def test_the_committed_notebook_is_executed_small_and_without_errors() -> None:
    document = nbformat.read(SOURCE, as_version=4)
    kinds = {output.output_type for output in outputs(document)}
    assert kinds <= {"execute_result", "display_data", "stream"}
    assert any("image/png" in output.get("data", {}) for output in outputs(document))
    assert SOURCE.stat().st_size < LIMIT


def test_missing_optional_reports_are_replaced_by_a_remark(project: Project) -> None:
    document = files.read_json(project.metrics)
    del document["corrupted"]
    files.write_json(project.metrics, document)
    for show, command in (
        (notebook_cells.robustness, "dvc repro"),
        (notebook_cells.comparison, "digits zoo"),
        (notebook_cells.accuracy_and_time, "digits zoo"),
        (notebook_cells.accuracy_and_speed, "digits zoo"),
    ):
        shown = show(project)
        assert isinstance(shown, notebook_cells.Markdown)
        assert f"run '{command}' first" in shown._repr_markdown_()


def test_mistakes_outside_the_test_set_are_refused(project: Project) -> None:
    project.mistakes.write_text("index,label,prediction,confidence\n9000,1,2,0.9\n")
    with pytest.raises(notebook_cells.DataError, match="test set has 397"):
        notebook_cells.mistakes(project)
