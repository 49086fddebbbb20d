"""params.yaml, typed. One frozen section a stage; no default repeats the file.

Only the file has the values: a section that is missing, a key that is unknown and a value out of
bounds are errors that name it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from digits.errors import ParameterError

Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
FileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Section(BaseModel):
    """What all sections share: frozen, and no key that is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Fetch(Section):
    """What the raw data must be; small projects with other digits write their own sums."""

    sha256: dict[FileName, Sha256]  # file in data/mnist → its checksum


class Ingest(Section):
    """Raw files → arrays and an index."""

    ink_level: Annotated[int, Field(ge=1, le=255)]  # pixels from here on count as ink


class Validate(Section):
    """What the data must be before anything is learned from it."""

    train_count: Size
    test_count: Size
    min_class_share: Share
    max_class_share: Share
    max_mean_intensity: Share  # white on black: a page full of ink is inverted
    max_duplicate_share: Share


class Preprocess(Section):
    """Training data → train and val; the test set stays apart."""

    val_count: Size
    seed: Seed
    train_batches: tuple[str, ...]  # labelled handwriting to learn from, besides MNIST


class Augmentation(Section):
    """Random affine distortion of training images; each value is the largest deviation."""

    rotation: Annotated[float, Field(ge=0, le=45)]  # degrees
    scale: Annotated[float, Field(ge=0, le=0.5)]  # share of the size
    shear: Annotated[float, Field(ge=0, le=1)]  # tangent of the slant
    shift: Annotated[float, Field(ge=0, le=8)]  # pixels


class Train(Section):
    """The network and how it learns."""

    model: str
    seed: Seed
    epochs: Size
    batch_size: Annotated[int, Field(ge=1, le=4096)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    warmup: Share  # share of all steps in which the learning rate rises
    patience: Size  # epochs without a better validation loss before stopping
    augmentation: Augmentation


class Evaluate(Section):
    """Figures on the test set."""

    confidence_level: Annotated[float, Field(gt=0.5, lt=1)]
    calibration_bins: Annotated[int, Field(ge=2, le=100)]
    gallery: Count  # mistakes to show


class Drift(Section):
    """When a batch of handwriting counts as different from what was trained on."""

    reference_count: Size  # validation images in the reference window
    alpha: Annotated[float, Field(gt=0, lt=0.5)]  # chance of a false alarm per batch
    min_distance: Share  # a difference smaller than this is no drift, however certain
    min_count: Size  # images below which no verdict is given
    seed: Seed


class Compare(Section):
    """By how much a metric may fall before `digits compare` calls it a regression."""

    tolerance: dict[str, Annotated[float, Field(ge=0)]]


class Params(Section):
    """The whole of params.yaml."""

    fetch: Fetch
    ingest: Ingest
    validate_: Validate = Field(alias="validate")  # `validate` alone is pydantic's own
    preprocess: Preprocess
    train: Train
    evaluate: Evaluate
    drift: Drift
    compare: Compare


StageName = Literal["ingest", "validate", "preprocess", "train", "evaluate", "drift"]
STAGES: tuple[StageName, ...] = (
    "ingest",
    "validate",
    "preprocess",
    "train",
    "evaluate",
    "drift",
)


def load(path: Path) -> Params:
    """The parameters in a params.yaml.

    Raises:
        ParameterError: the file is missing or no YAML, or lacks a key, has one too many or one
            with a value out of bounds; the message names all of them on one line.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ParameterError(f"{path}: not found") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ParameterError(f"{path}: not valid YAML: {' '.join(str(exc).split())}") from exc
    try:
        return Params.model_validate(document)
    except ValidationError as exc:
        raise ParameterError(f"{path.name}: {'; '.join(map(_describe, exc.errors()))}") from exc


def _describe(error: Any) -> str:
    location = error["loc"]
    where = ".".join(map(str, location)) or "the file"
    if error["type"] == "extra_forbidden":
        *section, key = map(str, location)
        return f"unknown key '{key}' in {_section(section)}; it has {_known(section)}"
    if error["type"] == "missing":
        return f"'{where}' is missing"
    return f"'{where}' is {error['input']!r}: {str(error['msg']).lower()}"


def _section(names: list[str]) -> str:
    return f"section '{'.'.join(names)}'" if names else "the file"


def _known(names: list[str]) -> str:
    model: type[BaseModel] = Params
    for name in names:
        field = next((f for key, f in model.model_fields.items() if name in (key, f.alias)), None)
        if field is None or not isinstance(field.annotation, type):
            break
        model = field.annotation
    return ", ".join(field.alias or key for key, field in model.model_fields.items())
