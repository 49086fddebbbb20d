"""The files of a model, which are verified against the SHA-256 in its card before they are opened.

The card is reports/model.json, which git tracks.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits.core import files
from digits.core.errors import RegistryError

if TYPE_CHECKING:
    from digits.core.params import Recipe

KERAS = "digits.weights.h5"  # byte-identical for equal weights, which .keras files are not
ONNX = "digits.onnx"  # for recognition, by ONNX Runtime
LITERT = "digits.tflite"  # for phones and small boards
RESTORE = "run 'dvc checkout --force models'; if DVC's cache lacks it, 'dvc pull' or 'digits run'"


def verified(root: Path, card: Mapping[str, Any]) -> dict[str, Path]:
    """The files that a model card lists, each one verified.

    Args:
        root: the folder that the card's paths are relative to.
        card: `weights` maps a path to its SHA-256 as hex.

    Raises:
        RegistryError: a file is missing, lies outside `root` or has another SHA-256.
    """
    expected = card.get("weights") or {}
    if not expected:
        raise RegistryError(f"{root}: the model card names no weights; run 'dvc repro'")
    return {name: _verify(root, name, digest) for name, digest in expected.items()}


def content(root: Path, card: Mapping[str, Any], name: str) -> bytes:
    """The bytes of a file that a model card lists, which are the bytes that were verified.

    Raises:
        RegistryError: as for `verified`.
    """
    path = _inside(root, name)
    read = path.read_bytes()
    _check(path, hashlib.sha256(read).hexdigest(), card["weights"][name])
    return read


def pretrained(root: Path, recipe: "Recipe") -> Path | None:
    """The verified weights that a recipe starts from; None if it starts from scratch.

    Raises:
        RegistryError: as for `verified`.
    """
    if not recipe.pretrained:
        return None
    path = recipe.pretrained.path
    return verified(root, {"weights": {path: recipe.pretrained.sha256}})[path]


def _verify(root: Path, name: str, digest: str) -> Path:
    path = _inside(root, name)
    _check(path, files.sha256(path), digest)
    return path


def _inside(root: Path, name: str) -> Path:
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise RegistryError(f"{name}: lies outside {root}; the model card isn't to be trusted")
    if not path.is_file():
        raise RegistryError(f"{path}: not found; {RESTORE}")
    return path


def _check(path: Path, found: str, registered: str) -> None:
    if found != registered:
        raise RegistryError(
            f"{path}: SHA-256 is {found}, registered is {registered}; not opened; {RESTORE}"
        )
