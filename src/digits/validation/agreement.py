"""Do labels, images and sets agree? Suites on what witnesses say, and why they might disagree."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from digits.core.params import Validate
from digits.formatting import percent
from digits.validation import checks, witness
from digits.validation.checks import Suite
from digits.validation.witness import Testimony, Witness

ANCHOR = "uci-digits"  # real digits that do not come with MNIST
_DIGITS = np.arange(10)
_MIN_IMAGES = 20  # fewer say nothing about a set
_SAMPLE = 2000  # images on which explanations are tried
_DOUBTED = 200  # labels to report
_CANDIDATES = 500  # of each set, the least trusted
_TRUST_DECIMALS = 2  # the logarithms differ by CPU, by 1e-10
_EXPLAINED = 0.2  # share of the images that an explanation must bring into agreement
_CONVINCING = 0.6  # share that must agree then


@dataclass(frozen=True)
class Labelled:
    """A set whose images have labels: `ids`, uint8 `images`, `features` and `labels` `(n,)`."""

    name: str
    ids: np.ndarray
    images: np.ndarray
    features: np.ndarray
    labels: np.ndarray


def labelled_sets(index: pd.DataFrame, images: np.ndarray) -> dict[str, Labelled]:
    """Train, test and each batch of handwriting, without what is not labelled 0–9.

    Args:
        index: `id`, `split`, `batch` and `label` of each image.
        images: uint8 `(n, 28, 28)`.
    """
    labels = pd.to_numeric(index["label"], errors="coerce").astype("Float64")
    known = labels.isin(_DIGITS).fillna(False).to_numpy(bool)
    batches = index["batch"].where(
        ~index["batch"].isin(["train", "test"]), "batch " + index["batch"]
    )
    names = index["split"].where(index["split"].ne("handwriting"), batches).to_numpy()
    rows_of = {str(name): np.flatnonzero(known & (names == name)) for name in pd.unique(names)}
    return {
        name: Labelled(
            name,
            index["id"].to_numpy()[rows],
            images[rows],
            witness.describe(images[rows]),
            labels.iloc[rows].to_numpy(int),
        )
        for name, rows in rows_of.items()
        if len(rows) >= _MIN_IMAGES
    }


def suites(sets: Mapping[str, Labelled], params: Validate) -> Iterator[Suite]:
    """What train and test say about their own labels, about each other, and about handwriting."""
    readers = [sets[name] for name in ("train", "test") if name in sets]
    for one in readers:
        yield _own_suite(one, params)
    digits = []
    for reader in readers:
        known = witness.fit(reader.features, reader.labels)
        for one in sets.values():
            if one.name in (reader.name, *params.trusted_batches):
                continue
            inside = one.name in ("train", "test")
            if reader.name == "test" and not inside and one.name != ANCHOR:
                continue  # train's witness has read it
            testimony = Testimony.about(known.scores(one.features), one.labels)
            yield _reading_suite(reader, known, one, testimony, inside, params)
            if inside:
                digits.append(_digits(reader, one, testimony, params))
    if digits:
        says = f"each digit is read as labelled: at least {percent(params.min_digit_agreement)}"
        advice = "labels of these digits may be exchanged, or their images of something else"
        named = ("id", "images", "agreement", "most_read_as")
        suite = checks.among("short", [False], says, advice)
        yield Suite("digits", pd.concat(digits, ignore_index=True), [suite], named)


def doubted(suites: Iterable[Suite], sets: Mapping[str, Labelled]) -> pd.DataFrame:
    """Labels of train and test that neither the other images nor the most similar ones support.

    Args:
        suites: those that `suites` made of `sets`.

    Returns:
        `set`, `index` (row among its labelled images), `id`, `label`, `read`, `similar` (of the ten
        most similar images in the set, how many have the label) and `trust` (log odds); the least
        supported first, at most 200 rows.
    """
    tables = {suite.name: suite.table for suite in suites}
    found = []
    for name in ("train", "test"):
        if (table := tables.get(_own(name))) is not None:
            table = table[table["wrong"]].head(_CANDIDATES)
            rows = table["row"].to_numpy()
            similar = witness.support(sets[name].features, sets[name].labels, rows)
            found.append(table.assign(set=name, index=rows, similar=similar))
    columns = ["set", "index", "id", "label", "read", "similar", "trust"]
    if not found:
        return pd.DataFrame(columns=columns)
    table = pd.concat(found).sort_values(["similar", "trust", "id"], ignore_index=True)
    table["trust"] = table["trust"].round(_TRUST_DECIMALS)
    return table.loc[:, columns].head(_DOUBTED)


def _own(name: str) -> str:
    return f"{name}-labels"


def explain(
    read: Callable[[np.ndarray], np.ndarray], images: np.ndarray, labels: np.ndarray
) -> str:
    """What would make labels and images agree, in words; "" if nothing that is tried does.

    Args:
        read: images uint8 `(n, 28, 28)` → digits `(n,)`.
    """
    images, labels = images[:_SAMPLE], labels[:_SAMPLE]
    seen = read(images)
    relabelled, words = exchange(seen, labels)
    tried = {
        "if each image gets the label of the next row": (seen, np.roll(labels, -1)),
        "if each image gets the label of the row before": (seen, np.roll(labels, 1)),
        f"with {words or 'the same labels'}": (seen, relabelled),
    }
    for name, move in _MOVES.items():
        tried[f"with the images {name}"] = read(np.ascontiguousarray(move(images))), labels
    found = {name: float((digits == right).mean()) for name, (digits, right) in tried.items()}
    best = max(found, key=lambda name: found[name])
    gain = found[best] - float((seen == labels).mean())
    convincing = gain > _EXPLAINED and found[best] > _CONVINCING
    return f"{percent(found[best])} agree {best}" if convincing else ""


_MOVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "turned by 90° to the left": lambda images: np.rot90(images, 1, axes=(1, 2)),
    "turned by 180°": lambda images: np.rot90(images, 2, axes=(1, 2)),
    "turned by 90° to the right": lambda images: np.rot90(images, 3, axes=(1, 2)),
    "mirrored": lambda images: images[:, :, ::-1],
    "mirrored upside down": lambda images: images[:, ::-1],
    "transposed": lambda images: images.transpose(0, 2, 1),
    "inverted": lambda images: 255 - images,
}


def exchange(read: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, str]:
    """The labels after the exchange of digits that makes most of them agree with `read`.

    Args:
        read, labels: int `(n,)`, 0–9.

    Returns:
        Labels `(n,)`, and the exchange in words, "" if none is better.
    """
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((10, 10), dtype=np.int64)
    np.add.at(counts, (labels, read), 1)
    _, best = linear_sum_assignment(-(2 * counts + np.eye(10, dtype=np.int64)))
    moved = [f"{digit} for {best[digit]}" for digit in _DIGITS if best[digit] != digit]
    if not moved:
        return labels, ""
    steps = set((best - _DIGITS) % 10)
    if len(steps) == 1:
        words = f"all labels shifted by {(-steps.pop()) % 10}"
    else:
        words = f"labels exchanged ({', '.join(moved)})"
    return best[labels], words


def _own_suite(one: Labelled, params: Validate) -> Suite:
    testimony = Testimony.about(witness.cross_read(one.features, one.labels), one.labels)
    n = len(one.labels)
    bound = checks.at_most(params.max_wrong_labels, n, params.chance)
    advice = "compare the images that are named with their labels, and correct the source"
    if testimony.wrong.mean() > bound and (reason := _misaligned(one, testimony)):
        advice = f"{reason}; {advice}"
    says = f"labels of {one.name} that its other images contradict"
    expectation = checks.rarely("wrong", n, bound, says, advice)
    table = suspects(one, testimony)
    return Suite(_own(one.name), table, [expectation], ("id", "label", "read"))


def _misaligned(one: Labelled, testimony: Testimony) -> str:
    """Whether images and labels agree among themselves once labels move by a row, in words."""
    agreeing = {
        words: float((witness.cross_read(one.features, labels).argmax(axis=1) == labels).mean())
        for words, labels in (
            ("next row", np.roll(one.labels, -1)),
            ("row before", np.roll(one.labels, 1)),
        )
    }
    best = max(agreeing, key=lambda words: agreeing[words])
    if agreeing[best] < float((testimony.read == one.labels).mean()) + _EXPLAINED:
        return ""
    return f"{percent(agreeing[best])} agree if each image gets the label of the {best}"


def suspects(one: Labelled, testimony: Testimony) -> pd.DataFrame:
    """A row for each image, the least trusted label first.

    `id`, `row` in the set, `label`, `read`, `trust`, `wrong`, and `other`: read otherwise.
    """
    table = pd.DataFrame(
        {
            "id": one.ids,
            "row": np.arange(len(one.ids)),
            "label": one.labels,
            "read": testimony.read,
            "trust": testimony.trust.round(4),
            "wrong": testimony.wrong,
            "other": testimony.read != one.labels,
        }
    )
    return table.sort_values(["trust", "id"], kind="stable", ignore_index=True)


def _reading_suite(
    reader: Labelled,
    known: Witness,
    one: Labelled,
    testimony: Testimony,
    inside: bool,
    params: Validate,
) -> Suite:
    n = len(one.labels)
    lowest = params.min_agreement if inside else params.min_outside_agreement
    bound = checks.at_most(1 - lowest, n, params.chance)
    table = suspects(one, testimony)
    relabelled, words = exchange(table["read"].to_numpy(), table["label"].to_numpy())
    table["exchanged"] = _gained(table, relabelled)
    advice = f"labels or images of {one.name} or {reader.name} are wrong, or of another script"
    if table["other"].mean() > bound and (reason := explain(known.look, one.images, one.labels)):
        advice += f"; {reason}"
    expectations = [
        checks.rarely(
            "other",
            n,
            bound,
            f"images of {one.name} that {reader.name}'s witness reads otherwise than labelled",
            advice,
        ),
        checks.rarely(
            "exchanged",
            n,
            checks.at_most(params.max_exchanged, n, params.chance),
            f"images of {one.name} that {reader.name}'s witness would read right if digits were "
            "exchanged",
            f"correct the labels of {one.name} or {reader.name}; they agree best with {words}",
        ),
    ]
    return Suite(f"{one.name}-read-by-{reader.name}", table, expectations, ("id", "label", "read"))


def _digits(
    reader: Labelled, one: Labelled, testimony: Testimony, params: Validate
) -> pd.DataFrame:
    """One row for each digit that `one` has: the share that is read as labelled."""
    rows = []
    for digit in np.unique(one.labels):
        read = testimony.read[one.labels == digit]
        agreement = float((read == digit).mean())
        lowest = checks.at_least(params.min_digit_agreement, len(read), params.chance)
        rows.append(
            {
                "id": f"{digit} of {one.name} by {reader.name}'s witness",
                "images": len(read),
                "agreement": round(agreement, 6),
                "most_read_as": int(np.bincount(read).argmax()),
                "short": agreement < lowest,
            }
        )
    return pd.DataFrame(rows)


def _gained(table: pd.DataFrame, relabelled: np.ndarray) -> np.ndarray:
    """As many of the images that would agree after the best exchange of digits as it gains."""
    read, labels = table["read"].to_numpy(), table["label"].to_numpy()
    better = (read == relabelled) & (read != labels)
    gain = int((read == relabelled).sum()) - int((read == labels).sum())
    return better & (np.cumsum(better) <= gain)
