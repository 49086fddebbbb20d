"""Training a recipe as a whole: its members one after the other, joined into one network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digits.core.params import Recipe
from digits.data.dataset import Split
from digits.models import networks
from digits.models.backend import ARITHMETIC, keras
from digits.training import fingerprint, loop
from digits.training.checkpoints import Checkpoint
from digits.training.loop import Trained

_SCORED = 5000  # training images that the card's training figures are measured on


@dataclass(frozen=True)
class Ensemble:
    """Trained members and `network`, which joins them; one member is an ensemble, too.

    `train` and `val` are the network's loss and accuracy on undistorted images of the splits.
    """

    recipe: Recipe
    scale: tuple[float, float]
    members: list[Trained]
    network: "keras.Model"
    train: dict[str, float]
    val: dict[str, float]

    def card(self) -> dict[str, Any]:
        """What the model card says of the network."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "parameters": self.network.count_params(),
            "epochs": max(len(member.history["loss"]) for member in self.members),
            "best_epoch": self.members[0].best_epoch,
            "members": [_best(member) for member in self.members],
            "train": self.train,
            "val": self.val,
            "gap": round(self.train["accuracy"] - self.val["accuracy"], 6),
            "scale": dict(zip(("mean", "std"), self.scale, strict=True)),
            "arithmetic": ARITHMETIC,
            "built_with": fingerprint.versions(),
        }


def train(
    data: Split,
    val: Split,
    scale: tuple[float, float],
    recipe: Recipe,
    seed: int,
    *,
    checkpoints: Path,
    pretrained: Path | None = None,
    log: Callable[[str], None] = print,
) -> Ensemble:
    """Train all members of a recipe; arguments as for `loop.train`.

    Args:
        checkpoints: a folder for the members' checkpoints, from which an interrupted run resumes.
    """
    members = []
    for member in range(1, recipe.members + 1):
        if recipe.members > 1:
            log(f"member {member} of {recipe.members}")
        members.append(
            loop.train(
                data,
                val,
                scale,
                recipe,
                loop.member_seed(seed, member),
                checkpoint=Checkpoint(checkpoints / f"{member}.npz"),
                pretrained=pretrained,
                log=log,
            )
        )
    network = networks.joined([member.model for member in members], recipe.views)
    scored = Split(data.images[:_SCORED], data.labels[:_SCORED])
    figures = (_rounded(loop.score(network, split)) for split in (scored, val))
    return Ensemble(recipe, scale, members, network, *figures)


def _best(member: Trained) -> dict[str, float]:
    """A member's figures at its best epoch; `val_objective` is the loss that training lowers."""
    history = {"val_objective": "val_loss", "val_accuracy": "val_accuracy"}
    return _rounded(
        {name: member.history[metric][member.best_epoch - 1] for name, metric in history.items()}
    )


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {metric: round(value, 6) for metric, value in figures.items()}
