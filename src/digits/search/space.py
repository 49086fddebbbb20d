"""The search space of params.yaml: its distributions in Optuna, and conversion to recipes."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from digits.core.errors import ParameterError
from digits.core.params import Augmentation, Recipe, Space

if TYPE_CHECKING:
    import optuna

START = "accurate"  # the model that a search starts from
RESULT = "tuned"  # the model that it writes
_CHOICES = {"widths", "batch_size"}  # all others are ranges
_LOGARITHMIC = {"learning_rate", "weight_decay"}
_DIGITS = 3  # significant digits of a sampled number


def check(space: Space, start: Recipe) -> None:
    """Check that a search can start from this recipe, `models.<START>`.

    Raises:
        ParameterError: a value is outside the space, or the recipe has pretrained weights.
    """
    problems = []
    values = _flat(start)
    for key, bounds in space:
        value = values[key]
        if value not in bounds if key in _CHOICES else not bounds[0] <= value <= bounds[1]:
            problems.append(
                f"'search.space.{key}' is {space.model_dump(mode='json')[key]}; expected it to "
                f"include {list(value) if key == 'widths' else value}, as in 'models.{START}'"
            )
    if start.pretrained:
        problems.append(
            f"'models.{START}.pretrained' is set; expected null, as trials train from scratch"
        )
    if problems:
        raise ParameterError(f"params.yaml: {'; '.join(problems)}")


def distributions(space: Space) -> "dict[str, optuna.distributions.BaseDistribution]":
    """The space in Optuna's terms; learning rate and weight decay are sampled logarithmically."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    choices = {
        "widths": CategoricalDistribution([_joined(widths) for widths in space.widths]),
        "batch_size": CategoricalDistribution(space.batch_size),
    }
    return choices | {
        name: FloatDistribution(*bounds, log=name in _LOGARITHMIC)
        for name, bounds in space
        if name not in _CHOICES
    }


def proposal(recipe: Recipe) -> dict[str, Any]:
    """A recipe as a trial's parameters in Optuna, which has no lists: `widths` are joined."""
    values = _flat(recipe)
    return {name: values[name] for name in Space.model_fields} | {"widths": _joined(recipe.widths)}


def values(proposed: Mapping[str, Any], start: Recipe) -> dict[str, Any]:
    """A trial's parameters as values of a recipe, rounded unless they equal the start's."""
    exact = proposal(start)
    rounded = {name: proposed[name] for name in Space.model_fields}
    for name, value in rounded.items():
        if isinstance(value, float) and value != exact[name]:
            rounded[name] = float(f"{value:.{_DIGITS}g}")
    return rounded | {"widths": [int(width) for width in proposed["widths"].split()]}


def recipe(start: Recipe, chosen: Mapping[str, Any]) -> Recipe:
    """The start with other `values`."""
    document = start.model_dump()
    for name, value in chosen.items():
        section = document["augmentation"] if name in Augmentation.model_fields else document
        section[name] = value
    return Recipe.model_validate(document)


def _flat(recipe: Recipe) -> dict[str, Any]:
    """The values of a recipe and of its augmentation, which share no name."""
    return {**dict(recipe), **dict(recipe.augmentation)}


def _joined(widths: Iterable[int]) -> str:
    return " ".join(map(str, widths))
