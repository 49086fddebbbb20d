"""Write a recipe into params.yaml with ruamel.yaml, which keeps comments, anchors and layout."""

import io
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.mergevalue import MergeValue
from ruamel.yaml.representer import RoundTripRepresenter

from digits.core.params import Recipe

_COMMENT = "found by 'digits search'; see reports/search.json"
_COLUMN = 26  # of comments in params.yaml


def put(text: str, name: str, recipe: Recipe, base: str) -> str:
    """The text of a params.yaml with `recipe` as `models.<name>`.

    A new entry is added at the end of `models`, an existing one changes in place.

    Args:
        base: the model that the search started from. If it has an anchor, a new entry inherits
            from it and contains only the values that differ.
    """
    round_trip = YAML()
    round_trip.width = 1_000_000  # never fold a line
    round_trip.Representer = _Representer
    document = round_trip.load(text.replace("\r\n", "\n"))
    models = document["models"]
    if name not in models:
        models[name] = CommentedMap()
        if models[base].anchor.value:
            merge = MergeValue()
            merge.merge_pos = 0
            merge.append(models[base])
            models[name].add_yaml_merge(merge)
        models.yaml_add_eol_comment(_COMMENT, name, column=_COLUMN)
    _update(models[name], recipe.model_dump(mode="json"))
    written = io.StringIO()
    round_trip.dump(document, written)
    return written.getvalue().replace("\n", "\r\n" if "\r\n" in text else "\n")


def _update(entry: CommentedMap, values: dict[str, Any]) -> None:
    """Set values in a mapping, except those that are equal already, be it by inheritance."""
    for key, value in values.items():
        if key in entry and entry[key] == value:
            continue
        if isinstance(value, dict):
            shared = any(parent.get(key) is entry.get(key) for parent in entry.merge or ())
            if key not in entry or shared or entry[key].anchor.value:
                entry[key] = CommentedMap()
            _update(entry[key], value)
        elif isinstance(value, list):
            entry[key] = CommentedSeq(value)
            entry[key].fa.set_flow_style()  # [in, brackets]
        else:
            entry[key] = value


def _null(representer: Any, _: None) -> Any:
    """Write `null`, where ruamel.yaml would write nothing."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _float(representer: Any, value: float) -> Any:
    """Write a number that YAML 1.1 also reads as one: `1.0e-05`, not `1e-05`."""
    return representer.represent_scalar("tag:yaml.org,2002:float", yaml.safe_dump(value).split()[0])


class _Representer(RoundTripRepresenter):
    """A class of its own, as representers belong to the class, and DVC writes dvc.lock with it."""


_Representer.add_representer(type(None), _null)
_Representer.add_representer(float, _float)
