"""Questions to DVC, on a real repository."""

import subprocess
from pathlib import Path

import pytest
from repository import commit_all, copy, count_words

from digits.core.errors import DataError, StageError
from digits.core.project import Project
from digits.versioning import command, dvc


@pytest.fixture(autouse=True)
def _cold_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here DVC is started as users start it."""
    monkeypatch.setattr(command, "subprocess", subprocess)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return count_words(tmp_path_factory.mktemp("word_count"))


@pytest.fixture
def word_count(template: Path, tmp_path: Path) -> Project:
    return copy(template, tmp_path / "project")


def test_nothing_is_stale_after_a_build(word_count: Project) -> None:
    assert dvc.status(word_count) == {}
    assert dvc.stale(word_count) == {}
    assert not dvc.remote_configured(word_count)


def test_changed_files_are_stale_but_missing_ones_are_not(word_count: Project) -> None:
    (word_count.root / "words.txt").unlink()
    assert "count" in dvc.status(word_count)
    assert dvc.stale(word_count) == {}

    with (word_count.root / "count.py").open("a") as file:
        file.write("\n")
    word_count.params.write_text("count: {factor: 3}\n")
    (word_count.root / "counted.json").write_text("{}")
    changes = ["count.py", "counted.json", "params.yaml: count.factor"]
    assert dvc.stale(word_count) == {"count": changes}


def test_a_changed_command_is_stale(word_count: Project) -> None:
    pipeline = word_count.root / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("count.py\n", "count.py --fast\n", 1))
    assert dvc.stale(word_count) == {"count": ["its command"]}


def test_the_diff_of_parameters_has_only_those_that_changed(word_count: Project) -> None:
    word_count.params.write_text("count: {factor: 2, new: true}\n")
    assert {name: diff["new"] for name, diff in dvc.params_diff(word_count, "HEAD").items()} == {
        "count.new": True
    }


def test_a_failure_is_an_error_with_dvc_s_message_in_one_line(word_count: Project) -> None:
    with pytest.raises(StageError, match=r"^dvc metrics: unknown Git revision 'nope'$"):
        dvc.run(word_count, "metrics", "diff", "nope")


def test_the_data_version_is_read_from_the_tree_or_a_commit(word_count: Project) -> None:
    assert dvc.find_data_version(word_count) is None
    assert dvc.find_data_version(word_count, "main") is None
    with pytest.raises(DataError, match=r"data\.dvc: not found; restore it from git"):
        dvc.data_version(word_count)

    word_count.data.mkdir()
    (word_count.data / "words").write_text("words")
    dvc.run(word_count, "add", "--quiet", "data")
    version = dvc.data_version(word_count)
    assert (version.files, version.size) == (1, 5)
    assert version.md5.endswith(".dir")

    commit_all(word_count.root)
    word_count.data_pointer.unlink()
    assert dvc.find_data_version(word_count) is None
    assert dvc.find_data_version(word_count, "main") == version


@pytest.mark.parametrize(
    "text", ["", "outs: []", "outs: [{path: data}]", "outs: [1]", "<<<<<<< HEAD", "{", "\xff\0"]
)
def test_a_malformed_data_pointer_is_an_error_that_names_it(word_count: Project, text: str) -> None:
    word_count.data_pointer.write_text(text)
    with pytest.raises(DataError, match=r"data\.dvc: expected a DVC file with one folder"):
        dvc.data_version(word_count)
