"""`digits gate` and `digits models promote`: the challenger against the champion."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from digits.core import params
from digits.core.errors import RegistryError
from digits.core.params import Gate
from digits.core.project import Project
from digits.gate import evidence, infrastructure, judgement, pictures
from digits.gate.evidence import Evidence
from digits.gate.infrastructure import Trial
from digits.gate.judgement import Judgement
from digits.gate.pictures import Tile
from digits.models import weights
from digits.registry import store
from digits.registry.catalogue import Version, find
from digits.versioning import consistency, git

_ONNX = f"models/{weights.ONNX}"  # the file that runs, in a model card


@dataclass(frozen=True)
class Decision:
    """A judgement, what it is based on, and the images that changed sides.

    `trials` are those of the models that were tried out, by the SHA-256 of their ONNX file.
    """

    judgement: Judgement
    challenger: Evidence
    champion: Evidence | None
    tiles: Mapping[str, list[Tile]]
    trials: Mapping[str, Trial]

    @property
    def tried(self) -> bool:
        """Whether the challenger was run in a clean process."""
        return _onnx(self.challenger) in self.trials


def decide(
    project: Project,
    version: str | None = None,
    policy: Gate | None = None,
    *,
    trial: bool = True,
    known: Mapping[str, Trial] | None = None,
) -> Decision:
    """Judge a version, by default the working tree, against the champion.

    Args:
        version: its name in the registry.
        policy: default: that of params.yaml in the working tree.
        trial: also run both models in clean processes, for a few seconds.
        known: trials to use instead, where they are of these models; keys as in `Decision`.

    Raises:
        RegistryError: the version isn't registered.
        ParameterError: params.yaml, which holds the policy, is invalid.
    """
    policy = policy or params.load(project.params).gate
    chosen = find(project, version) if version else None
    best = _champion(project)
    challenger = _evidence(project, chosen)
    champion = _evidence(project, best) if best else None
    problems = consistency.check(project, challenger.commit).problems
    trials: tuple[Trial | None, Trial | None] = (None, None)
    if trial and not problems:
        root = store.materialise(project, chosen) if chosen else project.root
        golden = git.read_bytes(project, project.relative(project.golden), challenger.commit)
        trials = infrastructure.try_out(golden, root, _files(project, best))
    elif known and not problems:
        trials = known.get(_onnx(challenger)), known.get(_onnx(champion))
    result = judgement.judge(
        challenger,
        champion,
        policy,
        problems=problems,
        trial=trials[0],
        champion_trial=trials[1],
    )
    tiles = pictures.changed(project, champion, challenger, result.sets) if champion else {}
    sides = ((_onnx(challenger), trials[0]), (_onnx(champion), trials[1]))
    return Decision(
        result, challenger, champion, tiles, {digest: one for digest, one in sides if one}
    )


def _onnx(one: Evidence | None) -> str:
    """The SHA-256 of the file that runs; empty if it is not recorded."""
    return str(one.weights.get(_ONNX, "")) if one else ""


def _champion(project: Project) -> Version | None:
    try:
        return find(project)
    except RegistryError:
        return None


def _evidence(project: Project, version: Version | None) -> Evidence:
    if version is None:
        return evidence.read(project)
    return evidence.read(project, version.commit, version.name)


def _files(project: Project, champion: Version | None) -> Path | None:
    """The champion's files, if DVC can get them."""
    if champion is None:
        return None
    try:
        return store.materialise(project, champion)
    except RegistryError:
        return None
