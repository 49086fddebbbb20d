"""A small project whose only stage counts words."""

import shutil
import sys
from pathlib import Path

import pytest
from repository import commit_all, dvc, init

from digits.core.project import Project

PIPELINE = f"""
stages:
  count:
    cmd: {sys.executable} count.py
    deps: [count.py, words.txt]
    params: [count.factor]
    metrics:
      - counted.json: {{cache: false}}
"""
COUNT = """
import json, pathlib
words = len(pathlib.Path("words.txt").read_text().split())
pathlib.Path("counted.json").write_text(json.dumps({"words": words, "constant": 1}))
"""


@pytest.fixture(scope="module")
def word_count_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("word_count")
    init(folder)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "params.yaml").write_text("count: {factor: 2}\n")
    (folder / "count.py").write_text(COUNT)
    (folder / "words.txt").write_text("two words")
    dvc(folder, "repro", "--quiet")
    commit_all(folder)
    return folder


@pytest.fixture
def word_count(word_count_template: Path, tmp_path: Path) -> Project:
    """Everything is committed on `main` and up to date."""
    shutil.copytree(word_count_template, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")
