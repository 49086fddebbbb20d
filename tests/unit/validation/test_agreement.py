"""What labels and images say about each other, and the words for it."""

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from digits.core import params
from digits.validation import agreement, witness
from digits.validation.agreement import Labelled

Digits = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def index(real_digits: Digits) -> pd.DataFrame:
    split = np.repeat(["train", "test", "handwriting"], [900, 400, 200])
    return pd.DataFrame(
        {
            "id": np.arange(1500),
            "split": split,
            "batch": np.where(split == "handwriting", "train", "mnist"),
            "label": pd.array(real_digits[1][:1500], dtype="Int8"),
        }
    )


@pytest.fixture(scope="module")
def train(index: pd.DataFrame, real_digits: Digits) -> Labelled:
    return agreement.labelled_sets(index, real_digits[0][:1500])["train"]


def test_a_batch_that_is_called_train_is_not_the_training_set(
    index: pd.DataFrame, real_digits: Digits
) -> None:
    sets = agreement.labelled_sets(index, real_digits[0][:1500])
    assert {name: len(one.labels) for name, one in sets.items()} == {
        "train": 900,
        "test": 400,
        "batch train": 200,
    }


def test_images_without_a_digit_as_label_are_left_out(
    index: pd.DataFrame, real_digits: Digits
) -> None:
    index = index.assign(label=index["label"].astype("Int16"))
    index.loc[:9, "label"] = pd.NA
    index.loc[10:19, "label"] = 77
    sets = agreement.labelled_sets(index, real_digits[0][:1500])
    assert len(sets["train"].labels) == 880


def test_doubted_labels_are_listed_even_if_ids_occur_twice(
    index: pd.DataFrame, real_digits: Digits
) -> None:
    index = index.assign(id=index["id"] // 2)
    wrong = [30, 200, 1000]
    index.loc[wrong, "label"] = (index.loc[wrong, "label"] + 4) % 10
    sets = agreement.labelled_sets(index, real_digits[0][:1500])
    bounds = params.load(REPOSITORY / "params.yaml").validate_
    table = agreement.doubted(agreement.suites(sets, bounds), sets)
    listed = set(zip(table["set"], table["index"], strict=True))
    assert {("train", 30), ("train", 200), ("test", 100)} <= listed
    assert len(table) < 60


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda labels: labels, ""),
        (lambda labels: (labels + 1) % 10, "all labels shifted by 1"),
        (lambda labels: np.where(labels == 3, 8, np.where(labels == 8, 3, labels)), "8 for 3"),
    ],
)
def test_an_exchange_of_digits_is_put_into_words(change: object, words: str) -> None:
    read = np.arange(200) % 10
    relabelled, found = agreement.exchange(read, change(read))  # type: ignore[operator]
    assert words in found
    assert bool(found) == bool(words)
    np.testing.assert_array_equal(relabelled, read)


@pytest.mark.parametrize(
    ("move", "words"),
    [
        (lambda images: images, ""),
        (lambda images: np.rot90(images, 1, axes=(1, 2)), "turned by 90° to the right"),
        (lambda images: np.rot90(images, 3, axes=(1, 2)), "turned by 90° to the left"),
        (lambda images: images[:, :, ::-1], "agree with the images mirrored"),
        (lambda images: 255 - images, "inverted"),
    ],
)
def test_what_was_done_to_the_images_is_found_out(
    train: Labelled, move: object, words: str
) -> None:
    known = witness.fit(train.features, train.labels)
    images = move(train.images[:300])  # type: ignore[operator]
    found = agreement.explain(known.look, np.ascontiguousarray(images), train.labels[:300])
    assert words in found
    assert bool(found) == bool(words)
