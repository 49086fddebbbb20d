"""`digits predict`: recognise the digit in each picture."""

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
from digits.images.glyphs import Glyph
from digits.intake import readers
from digits.registry import catalogue, store, tags

if TYPE_CHECKING:
    from digits.recogniser import Recogniser

_CHUNK = 256  # pictures in memory at a time
_MAX_WIDTH = 60  # characters to which paths are aligned
_PLACES = 4

Prediction = dict[str, Any]  # of one file, as --json prints it


@click.command("predict")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH…")
@_terminal.json_option
@click.option(
    "--version",
    help="A registered version, or 'workspace' for models/. Default: the champion, if there is "
    "one, else 'workspace'.",
)
def command(paths: tuple[Path, ...], as_json: bool, version: str | None) -> None:
    """Recognise the digit in each picture.

    PATH is a picture of one digit, or a folder of them; any size, dark on light or light on dark.
    Weights are used only if their SHA-256 is the registered one.

    --json prints an array with one entry per file: path, text, and digits with digit, confidence
    (0–1) and box (left, top, right, bottom of the ink in the upright picture, in pixels). An
    unreadable file has error instead.

    \b
    Exit codes: 0 at least one picture was read, 2 none was, or there is no model
    \b
    Examples:
      digits predict seven.png
      digits predict scans/ --json --version v0.1.0
    """
    files = [(file, problem) for path in paths for file, problem in _files(path)]
    readable = any(not problem for _, problem in files)
    recogniser = _load(Project.find(), version) if readable else None
    with _terminal.progress("reading", len(files)) as on_done:
        predictions = _predict(files, recogniser, on_done)
        if as_json:
            read = _print_json(predictions)
        else:
            read = _print_lines(predictions, max(len(str(file)) for file, _ in files))
    if not read:
        raise DigitsError(f"none of {len(files)} could be read; expected pictures of one digit")


def _files(path: Path) -> list[tuple[Path, str]]:
    """The picture files at `path`, each with its problem, or an empty string."""
    if not path.exists():
        return [(path, "file or folder not found")]
    return [(file, "") for file in readers.picture_files(path)] or [
        (path, "no pictures in this folder")
    ]


def _load(project: Project, version: str | None) -> "Recogniser":
    """Verify and load a model; its name is printed on stderr."""
    name, root = _model(project, version)
    click.echo(f"model: {name}", err=True)
    _terminal.silence_libraries()
    from digits.recogniser import Recogniser

    return Recogniser.load(root)


def _model(project: Project, version: str | None) -> tuple[str, Path]:
    """A model's name, and the folder that holds it."""
    if version == catalogue.WORKSPACE:
        return "the workspace's (models/)", project.root
    try:
        chosen = catalogue.find(project, version or tags.CHAMPION)
    except DigitsError as exc:
        if version:
            raise
        reason = "no champion yet" if isinstance(exc, RegistryError) else "no registry here"
        return f"the workspace's (models/); {reason}", project.root
    name = f"{chosen.name}, the champion" if chosen.champion else chosen.name
    return name, store.materialise(project, chosen)


def _predict(
    files: list[tuple[Path, str]], recogniser: "Recogniser | None", on_done: Callable[[int], None]
) -> Iterator[Prediction]:
    """Yield the prediction of each file, in order."""
    for start in range(0, len(files), _CHUNK):
        chunk = files[start : start + _CHUNK]
        decoded = [_decode(file, problem) for file, problem in chunk]
        images = [glyph.image for glyph in decoded if isinstance(glyph, Glyph)]
        probabilities = iter(recogniser.predict(np.stack(images)) if images and recogniser else ())
        for (file, _), glyph in zip(chunk, decoded, strict=True):
            if isinstance(glyph, Glyph):
                yield _prediction(file, glyph, next(probabilities))
            else:
                yield {"path": str(file), "error": glyph}
        on_done(start + len(chunk))


def _decode(file: Path, problem: str) -> Glyph | str:
    """The glyph in a file, or why there is none."""
    if problem:
        return problem
    try:
        return glyphs.read(readers.read_bytes(file), file.name)
    except PictureError as exc:
        return str(exc).removeprefix(f"{file.name}: ")


def _prediction(file: Path, glyph: Glyph, probabilities: np.ndarray) -> Prediction:
    digit = int(probabilities.argmax())
    confidence = round(float(probabilities[digit]), _PLACES)
    found = {"digit": digit, "confidence": confidence, "box": list(glyph.box)}
    return {"path": str(file), "text": str(digit), "digits": [found]}


def _print_json(predictions: Iterator[Prediction]) -> int:
    """Print a JSON array entry by entry; returns how many files were read."""
    read, opening = 0, "["
    for prediction in predictions:
        click.echo(f"{opening}\n  {json.dumps(prediction)}", nl=False)
        opening = ","
        read += "error" not in prediction
    click.echo("\n]")
    return read


def _print_lines(predictions: Iterator[Prediction], longest: int) -> int:
    """Print one aligned line per file; returns how many files were read."""
    read, width = 0, min(longest, _MAX_WIDTH)
    for prediction in predictions:
        path = prediction["path"].encode(errors="replace").decode()  # it may be no UTF-8
        if "error" in prediction:
            click.echo(f"{path:{width}}  -  {prediction['error']}")
        else:
            confidence = prediction["digits"][0]["confidence"]
            click.echo(f"{path:{width}}  {prediction['text']}  {confidence:7.2%}")
            read += 1
    return read
