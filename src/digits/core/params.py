"""params.yaml, typed and bounded: one frozen section for each stage.

A new parameter needs a field here and a value in params.yaml. There are no defaults: a missing
key, an unknown key and a value out of bounds are errors that name the key.
"""

import difflib
import reprlib
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

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
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=1)]
Degrees = Annotated[float, Field(ge=0, le=45)]
Resize = Annotated[float, Field(ge=0, le=0.5)]  # share of the size
Pixels = Annotated[float, Field(ge=0, le=8)]
Bend = Annotated[float, Field(ge=0, le=4)]  # pixels, standard deviation of the control points
ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys forbidden."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Fetch(Section):
    """Checksums of the raw data; projects with other digits write their own."""

    sha256: dict[FileName, Sha256]  # by name of the file in data/mnist


class Ingest(Section):
    """Raw files → arrays and an index."""

    ink_level: Annotated[int, Field(ge=1, le=255)]  # pixels at or above it count as ink


class Validate(Section):
    """What the data must look like before a network is trained on it."""

    train_count: Size
    test_count: Size
    min_class_share: Share
    max_class_share: Share
    max_mean_intensity: Share  # 0–1; higher means inverted, as ink is white
    max_duplicate_share: Share
    max_near_copy_share: Share  # shifted, recompressed or noisy; also of test images in train
    max_wrong_labels: Share  # that a set's other images contradict
    min_agreement: Share  # of train and test: labels of one that the other's witness reads
    min_digit_agreement: Share  # the same for each digit
    min_outside_agreement: Share  # labels of handwriting that train's witness reads
    max_exchanged: Share  # images that an exchange of digits would let a witness read right
    max_contradicted: Share  # labels of a new batch against which model and witness agree
    max_unsure: Share  # images of a new batch that model and witness don't read alike and surely
    chance: Annotated[float, Field(gt=0, le=0.5)]  # of breaking a bound without deserving it
    trusted_batches: tuple[str, ...]  # handwriting whose labels need not agree with train's


class Preprocess(Section):
    """Training data → train and validation sets; the test set is left alone."""

    val_count: Size
    val_runs: Size  # number of runs of neighbouring images that make up the validation set
    val_guard: Count  # images on each side of a run that are used in neither set
    seed: Seed
    train_batches: tuple[str, ...]  # batches of labelled handwriting to train on, besides MNIST


class Train(Section):
    """Which of `models` to train, and the random seed."""

    model: str
    seed: Seed
    arithmetic: Literal["portable", "fast"]  # the same bytes on every CPU, or TensorFlow's default


class Augmentation(Section):
    """Random distortion of training images; affine parameters are maximum deviations."""

    rotation: Degrees
    scale: Resize
    shear: Share  # tangent of the slant
    shift: Pixels
    elastic: Bend
    filtered: Share  # of images that are passed through a random filter
    noise: Share  # Gaussian, in half of the images: maximum standard deviation, white is 1


class Pretrained(Section):
    """Initial weights; refused if their SHA-256 differs."""

    path: str
    sha256: Sha256


class Recipe(Section):
    """A network and how to train it: one entry of `models`."""

    network: str
    widths: Widths
    dropout: Portion  # rate before the last layer
    members: Annotated[int, Field(ge=1, le=50)]  # networks whose probabilities are averaged
    views: Literal[1, 5]  # 5: average over the image and its shifts by a pixel in each direction
    pretrained: Pretrained | None
    optimizer: Literal["adam", "muon"]
    epochs: Size
    batch_size: BatchSize
    learning_rate: Rate  # peak
    momentum: Annotated[float, Field(gt=0, lt=1)]  # of Muon; Adam uses its own
    schedule: Literal["cosine", "constant"]
    warmup: Share  # share of all steps during which the learning rate rises
    weight_decay: Share
    label_smoothing: Portion
    label_noise: Portion  # assumed share of wrong labels
    skip_easy: Annotated[
        float, Field(ge=0, le=0.9)
    ]  # share of the images to skip in each epoch, easiest first
    averaging: Portion  # momentum of the weights' moving average; 0: none
    patience: Size  # epochs without a lower validation loss before early stopping
    augmentation: Augmentation


class Evaluate(Section):
    """Metrics on the test set."""

    confidence_level: Annotated[float, Field(gt=0.5, lt=1)]
    calibration_bins: Annotated[int, Field(ge=2, le=100)]
    gallery: Count  # number of mistakes to show
    doubted_labels: tuple[Count, ...]  # rows of the test set whose labels are doubtful, from 0
    corruption_seed: Seed


class Drift(Section):
    """When a batch of handwriting counts as drifted from the training data."""

    reference_count: Size  # number of validation images in the reference window
    alpha: Annotated[float, Field(gt=0, lt=0.5)]  # probability of a false alarm per batch
    tolerance: Share  # a larger estimated loss of accuracy is harmful
    permutations: Size  # of reference and batch, for p-values
    seed: Seed


