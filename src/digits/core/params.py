"""params.yaml, typed. One frozen section a stage; no default repeats the file.

Only the file has the values: a section that is missing, a key that is unknown and a value out of
bounds are errors that name it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from digits.core.errors import ParameterError

Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
FileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Width = Annotated[int, Field(ge=1, le=2048)]
Widths = Annotated[tuple[Width, ...], Field(max_length=12)]  # channels or units, layer by layer
BatchSize = Annotated[int, Field(ge=1, le=4096)]
Portion = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Degrees = Annotated[float, Field(ge=0, le=45)]
Resize = Annotated[float, Field(ge=0, le=0.5)]  # share of the size
Pixels = Annotated[float, Field(ge=0, le=8)]
Bend = Annotated[float, Field(ge=0, le=4)]  # pixels, standard deviation of the control points
ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
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
    val_runs: Size  # of neighbouring images
    val_guard: Count  # images to each side of a run that are neither train nor val
    seed: Seed
    train_batches: tuple[str, ...]  # labelled handwriting to learn from, besides MNIST


class Train(Section):
    """Which of `models` is trained, and from which random start."""

    model: str
    seed: Seed
    arithmetic: Literal["portable", "fast"]  # the same bytes on every CPU, or TensorFlow's default


class Augmentation(Section):
    """Random distortion of training images; affine values are the largest deviation."""

    rotation: Degrees
    scale: Resize
    shear: Share  # tangent of the slant
    shift: Pixels
    elastic: Bend
    filtered: Share  # of the images, seen through a random filter
    noise: Share  # Gaussian, in half the images: largest standard deviation, as a share of white


class Pretrained(Section):
    """Weights to start from; used only if they are the pinned ones."""

    path: str
    sha256: Sha256


class Recipe(Section):
    """A network and how it learns: one entry of `models`."""

    network: str
    widths: Widths
    dropout: Portion  # before the last layer
    members: Annotated[int, Field(ge=1, le=50)]  # networks whose probabilities are averaged
    views: Literal[1, 5]  # 5: each image is also read shifted by a pixel to each side
    pretrained: Pretrained | None
    optimizer: Literal["adam", "muon"]
    epochs: Size
    batch_size: BatchSize
    learning_rate: Rate  # peak
    momentum: Annotated[float, Field(gt=0, lt=1)]  # Muon's; Adam keeps its own
    schedule: Literal["cosine", "constant"]
    warmup: Share  # share of all steps in which the learning rate rises
    weight_decay: Share
    label_smoothing: Portion
    label_noise: Portion  # share of the labels that is taken to be wrong
    skip_easy: Annotated[float, Field(ge=0, le=0.9)]  # share of all images, of the easy ones
    averaging: Portion  # momentum of the weights' moving average
    patience: Size  # epochs without a better validation loss before stopping
    augmentation: Augmentation


class Evaluate(Section):
    """Figures on the test set."""

    confidence_level: Annotated[float, Field(gt=0.5, lt=1)]
    calibration_bins: Annotated[int, Field(ge=2, le=100)]
    gallery: Count  # mistakes to show
    doubted_labels: tuple[Count, ...]  # rows of the test set, from 0
    corruption_seed: Seed


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


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise PydanticCustomError("falling", "expected [from, to], from not above to")
    return ends


_Rising = AfterValidator(_rising)


class Space(Section):
    """Where a search looks: a list of choices, or [from, to]; equal ends leave a value alone."""

    widths: Annotated[tuple[Widths, ...], Field(min_length=1)]
    batch_size: Annotated[tuple[BatchSize, ...], Field(min_length=1)]
    learning_rate: Annotated[tuple[Rate, Rate], _Rising]
    weight_decay: Annotated[tuple[Rate, Rate], _Rising]
    dropout: Annotated[tuple[Portion, Portion], _Rising]
    label_smoothing: Annotated[tuple[Portion, Portion], _Rising]
    rotation: Annotated[tuple[Degrees, Degrees], _Rising]
    scale: Annotated[tuple[Resize, Resize], _Rising]
    shear: Annotated[tuple[Share, Share], _Rising]
    shift: Annotated[tuple[Pixels, Pixels], _Rising]
    elastic: Annotated[tuple[Bend, Bend], _Rising]


class Search(Section):
    """How long and where `digits search` looks for a better recipe."""

    trials: Size
    minutes: Annotated[float, Field(gt=0)]
    epochs: Size  # of each trial
    train_count: Annotated[int, Field(ge=10)]  # images that each trial learns from
    seed: Seed
    startup_trials: Size  # before the sampler learns from trials and the pruner stops any
    space: Space


class Params(Section):
    """The whole of params.yaml."""

    fetch: Fetch
    ingest: Ingest
    validate_: Validate = Field(alias="validate")  # `validate` alone is pydantic's own
    preprocess: Preprocess
    train: Train
    models: dict[ModelName, Recipe]
    evaluate: Evaluate
    drift: Drift
    compare: Compare
    search: Search

    @model_validator(mode="after")
    def _knows_its_model(self) -> Self:
        if self.train.model not in self.models:
            raise PydanticCustomError(
                "unknown_model",
                "'train.model' is {model}; known: {known}",
                {"model": repr(self.train.model), "known": ", ".join(self.models)},
            )
        return self

    @property
    def recipe(self) -> Recipe:
        """The network that the train stage trains."""
        return self.models[self.train.model]


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
    if error["type"] == "unknown_model":
        return str(error["msg"])
    return f"'{where}' is {error['input']!r}: {str(error['msg']).lower()}"


def _section(names: list[str]) -> str:
    return f"section '{'.'.join(names)}'" if names else "the file"


def _known(names: list[str]) -> str:
    model: type[BaseModel] = Params
    for name in names:
        field = next((f for key, f in model.model_fields.items() if name in (key, f.alias)), None)
        if field is None:
            continue  # the name of a model, as `models` maps names to recipes
        found = next(filter(_is_section, (field.annotation, *get_args(field.annotation))), None)
        if found is None:
            break
        model = found
    return ", ".join(field.alias or key for key, field in model.model_fields.items())


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
