"""How a stage ends: exit code, message, and the result for whoever asked for it."""

from pathlib import Path

import pytest
from conftest import REPOSITORY

from digits.core import files, processes, stage
from digits.core.errors import DataError, ValidationFailed
from digits.core.params import Params
from digits.core.project import Project


@pytest.mark.parametrize(
    ("raised", "code", "error"),
    [
        (None, 0, ""),
        (DataError("x.npy: not found"), 2, "x.npy: not found"),
        (ValidationFailed("2 expectations are broken"), 1, "2 expectations are broken"),
        (ValueError("a bug"), 2, "ValueError: a bug"),
    ],
)
def test_the_result_file_has_exit_code_and_error(
    raised: Exception | None,
    code: int,
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def ingest(project: Project, params: Params) -> None:
        if raised:
            raise raised

    path = tmp_path / "result.json"
    monkeypatch.setenv(stage.RESULT_PATH, str(path))
    monkeypatch.setattr(processes, "end_with_ancestors", lambda: None)
    monkeypatch.chdir(REPOSITORY)
    if code:
        with pytest.raises(SystemExit, match=str(code)):
            stage.main(ingest)
    else:
        stage.main(ingest)
    assert files.read_json(path) == {"stage": "ingest", "exit_code": code, "error": error}
    assert error in capsys.readouterr().err
