"""What a tag records about a model, so that code, data, parameters, figures and weights stay
together wherever the tag is.
"""

import hashlib
import platform
from typing import Any

from digits.core.errors import DataError, RegistryError
from digits.core.project import Project
from digits.registry import catalogue
from digits.versioning import dvc, git

_LOCK = "requirements.lock"
_PARAMETERS = ("model", "seed", "arithmetic")


def of_commit(project: Project, commit: str) -> dict[str, Any]:
    """The facts that follow from a commit alone; `verify` compares a tag with them.

    Raises:
        RegistryError: the commit has no model card, or a malformed one.
        DataError: its data.dvc, model card or metrics are damaged.
    """
    card = catalogue.card(project, commit)
    data = dvc.find_data_version(project, commit)
    lock = git.read_bytes(project, _LOCK, commit)
    recipe = card.get("recipe")
    return {
        "commit": commit,
        "data": data.md5 if data else None,
        "parameters": {
            **{name: card[name] for name in _PARAMETERS if name in card},
            **(recipe if isinstance(recipe, dict) else {}),
        },
        "metrics": _figures(git.read_mapping(project, catalogue.METRICS, commit).get("test")),
        "weights": catalogue.digests(card),
        "built_with": card.get("built_with") or {},
        "requirements": hashlib.sha256(lock).hexdigest() if lock else None,
    }


def of_machine() -> dict[str, str]:
    """Where a version was registered."""
    return {"python": platform.python_version(), "platform": platform.platform(terse=True)}


def contradiction(project: Project, commit: str, recorded: dict[str, Any]) -> str:
    """What a tag says otherwise than its commit; empty if nothing."""
    try:
        actual = of_commit(project, commit)
    except (DataError, RegistryError) as exc:
        return str(exc)
    wrong = [name for name, value in actual.items() if name in recorded and recorded[name] != value]
    return f"the tag has other {', '.join(wrong)} than its commit" if wrong else ""


def _figures(test: Any) -> dict[str, Any]:
    """The figures and intervals of the test set, without tables."""
    if not isinstance(test, dict):
        return {}
    return {
        name: value
        for name, value in test.items()
        if isinstance(value, int | float | str)
        or (isinstance(value, list) and all(isinstance(one, int | float) for one in value))
    }
