"""Only what is merged is promoted: which branch that is, and its policy for the gate."""

from pydantic import ValidationError

from digits.core.errors import RegistryError
from digits.core.params import Gate
from digits.core.project import Project
from digits.versioning import git

_MAIN = ("refs/remotes/origin/main", "refs/heads/main")


def objection(project: Project, commit: str) -> str:
    """Why a commit doesn't count as merged; empty if it is."""
    ref = _main(project)
    if ref is None:
        return "there is no branch main or origin/main that it could be merged into"
    if git.is_ancestor(project, commit, ref):
        return ""
    branch = ref.split("/", 2)[2]
    if branch == "main":
        return f"commit {commit[:7]} is not merged into main; merge it first"
    return (
        f"commit {commit[:7]} is not in {branch}; merge it and run 'git fetch', or "
        "'git push origin main' if it is on your main"
    )


def policy(project: Project) -> Gate:
    """Section `gate` of the merged params.yaml, so that a change that isn't merged doesn't count.

    Raises:
        RegistryError: it is missing or malformed.
    """
    ref = _main(project) or "HEAD"
    document = git.read_mapping(project, "params.yaml", git.resolve(project, ref))
    try:
        return Gate.model_validate(document.get("gate"))
    except ValidationError as exc:
        keys = ", ".join(".".join(["gate", *map(str, error["loc"])]) for error in exc.errors()[:5])
        raise RegistryError(
            f"params.yaml of {ref} doesn't fit the code that is checked out: {keys} is missing, "
            "unknown or out of bounds; correct and merge it, or check out main"
        ) from exc


def _main(project: Project) -> str | None:
    """The reference that holds what is merged: the remote's main, where there is one."""
    return next((ref for ref in _MAIN if git.exists(project, ref)), None)
