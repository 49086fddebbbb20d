"""Each stage on a few hundred real digits: what it writes, and what it refuses."""

import importlib

import numpy as np
import pandas as pd
import pytest
from conftest import exit_code, set_param
from PIL import Image

from digits.core import files, params
from digits.core.errors import DataError, ParameterError, RegistryError, ValidationFailed
from digits.core.project import Project
from digits.data import dataset, mnist
from digits.data.dataset import Split
from digits.plots import sheets


def stage(project: Project, name: str) -> None:
    """Run a stage in this process, as importing its packages takes another one seconds.

    Exit codes and stderr: tests/unit/core/test_stage.py.
    """
    run = getattr(importlib.import_module(f"digits.stages.{name}"), name)
    run(project, params.load(project.params))


def test_ingest_keeps_every_image_with_its_source(built_project: Project) -> None:
    index = files.read_table(built_project.ingested / "index.parquet")
    images = files.read_array(built_project.ingested / "images.npy")
    assert images.shape == (1400 + 397 + 120, 28, 28)
    assert index["split"].value_counts().to_dict() == {
        "train": 1400,
        "test": 397,
        "handwriting": 120,
    }
    raw, labels = mnist.load(built_project.mnist, "test")
    rows = index["split"].eq("test").to_numpy()
    np.testing.assert_array_equal(images[rows], raw)
    np.testing.assert_array_equal(index.loc[rows, "label"].to_numpy(int), labels)
    assert set(index.loc[index["split"].eq("handwriting"), "batch"]) == {"uci-digits"}


def test_ingest_refuses_a_file_with_another_checksum(small_project: Project) -> None:
    path = small_project.mnist / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x00")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.*run 'digits fetch'"):
        stage(small_project, "ingest")
    assert not small_project.ingested.exists()


def test_validate_names_what_is_wrong(built_project: Project) -> None:
    index = files.read_table(built_project.ingested / "index.parquet")
    index.loc[:2, "label"] = 11
    files.write_table(built_project.ingested / "index.parquet", index)
    with pytest.raises(ValidationFailed, match="every label is a digit, 0–9: broken by 3 of"):
        stage(built_project, "validate")
    assert files.read_json(built_project.validation_report)["success"] is False


def test_the_validation_report_is_reproducible(built_project: Project) -> None:
    names = ["validation_report", "doubted_labels", "doubted_labels_sheet"]
    before = [getattr(built_project, name).read_bytes() for name in names]
    stage(built_project, "validate")
    assert [getattr(built_project, name).read_bytes() for name in names] == before
    assert (built_project.html / "data-docs" / "index.html").is_file()


def test_validate_lists_labels_that_are_doubted_with_their_images(built_project: Project) -> None:
    index = files.read_table(built_project.ingested / "index.parquet")
    images = files.read_array(built_project.ingested / "images.npy")
    wrong = [50, 500, 900, 1450]
    index.loc[wrong, "label"] = (index.loc[wrong, "label"] + 3) % 10
    files.write_table(built_project.ingested / "index.parquet", index)
    stage(built_project, "validate")  # reported, not blocked
    table = pd.read_csv(built_project.doubted_labels)
    first = table[table["similar"].eq(0)]
    assert len(set(first["id"]) & set(wrong)) >= 3
    row = table[table["id"].eq(1450)].iloc[0]
    assert (row["set"], row["index"]) == ("test", 50)
    for cell, number in zip(
        sheets.cells(built_project.doubted_labels_sheet.read_bytes()), table["id"], strict=False
    ):
        np.testing.assert_array_equal(cell, images[number])


def test_preprocess_puts_no_image_in_two_splits(built_project: Project) -> None:
    splits = {
        name: files.read_array(built_project.splits / f"{name}-images.npy")
        for name in ("train", "val", "test")
    }
    assert len(splits["val"]) >= 200
    assert len(splits["test"]) == 397
    seen = {name: {image.tobytes() for image in images} for name, images in splits.items()}
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]
    labels = files.read_array(built_project.splits / "val-labels.npy")
    assert set(labels) == set(range(10))


def test_preprocess_adds_a_labelled_batch_to_train(built_project: Project) -> None:
    def train() -> np.ndarray:
        return np.array(files.read_array(built_project.splits / "train-images.npy"))

    index = files.read_table(built_project.ingested / "index.parquet")
    before = len(train())
    index.loc[index["batch"].eq("uci-digits"), "sha256"] = [f"{i:064x}" for i in range(120)]
    files.write_table(built_project.ingested / "index.parquet", index)
    set_param(built_project, "preprocess", "train_batches", ["uci-digits"])
    stage(built_project, "preprocess")
    assert len(train()) == before + 120