class Gate(Section):
    """What a model must show before it may become the champion."""

    confidence_level: Annotated[float, Field(gt=0.5, lt=1)]  # of tests and intervals
    min_accuracy: Share  # on the test set
    min_recall: Share  # of each digit, on the test set
    min_batch_accuracy: Share  # on each labelled batch of handwriting that it was not trained on
    max_calibration_error: Share
    max_corrupted_error: Share  # mean over MNIST-C's corruptions
    max_corrupted_rise: Share  # above the champion's mean
    max_megabytes: Positive  # of the ONNX file
    max_milliseconds: Positive  # to recognise one image; median
    max_slowdown: Positive  # ratio to the champion's milliseconds, measured side by side
    slowdown_floor: Positive  # ms; a smaller difference to the champion is noise
    max_memory: Positive  # MB, peak of a process that recognises


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise PydanticCustomError("descending", "expected [from, to] with from <= to")
    return ends


_Ascending = AfterValidator(_ascending)


class Space(Section):
    """The search space: lists of choices, or [from, to]; equal bounds fix a value."""

    widths: Annotated[tuple[Widths, ...], Field(min_length=1)]
    batch_size: Annotated[tuple[BatchSize, ...], Field(min_length=1)]
    learning_rate: Annotated[tuple[Rate, Rate], _Ascending]
    weight_decay: Annotated[tuple[Rate, Rate], _Ascending]
    dropout: Annotated[tuple[Portion, Portion], _Ascending]
    label_smoothing: Annotated[tuple[Portion, Portion], _Ascending]
    rotation: Annotated[tuple[Degrees, Degrees], _Ascending]
    scale: Annotated[tuple[Resize, Resize], _Ascending]
    shear: Annotated[tuple[Share, Share], _Ascending]
    shift: Annotated[tuple[Pixels, Pixels], _Ascending]
    elastic: Annotated[tuple[Bend, Bend], _Ascending]


class Search(Section):
    """Budget and space in which `digits search` looks for a better recipe."""

    trials: Size
    minutes: Annotated[float, Field(gt=0)]
    epochs: Size  # of each trial
    train_count: Annotated[int, Field(ge=10)]  # training images of each trial
    seed: Seed
    startup_trials: (
        Size  # random trials before the sampler uses results and the pruner stops trials
    )
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
    gate: Gate
    search: Search

    @model_validator(mode="after")
    def _knows_its_model(self) -> Self:
        if self.train.model not in self.models:
            closest = _closest(self.train.model, list(self.models))
            advice = f"did you mean '{closest}'?" if closest else _expected(self.models)
            raise PydanticCustomError(
                "unknown_model",
                "'train.model' is {model}, which is not in 'models'; {advice}",
                {"model": repr(self.train.model), "advice": advice},
            )
        return self

    @property
    def recipe(self) -> Recipe:
        """The recipe that the train stage uses."""
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
        ParameterError: the file is missing or not YAML, a key is missing or unknown, or a value is
            out of bounds; the message lists all errors on one line.
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
        raise ParameterError(f"{path.name}: {_describe(exc.errors())}") from exc


def _describe(errors: list[ErrorDetails]) -> str:
    """All errors on one line; an error that models inherit through YAML anchors appears once."""
    suggestions = {
        error["loc"]: _closest(str(error["loc"][-1]), _known_keys(error["loc"][:-1]))
        for error in errors
        if error["type"] == "extra_forbidden"
    }
    misspelled = {(*loc[:-1], suggestion) for loc, suggestion in suggestions.items()}
    groups: dict[Hashable, list[ErrorDetails]] = {}
    for error in errors:
        if error["type"] != "missing" or error["loc"] not in misspelled:
            groups.setdefault(_identity(error), []).append(error)
    return "; ".join(
        _message(group[0], len(group) - 1, suggestions.get(group[0]["loc"]))
        for group in groups.values()
    )


def _identity(error: ErrorDetails) -> Hashable:
    """Equal for errors that a model may have inherited from another one."""
    location = error["loc"]
    if location[:1] == ("models",) and len(location) > 2:
        location = ("models", *location[2:])
    value = error["input"] if error["type"] not in ("missing", "extra_forbidden") else None
    return error["type"], location, repr(value)


def _message(error: ErrorDetails, repetitions: int, suggestion: str | None) -> str:
    where = ".".join(map(str, error["loc"])) or "the file"
    also = {0: "", 1: " (and 1 model that inherits or repeats it)"}.get(
        repetitions, f" (and {repetitions} models that inherit or repeat it)"
    )
    if error["type"] == "extra_forbidden":
        *section, key = error["loc"]
        names = f"did you mean '{suggestion}'?" if suggestion else _expected(_known_keys(section))
        return f"unknown key '{key}' in {'.'.join(map(str, section)) or 'the file'}{also}; {names}"
    if error["type"] == "missing":
        return f"'{where}' is missing{also}"
    if error["type"] == "unknown_model":
        return str(error["msg"])
    return f"'{where}' is {reprlib.repr(error['input'])}{also}: {error['msg'].lower()}"


def _expected(names: Iterable[str]) -> str:
    return f"expected {', '.join(names)}"


def _closest(name: str, names: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, names, n=1)), None)


def _known_keys(location: Iterable[int | str]) -> list[str]:
    """The keys that the section at `location` may have."""
    section: type[BaseModel] = Params
    for name in location:
        for key, field in section.model_fields.items():
            if name in (key, field.alias):
                types = (field.annotation, *get_args(field.annotation))
                section = next(type_ for type_ in types if _is_section(type_))
                break
    return [field.alias or key for key, field in section.model_fields.items()]


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
