"""Where a search looks: bounds and choices of params.yaml, in Optuna's words and in a recipe's."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from digits.core.errors import ParameterError
from digits.core.params import Augmentation, Recipe, Space

if TYPE_CHECKING:
    import optuna

_CHOICES = {"widths", "batch_size"}
_LOGARITHMIC = {"learning_rate", "weight_decay"}
_DIGITS = 3  # that count, of a number that is tried: more would be noise


def check(space: Space, start: Recipe, name: str) -> None:
    """Can a search begin at this recipe?

    Args:
        name: what `start` is called in `models`.

    Raises:
        ParameterError: it lies outside the space, or needs weights; all reasons are named.
    """
    problems = []
    values = _flat(start)
    for key, between in space:
        inside = values[key] in between
        if key not in _CHOICES:
            inside = between[0] <= values[key] <= between[1]
        if not inside:
            told = list(start.widths) if key == "widths" else values[key]
            problems.append(
                f"'search.space.{key}' is {space.model_dump(mode='json')[key]}; "
                f"expected to hold {told}, which 'models.{name}' has"
            )
    if start.pretrained:
        problems.append(f"'models.{name}.pretrained' is set; expected null: trials learn anew")
    if problems:
        raise ParameterError(f"params.yaml: {'; '.join(problems)}")


def distributions(space: Space) -> "dict[str, optuna.distributions.BaseDistribution]":
    """The space for Optuna; learning rate and weight decay are spread over orders of magnitude."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    found = {}
    for name, between in space:
        if name == "widths":
            found[name] = CategoricalDistribution([_joined(widths) for widths in between])
        elif name in _CHOICES:
            found[name] = CategoricalDistribution(between)
        else:
            found[name] = FloatDistribution(*between, log=name in _LOGARITHMIC)
    return found


def proposal(recipe: Recipe) -> dict[str, Any]:
    """A recipe's values as Optuna would propose them: it keeps no lists, so widths are a text."""
    values = _flat(recipe)
    return {name: values[name] for name in Space.model_fields} | {"widths": _joined(recipe.widths)}


def values(proposed: Mapping[str, Any], start: Recipe) -> dict[str, Any]:
    """What Optuna proposed, as it stands in a recipe; the start's own values stay exact."""
    exact = proposal(start)
    found = {name: proposed[name] for name in Space.model_fields}
    for name, value in found.items():
        if isinstance(value, float) and value != exact[name]:
            found[name] = float(f"{value:.{_DIGITS}g}")
    return found | {"widths": [int(width) for width in proposed["widths"].split()]}


def recipe(start: Recipe, chosen: Mapping[str, Any]) -> Recipe:
    """The start with other `values`."""
    distortion = {name: chosen[name] for name in Augmentation.model_fields if name in chosen}
    others = {name: chosen[name] for name in Recipe.model_fields if name in chosen}
    augmentation = start.augmentation.model_dump() | distortion
    return Recipe.model_validate(start.model_dump() | others | {"augmentation": augmentation})


def _flat(recipe: Recipe) -> dict[str, Any]:
    """Values of a recipe and of its augmentation, whose names differ."""
    return {**dict(recipe), **dict(recipe.augmentation)}


def _joined(widths: Iterable[int]) -> str:
    return " ".join(map(str, widths))