def test_preprocess_refuses_an_unknown_batch(built_project: Project) -> None:
    set_param(built_project, "preprocess", "train_batches", ["uci-digits", "nobody"])
    with pytest.raises(DataError, match="'nobody'; known: uci-digits"):
        stage(built_project, "preprocess")


def test_preprocess_keeps_a_golden_image_of_each_digit_that_belongs_to_val(
    built_project: Project,
) -> None:
    golden = sheets.cells(built_project.golden.read_bytes())
    val = Split.read(built_project.splits, "val")
    for digit, image in enumerate(golden):
        same = (val.images == image).all(axis=(1, 2))
        assert set(val.labels[same]) == {digit}


def test_evaluate_scores_each_labelled_batch_and_marks_what_was_trained_on(
    built_project: Project,
) -> None:
    before = files.read_json(built_project.metrics)["batches"]["uci-digits"]
    assert (before["n"], before["in_sample"]) == (120, 0)
    table = pd.read_csv(built_project.batch_mistakes)
    assert len(table) == before["errors"]
    cells = sheets.cells(built_project.batch_mistakes_sheet.read_bytes())
    images = files.read_array(built_project.ingested / "images.npy")[1797:]
    for cell, index in zip(cells, table["index"], strict=False):
        np.testing.assert_array_equal(cell, images[index])

    ids = dataset.read_ids(built_project.splits, "train").copy()
    ids[:100] = np.arange(1797, 1897)
    dataset.write_ids(built_project.splits, "train", ids)
    stage(built_project, "evaluate")
    assert files.read_json(built_project.metrics)["batches"]["uci-digits"]["in_sample"] == 100


def test_evaluate_finds_test_images_among_training_images(built_project: Project) -> None:
    assert set(files.read_json(built_project.metrics)["leaks"].values()) == {0}
    test, train = (Split.read(built_project.splits, name) for name in ("test", "train"))
    images = train.images.copy()
    images[:5] = test.images[:5]  # found by their pixels
    Split(images, train.labels).write(built_project.splits, "train")
    ids = dataset.read_ids(built_project.splits, "train").copy()
    ids[10:12] = dataset.read_ids(built_project.splits, "test")[10:12]  # found by their ids
    dataset.write_ids(built_project.splits, "train", ids)
    stage(built_project, "evaluate")
    assert files.read_json(built_project.metrics)["leaks"]["test_in_train"] == 7
    assert exit_code("gate", "--json") == 1


def test_train_pins_its_weights_and_evaluate_refuses_altered_ones(built_project: Project) -> None:
    weights = built_project.models / "digits.weights.h5"
    card = files.read_json(built_project.model_card)
    paths = sorted(built_project.models.iterdir())
    assert card["weights"] == {f"models/{path.name}": files.sha256(path) for path in paths}
    assert {path.suffix for path in paths} == {".h5", ".onnx", ".tflite"}
    weights.write_bytes(weights.read_bytes() + b"\x00")
    pinned = card["weights"]["models/digits.weights.h5"]
    with pytest.raises(RegistryError, match=f"{pinned}; not opened"):
        stage(built_project, "evaluate")


def test_train_with_an_unknown_model_lists_the_known_ones(built_project: Project) -> None:
    set_param(built_project, "train", "model", "resnet9000")
    with pytest.raises(ParameterError, match=r"'resnet9000', which is not in .* expected accurate"):
        stage(built_project, "train")


def test_metrics_match_the_predictions(built_project: Project) -> None:
    table = pd.read_csv(built_project.evaluated / "predictions.csv")
    test = files.read_json(built_project.metrics)["test"]
    right = int((table["actual"] == table["predicted"]).sum())
    assert test["accuracy"] == pytest.approx(right / 397, abs=1e-6)
    assert test["errors"] == 397 - right
    assert sum(map(sum, test["confusion"])) == 397
    mistakes = pd.read_csv(built_project.mistakes)
    assert len(mistakes) == test["errors"]
    low, high = test["accuracy_interval"]
    assert low < test["accuracy"] < high


def test_the_drift_report_has_a_verdict_on_the_batch(built_project: Project) -> None:
    (batch,) = files.read_json(built_project.drift_report)["batches"].values()
    assert batch["n"] == 120
    assert 0 <= batch["p_value"] <= 1
    assert {"ink", "slant", "noise", "doubt", "embedding 1", "digit 0"} <= set(batch["tests"])
    pages = built_project.html / "drift"
    assert (pages / "uci-digits.html").stat().st_size > 100_000
    assert Image.open(pages / "uci-digits.png").width == 1200
    assert files.read_json(pages / "uci-digits.json") == batch
