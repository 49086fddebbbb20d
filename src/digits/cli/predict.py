"""`digits predict`: the digit in each picture."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from digits.cli import _terminal
from digits.core.errors import DigitsError, PictureError, RegistryError
from digits.core.project import Project
from digits.images import glyphs
from digits.intake import readers
from digits.versioning import registry

if TYPE_CHECKING:
    from digits.recogniser import Recogniser

_CHUNK = 256  # pictures in memory at a time
_WIDEST = 60  # characters of a path that the table aligns for
_PLACES = 4

Reading = dict[str, Any]


@click.command("predict")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH…")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.option(
    "--version",
    help="The model: a registered version, or 'workspace' for the one in models/. "
    "Default: the champion if there is one, else the workspace's.",
)
def command(paths: tuple[Path, ...], as_json: bool, version: str | None) -> None:
    """Recognise the digit in each picture; each PATH is a picture or a folder of pictures.

    One digit a picture, any size, dark on light or light on dark. With --json, one entry a file:
    path, text, and digits with digit, confidence (0–1) and box (of the ink: left, top, right,
    bottom in the upright picture's pixels). A file that can't be read has an error instead, and
    the rest go on; the exit code is 2 only if none could be read.

    The model's weights are opened only if they are those that were registered.
    """
    files = [(file, problem) for path in paths for file, problem in _files(path)]
    readable = any(not problem for _, problem in files)
    recogniser = _load(Project.find(), version) if readable else None
    show = _Array() if as_json else _Table(max(len(str(file)) for file, _ in files))
    with _terminal.progress("reading", len(files)) as on_done:
        read = sum(show(reading) for reading in _read(files, recogniser, on_done))
    show.end()
    if not read:
        raise DigitsError(f"none of {len(files)} could be read; expected pictures of one digit")


def _files(path: Path) -> list[tuple[Path, str]]:
    """Picture files, each with what is wrong with it already."""
    if not path.exists():
        return [(path, "no such file or folder")]
    return [(file, "") for file in readers.find(path)] or [(path, "no pictures in this folder")]


def _load(project: Project, version: str | None) -> "Recogniser":
    """The model that was asked for, verified; says on stderr which it is."""
    name, root = _model(project, version)
    click.echo(f"model: {name}", err=True)
    _terminal.silence_libraries()
    from digits.recogniser import Recogniser

    return Recogniser.load(root)


def _model(project: Project, version: str | None) -> tuple[str, Path]:
    if version == registry.WORKSPACE:
        return "the workspace's (models/)", project.root
    try:
        chosen = registry.find(project, version or registry.CHAMPION)
    except DigitsError as exc:
        # without a version any reason will do: no champion yet, no git repository
        if version:
            raise
        reason = "no champion yet" if isinstance(exc, RegistryError) else "no registry here"
        return f"the workspace's (models/); {reason}", project.root
    name = f"{chosen.name}, the champion" if chosen.champion else chosen.name
    return name, registry.materialise(project, chosen.name)


def _read(
    files: list[tuple[Path, str]], recogniser: "Recogniser | None", on_done: Callable[[int], None]
) -> Iterator[Reading]:
    """A reading of each file, in order."""
    for start in range(0, len(files), _CHUNK):
        chunk = files[start : start + _CHUNK]
        found = [_glyph(file, problem) for file, problem in chunk]
        good = [glyph for glyph in found if isinstance(glyph, glyphs.Glyph)]
        probabilities = (
            iter(recogniser.predict(np.stack([glyph.image for glyph in good])))
            if good and recogniser
            else iter(())
        )
        for (file, _), glyph in zip(chunk, found, strict=True):
            if isinstance(glyph, glyphs.Glyph):
                yield _reading(file, glyph, next(probabilities))
            else:
                yield {"path": str(file), "error": glyph}
        on_done(start + len(chunk))


def _glyph(file: Path, problem: str) -> glyphs.Glyph | str:
    """The glyph of a file, or why there is none."""
    if problem:
        return problem
    try:
        return glyphs.read(readers.read_bytes(file), file.name)
    except PictureError as exc:
        return str(exc).removeprefix(f"{file.name}: ")


def _reading(file: Path, glyph: glyphs.Glyph, probabilities: np.ndarray) -> Reading:
    digit = int(probabilities.argmax())
    confidence = round(float(probabilities[digit]), _PLACES)
    found = {"digit": digit, "confidence": confidence, "box": list(glyph.box)}
    return {"path": str(file), "text": str(digit), "digits": [found]}


class _Array:
    """Readings as a JSON array, each printed as soon as it is there."""

    def __init__(self) -> None:
        self._opening = "["

    def __call__(self, reading: Reading) -> bool:
        click.echo(f"{self._opening}\n  {json.dumps(reading)}", nl=False)
        self._opening = ","
        return "error" not in reading

    def end(self) -> None:
        click.echo("\n]")


class _Table:
    """Readings as aligned lines."""

    def __init__(self, longest: int) -> None:
        self._width = min(longest, _WIDEST)

    def __call__(self, reading: Reading) -> bool:
        path = reading["path"].encode(errors="replace").decode()
        if "error" in reading:
            click.echo(f"{path:{self._width}}  -  {reading['error']}")
            return False
        sure = reading["digits"][0]["confidence"]
        click.echo(f"{path:{self._width}}  {reading['text']}  {sure:7.2%}")
        return True

    def end(self) -> None:
        pass
