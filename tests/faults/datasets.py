"""Faults of training and test sets, each with the words that its message must have."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from digits.core.params import Validate
from digits.validation import checks, expectations
from faults import pictures

Arrays = tuple[np.ndarray, np.ndarray]  # uint8 images (n, 28, 28), labels (n,)
_NOT_SHOWN = 255  # an empty label


@dataclass(frozen=True)
class Data:
    """Train, test, and digits from elsewhere, and what becomes of the index."""

    train: Arrays
    test: Arrays
    anchor: Arrays
    spoil: Callable[[pd.DataFrame], pd.DataFrame] = lambda index: index


@dataclass(frozen=True)
class Fault:
    """A fault; `says` must be in one of the lines on it, `count` is how many images it hits."""

    name: str
    inject: Callable[[Data, np.random.Generator], Data]
    says: str
    count: int | None = None
    countable: bool = True


@dataclass(frozen=True)
class Finding:
    """What became of a fault: the lines of the broken expectations, and whether they will do."""

    lines: list[str]
    named: bool
    counted: bool
    says: str = ""

    @property
    def complete(self) -> bool:
        """Caught, named and counted."""
        return bool(self.lines) and self.named and self.counted

    @property
    def shown(self) -> str:
        """The line that names the fault, else the first."""
        return next((line for line in self.lines if self.says in line), "")


def check(data: Data, params: Validate) -> list[str]:
    """A line on each broken expectation."""
    parts = {"train": data.train, "test": data.test, "handwriting": data.anchor}
    images = np.concatenate([part[0] for part in parts.values()])
    labels = np.concatenate([part[1].astype(int) for part in parts.values()])
    index = pd.DataFrame(
        {
            "id": np.arange(len(images)),
            "split": np.repeat(list(parts), [len(part[0]) for part in parts.values()]),
            "source": "mnist",
            "batch": np.repeat(
                ["mnist", "mnist", "uci-digits"], [len(p[0]) for p in parts.values()]
            ),
            "label": pd.array(labels, dtype="Int16"),
            "writer": "",
            "sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in images],
            "intensity": images.mean(axis=(1, 2)) / 255,
        }
    )
    index.loc[index["label"].eq(_NOT_SHOWN), "label"] = pd.NA
    report = expectations.validate(data.spoil(index), images, params)
    return [checks.describe(row) for row in report["expectations"] if not row["success"]]


def judge(fault: Fault, data: Data, params: Validate, rng: np.random.Generator) -> Finding:
    """Inject the fault and look for its name and its count in the messages."""
    lines = check(fault.inject(data, rng), params)
    named = [line for line in lines if fault.says in line]
    numbers = {int(n.replace(",", "")) for line in named for n in re.findall(r"[\d,]*\d", line)}
    counted = (
        any(" of " in line for line in named) if fault.count is None else fault.count in numbers
    )
    return Finding(lines, bool(named), counted or not fault.countable, fault.says)


def _labels(part: str, change: Callable[[np.ndarray, np.random.Generator], np.ndarray]):
    return lambda data, rng: _both(data, part, lambda images, labels: (images, change(labels, rng)))


def _images(part: str, change: Callable[[np.ndarray], np.ndarray]):
    return lambda data, rng: _both(data, part, lambda images, labels: (change(images), labels))


def _both(data: Data, part: str, change: Callable[[np.ndarray, np.ndarray], Arrays]) -> Data:
    names = ["train", "test"] if part == "both" else [part]
    return replace(data, **{name: change(*getattr(data, name)) for name in names})


def _some(count: int, value: int) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    def change(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        labels = labels.copy()
        labels[rng.choice(len(labels), count, replace=False)] = value
        return labels

    return change


def permute(labels: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Labels of which a share was permuted."""
    labels = labels.copy()
    rows = rng.choice(len(labels), int(share * len(labels)), replace=False)
    labels[rows] = labels[rng.permutation(rows)]
    return labels


