"""What trained weights depend on, as one short digest: recipe, seed, data, code, versions."""

import ast
import hashlib
import json
from functools import cache
from importlib import metadata
from pathlib import Path

from digits.core.params import Recipe
from digits.models.backend import ARITHMETIC, tf

_DIGITS = 16  # hex digits of a fingerprint
# What decides which weights and ONNX files come out. Comments and docstrings in it do not count.
_ROOMS = ("models", "training")
_PACKAGES = ("keras", "numpy", "onnx", "tf2onnx")


def fingerprint(recipe: Recipe, seed: int, data: str) -> str:
    """A digest that changes when a training run would give other weights.

    Args:
        data: digest of the training and validation data.
    """
    inputs = (recipe.model_dump(mode="json"), seed, data, _code(), versions(), ARITHMETIC)
    text = json.dumps(inputs, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that decide the bytes of a model."""
    named = {name: metadata.version(name) for name in _PACKAGES}
    return named | {"tensorflow": str(tf.__version__)}


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
