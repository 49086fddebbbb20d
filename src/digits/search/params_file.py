"""A recipe in the text of params.yaml: put there while every other line stays as it is.

Only the lines of that recipe are written; PyYAML says where they are. Loading the file and dumping
it again would lose what no value holds: comments, unused anchors, how a number was spelled.
"""

import json
import re
from textwrap import indent
from typing import Any

import yaml

from digits.core.errors import ParameterError
from digits.core.params import Recipe

_COMMENT = "# found by 'digits search'; reports/search.json says how"
_COLUMN = 26  # where params.yaml's comments begin


def put(text: str, name: str, recipe: Recipe, base: str) -> str:
    """`text` with a recipe as `models.<name>`: in its old place, else at the end of `models`.

    Args:
        text: a params.yaml whose `models` hold `base`.
        base: the recipe that it was made from. If that has an anchor, only what differs from it is
            written; of an augmentation that differs, every value.

    Raises:
        ParameterError: the file is written in a way that leaves no place for it.
    """
    entries = _entries(text)
    old = entries.get(name)
    column = entries[base][0].start_mark.column
    anchor = _anchor(text, *entries[base])
    values = recipe.model_dump(mode="json")
    if anchor:
        from_base = Recipe.model_validate(yaml.safe_load(text)["models"][base])
        unchanged = from_base.model_dump(mode="json").items()
        values = {key: value for key, value in values.items() if (key, value) not in unchanged}
    shared = _anchor(text, *old) if old else ""
    head = f"{name}:{_spelled(' &', shared)}"
    body = _spelled("<<: *", anchor, "\n") + _block(values)
    entry = f"{head:{_COLUMN - 1 - column}} {_COMMENT}\n{indent(body, '  ')}"
    start, end = _place(text, old or list(entries.values())[-1], replace=bool(old))
    before = text[:start] if text[:start].endswith("\n") else text[:start] + "\n"
    changed = before + indent(entry, " " * column) + text[end:]
    if not _is_only_change(text, changed, name, recipe, bool(shared)):
        raise ParameterError(
            f"params.yaml: 'models.{name}' can't be put into a file written like this; "
            f"do it by hand: {json.dumps(recipe.model_dump(mode='json'))}"
        )
    return changed


def _entries(text: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """The recipes in `models`: name → the nodes of key and value."""
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    models = next(value for key, value in root.value if key.value == "models")
    return {key.value: (key, value) for key, value in models.value}


def _anchor(text: str, key: yaml.Node, value: yaml.Node) -> str:
    """The anchor of an entry, "" if it has none."""
    found = re.match(r":[ \t]+&(\S+)", text[key.end_mark.index :])
    return found[1] if found else ""


def _spelled(before: str, name: str, after: str = "") -> str:
    return f"{before}{name}{after}" if name else ""


def _block(values: dict[str, Any]) -> str:
    """Lines of YAML, one a value, lists in brackets."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines.append(f"{key}:\n{indent(_block(value), '  ')}")
        else:
            flow = None if isinstance(value, list) else False
            lines.append(yaml.safe_dump({key: value}, default_flow_style=flow, width=1000))
    return "".join(lines)


def _place(text: str, entry: tuple[yaml.Node, yaml.Node], *, replace: bool) -> tuple[int, int]:
    """From where to where whole lines give way: those of an entry, or none right after it."""
    end = text.find("\n", max(map(_last, entry))) + 1 or len(text)
    return (text.rfind("\n", 0, entry[0].start_mark.index) + 1 if replace else end), end


def _last(node: yaml.Node) -> int:
    """Where the last character of a node is; an alias counts where its anchor is, so before."""
    if isinstance(node, yaml.ScalarNode) or getattr(node, "flow_style", False) or not node.value:
        return int(node.end_mark.index)
    pairs = isinstance(node, yaml.MappingNode)
    parts = [part for pair in node.value for part in pair] if pairs else node.value
    return max(map(_last, parts))


def _is_only_change(before: str, after: str, name: str, recipe: Recipe, shared: bool) -> bool:
    """Whether nothing else has another value; recipes made from a shared one may."""
    try:
        old, new = yaml.safe_load(before), yaml.safe_load(after)
    except yaml.YAMLError:
        return False
    written = new["models"].pop(name, None)
    old["models"].pop(name, None)
    if shared:
        old["models"], new["models"] = list(old["models"]), list(new["models"])
    return bool(old == new and written and Recipe.model_validate(written) == recipe)