def swap(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels of which two digits were exchanged."""
    one, other = rng.choice(10, 2, replace=False)
    return np.where(labels == one, other, np.where(labels == other, one, labels)).astype(np.uint8)


def shift(labels: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Labels that are one too high."""
    return ((labels + 1) % 10).astype(np.uint8)


def misalign(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels that belong to a neighbouring row."""
    return np.roll(labels, rng.choice([-1, 1]))


def _constant(count: int, value: int):
    def inject(data: Data, rng: np.random.Generator) -> Data:
        images = data.train[0].copy()
        images[rng.choice(len(images), count, replace=False)] = value
        return replace(data, train=(images, data.train[1]))

    return inject


def _class_missing(data: Data, rng: np.random.Generator) -> Data:
    images, labels = data.train
    others = np.flatnonzero(labels != rng.integers(10))
    rows = np.sort(rng.choice(others, len(labels)))
    return replace(data, train=(images[rows], labels[rows]))


def _class_tripled(data: Data, rng: np.random.Generator) -> Data:
    images, labels = data.train
    own = labels == rng.integers(10)
    count = min(3 * own.sum(), len(labels) - 10)
    chosen = rng.choice(np.flatnonzero(own), count - own.sum())
    kept = rng.choice(np.flatnonzero(~own), len(labels) - count, replace=False)
    rows = np.sort(np.concatenate([np.flatnonzero(own), chosen, kept]))
    return replace(data, train=(images[rows], labels[rows]))


def _duplicate(data: Data, rng: np.random.Generator) -> Data:
    images, labels = (array.copy() for array in data.train)
    rows = rng.permutation(len(labels))[: 2 * (len(labels) // 20)].reshape(2, -1)
    images[rows[0]], labels[rows[0]] = images[rows[1]], labels[rows[1]]
    return replace(data, train=(images, labels))


def _leak(share: float, change: Callable[[np.ndarray, np.random.Generator], np.ndarray]):
    def inject(data: Data, rng: np.random.Generator) -> Data:
        images, labels = (array.copy() for array in data.train)
        count = int(share * len(data.test[1]))
        rows = rng.choice(len(labels), count, replace=False)
        images[rows], labels[rows] = change(data.test[0][:count], rng), data.test[1][:count]
        return replace(data, train=(images, labels))

    return inject


def _moved(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.roll(images, int(rng.choice([-1, 1])), axis=int(rng.choice([1, 2])))


def _noisy(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(images + rng.normal(0, 5, images.shape), 0, 255).round().astype(np.uint8)


def _script(part: str, draw: Callable[[np.ndarray, np.random.Generator], np.ndarray]):
    def inject(data: Data, rng: np.random.Generator) -> Data:
        return _both(data, part, lambda _, labels: (draw(labels, rng), labels))

    return inject


def _kannada(part: str):
    images, labels = pictures.kannada() or (np.zeros((0, 28, 28), np.uint8), np.zeros(0, int))

    def draw(wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        chosen = [rng.choice(np.flatnonzero(labels == digit)) for digit in wanted]
        return images[np.array(chosen)]

    return _script(part, draw)


def _index(change: Callable[[pd.DataFrame], pd.DataFrame]):
    return lambda data, _: replace(data, spoil=change)


def _without(column: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda index: index.drop(columns=column)


def _same_ids(index: pd.DataFrame) -> pd.DataFrame:
    return index.assign(id=index["id"].where(index["id"].ge(5), 7))


def faults(permuted: float = 0.05) -> list[Fault]:
    """All faults that can be made here; `permuted` is the share of labels that are."""
    otherwise = "reads otherwise than labelled"
    turned, mirrored = "turned by 90°", "agree with the images mirrored"
    found = [
        Fault("labels beyond 9", _labels("train", _some(20, 11)), "every label is a digit", 20),
        Fault("labels empty", _labels("train", _some(7, _NOT_SHOWN)), "image has a label", 7),
        Fault("class missing", _class_missing, "digit "),
        Fault("class at three times its share", _class_tripled, "shares: each digit has"),
        Fault("exact copies", _duplicate, "exact copies"),
        Fault("test images in train", _leak(0.05, lambda i, _: i), "both in train and in test"),
        Fault("test images in train, shifted", _leak(0.1, _moved), "near-copies of a training"),
        Fault("test images in train, noisy", _leak(0.1, _noisy), "near-copies of a training"),
        Fault(
            "train and test exchanged",
            lambda d, _: replace(d, train=d.test, test=d.train),
            "there are",
            countable=False,
        ),
        Fault("blank images", _constant(30, 0), "no image is blank", 30),
        Fault("constant images", _constant(30, 200), "no image is all ink", 30),
        Fault("a column missing", _index(_without("source")), "without source", countable=False),
        Fault("labels missing", _index(_without("label")), "without label", countable=False),
        Fault("ids not unique", _index(_same_ids), "no id occurs twice", 6),
    ]
    for part in ("train", "test", "both"):
        found += [
            Fault(f"labels shifted by one, {part}", _labels(part, shift), "labels shifted by"),
            Fault(f"two classes exchanged, {part}", _labels(part, swap), "digits were exchanged"),
            Fault(
                f"{permuted:.0%} of labels permuted, {part}",
                _labels(part, lambda la, r: permute(la, r, permuted)),
                "images contradict",
            ),
            Fault(f"labels misaligned by a row, {part}", _labels(part, misalign), "label of the"),
            Fault(
                f"rotated by 90°, {part}", _images(part, lambda i: np.rot90(i, 1, (1, 2))), turned
            ),
            Fault(f"mirrored, {part}", _images(part, lambda i: i[:, :, ::-1]), mirrored),
            Fault(f"inverted, {part}", _images(part, lambda i: 255 - i), "white on black"),
            Fault(
                f"0–1 as whole numbers, {part}", _images(part, lambda i: i // 255), "range isn't"
            ),
            Fault(f"range 0–127, {part}", _images(part, lambda i: i // 2), "range isn't 0–255"),
            Fault(
                f"letters, {part}",
                _script(part, lambda la, r: pictures.printed(pictures.LETTERS, la, r)),
                otherwise,
            ),
            Fault(
                f"Arabic digits, {part}",
                _script(part, lambda la, r: pictures.printed(pictures.ARABIC, la, r)),
                otherwise,
            ),
            Fault(f"Devanagari digits, {part}", _script(part, pictures.devanagari), otherwise),
            Fault(f"clothes, {part}", _script(part, pictures.clothes), otherwise),
        ]
        if pictures.kannada():
            found.append(Fault(f"Kannada digits, {part}", _kannada(part), otherwise))
    return found
