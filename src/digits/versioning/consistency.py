"""Do data, code, parameters, weights and reports belong together? Everybody asks here.

A result belongs to its inputs if dvc.lock records the inputs that are there now, and the weights
are those of the model card.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from digits.core import files
from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.models import weights
from digits.versioning import dvc, git

_TRACKED = ("dvc.yaml", "dvc.lock", "params.yaml", "data.dvc", "reports", "src", "flows")


@dataclass(frozen=True)
class Consistency:
    """What doesn't belong together.

    `stale` maps stages to what changed since they ran, `uncommitted` are files that differ from
    HEAD (empty for a commit), `weights` says why models/ isn't what the model card describes; it
    is empty if they match or are not on this disk.
    """

    stale: dict[str, list[str]]
    uncommitted: list[str]
    weights: str

    @property
    def problems(self) -> list[str]:
        """Why the results are not those of the inputs; empty if they are."""
        found = [f"{stage} is stale: {listed(why)} changed" for stage, why in self.stale.items()]
        return [*found, self.weights] if self.weights else found

    @property
    def ok(self) -> bool:
        """Whether the results are those of the inputs, committed or not."""
        return not self.problems


def check(project: Project, commit: str | None = None) -> Consistency:
    """Check the working tree or, in a temporary clone, a commit.

    Raises:
        DigitsError: the commit is unknown, or there is no pipeline.
    """
    if commit is None:
        return Consistency(_stale(project), uncommitted(project), _weights(project))
    with tempfile.TemporaryDirectory(prefix="digits-") as folder:
        root = Path(folder) / "clone"
        top = git.run(project, "rev-parse", "--show-toplevel").rstrip("\n")
        git.run(project, "clone", "--quiet", "--shared", "--no-checkout", top, str(root))
        clone = Project(root / _prefix(project))
        git.run(Project(root), "checkout", "--quiet", "--detach", commit)
        return Consistency(_stale(clone), [], "")


def _stale(project: Project) -> dict[str, list[str]]:
    """Stale stages; also found where data/ isn't on disk, by the hash that data.dvc pins."""
    stale = dvc.stale(project)
    stages = git.read_mapping(project, "dvc.lock").get("stages") or {}
    deps = (stages.get("ingest") or {}).get("deps") or []
    locked = {dep.get("path"): dep.get("md5") for dep in deps}.get(project.data.name)
    pinned = dvc.find_data_version(project)
    if pinned and locked and pinned.md5 != locked:
        changed = stale.get("ingest", [])
        stale["ingest"] = sorted({*changed, project.data.name})
    return stale


def uncommitted(project: Project) -> list[str]:
    """Tracked files of the project that differ from HEAD."""
    arguments = ("status", "--porcelain", "--untracked-files=no", "--", *_TRACKED)
    return [line[3:] for line in git.run(project, *arguments).splitlines()]


def _weights(project: Project) -> str:
    try:
        card = files.read_json(project.model_card)
    except DigitsError:
        return ""
    names = card.get("weights") or {} if isinstance(card, dict) else {}
    if not any((project.root / name).is_file() for name in names):
        return ""
    try:
        weights.verified(project.root, card)
    except DigitsError as exc:
        return str(exc)
    return ""


def _prefix(project: Project) -> str:
    """The project's folder in its repository."""
    return git.run(project, "rev-parse", "--show-prefix").strip()


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names in a sentence; of many, the first ones."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
