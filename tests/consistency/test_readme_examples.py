"""The README: its commands exist, those that only read are run, its Python is executed."""

import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
from conftest import REPOSITORY, exit_code
from PIL import Image

from digits.cli import COMMANDS, group
from digits.core.project import Project

README = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
SPANS = re.findall(r"`(digits [^`\n]+)`", README) + [
    line.split("#")[0].strip()
    for language, text in BLOCKS
    if language == "bash"
    for line in text.splitlines()
    if line.startswith("digits ")
]
DIGITS_COMMANDS = sorted({span for span in SPANS if span.split()[1] in COMMANDS})
READ_ONLY = re.compile(
    r"digits ((predict|drift) PATH|(status|fetch|report|verify)\b|models list|compare main)"
)


def resolve(arguments: list[str]) -> tuple[click.Command, list[str]]:
    """The click command that the arguments name, and the rest of the arguments."""
    command: click.Command = group
    while arguments and isinstance(command, click.Group):
        subcommand = command.get_command(click.Context(command), arguments[0])
        if subcommand is None:
            break
        command, arguments = subcommand, arguments[1:]
    return command, arguments


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme_and_has_help_with_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"digits {name}" in README
    assert exit_code(name, "--help") == 0
    text = capsys.readouterr().out
    assert f"Usage: digits {name}" in text
    assert "Exit code" in text


def test_commands_and_make_targets_of_the_readme_exist() -> None:
    for name in re.findall(r"`digits ([a-z]+)", README):
        assert name in COMMANDS, name
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets


@pytest.mark.parametrize("span", DIGITS_COMMANDS)
def test_options_of_commands_in_the_readme_exist(span: str) -> None:
    command, rest = resolve(shlex.split(span)[1:])
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word for word in rest if word.startswith("-")} <= known


@pytest.mark.parametrize("span", list(filter(READ_ONLY.match, DIGITS_COMMANDS)))
def test_read_only_command_of_the_readme_runs(
    span: str,
    built_project: Project,
    tmp_path: Path,
    real_digits: tuple[np.ndarray, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, image in enumerate(real_digits[0][:50]):
        Image.fromarray(255 - image).save(pictures / f"{number:02d}.png")
    (built_project.root / "README.md").write_text(README)
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    arguments = [str(pictures) if word.startswith("PATH") else word for word in shlex.split(span)]
    assert exit_code(*arguments[1:]) in (0, 1), capsys.readouterr().err


def test_python_of_the_readme_runs_as_written(
    built_project: Project,
    real_digits: tuple[np.ndarray, np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert PYTHON
    names = {"images": real_digits[0][:200]}
    for snippet in PYTHON:  # one after the other, as a reader would
        exec(snippet, names)
    assert names["probabilities"].shape == (200, 10)
    assert re.match(r"(none|drift|harmful) [\d.e-]+ [\d.]+ [\d.]+\n", capsys.readouterr().out)
