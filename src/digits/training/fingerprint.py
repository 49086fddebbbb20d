"""What trained weights depend on: recipe, seed, data, code and versions, as one short digest."""

import ast
import hashlib
import json
from functools import cache
from importlib import metadata
from pathlib import Path

from digits.core.params import Recipe

_DIGITS = 16  # hex digits of a fingerprint
# What decides which weights and ONNX files come out. Comments and docstrings in it do not count.
_ROOMS = ("models", "training")
_PACKAGES = ("keras", "numpy", "onnx", "tf2onnx")


def fingerprint(recipe: Recipe, seed: int, data: str) -> str:
    """What a training depends on; its weights, finished or not, are valid while this stays.

    Args:
        data: digest of the files that are learned from.
    """
    depends_on = (recipe.model_dump(mode="json"), seed, data, _code(), versions())
    text = json.dumps(depends_on, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


@cache
def versions() -> dict[str, str]:
    """Packages that decide which bytes come out, with their versions."""
    import tensorflow

    named = {name: metadata.version(name) for name in _PACKAGES}
    return named | {"tensorflow": str(tensorflow.__version__)}


def essence(source: str) -> str:
    """Source code without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            del node.body[0]
    return ast.dump(tree)


@cache
def _code() -> str:
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(path for room in _ROOMS for path in (package / room).glob("*.py")):
        digest.update(path.name.encode())
        digest.update(essence(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()
