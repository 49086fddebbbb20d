"""Models in clean processes, and the pictures of what changed sides."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digits.core.errors import DataError
from digits.core.project import Project
from digits.gate import evidence, infrastructure, pictures
from digits.gate.changes import compare_sets
from digits.gate.evidence import TEST, Misread
from digits.plots import sheets


def test_a_model_runs_without_tensorflow_and_is_measured(built_project: Project) -> None:
    golden = built_project.golden.read_bytes()
    trial, champion = infrastructure.try_out(golden, built_project.root, built_project.root)
    assert champion
    assert not trial.error
    assert not trial.tensorflow
    assert 0 < trial.milliseconds < 1000
    assert 20 < trial.memory < 1000
    assert trial.size == pytest.approx((built_project.models / "digits.onnx").stat().st_size / 1e6)


def test_memory_is_the_models_own_whoever_starts_it(built_project: Project) -> None:
    large = bytearray(b"1") * (1 << 30)  # the process that starts it holds 1 GiB
    trial, _ = infrastructure.try_out(built_project.golden.read_bytes(), built_project.root, None)
    assert len(large) == 1 << 30
    assert trial.memory < 500


def test_golden_images_in_another_order_are_misread(built_project: Project) -> None:
    golden = sheets.cells(built_project.golden.read_bytes())
    swapped = sheets.sheet(golden[[0, 1, 2, 3, 4, 5, 6, 7, 9, 8]], columns=10)
    trial, _ = infrastructure.try_out(swapped, built_project.root, None)
    assert {8, 9} <= set(trial.misread)


def test_one_altered_byte_is_refused_before_the_model_is_opened(built_project: Project) -> None:
    path = built_project.models / "digits.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    trial, _ = infrastructure.try_out(built_project.golden.read_bytes(), built_project.root, None)
    assert "not opened" in trial.error


def test_what_is_no_model_or_no_sheet_is_an_error(built_project: Project, tmp_path: Path) -> None:
    golden = built_project.golden.read_bytes()
    assert "not found" in infrastructure.try_out(golden, tmp_path, None)[0].error
    assert "contact sheet" in infrastructure.try_out(b"x", built_project.root, None)[0].error
    assert "golden.png: not found" in infrastructure.try_out(None, tmp_path, None)[0].error


def test_images_that_changed_sides_come_from_the_sheets_of_both_revisions(
    built_project: Project,
) -> None:
    tree = evidence.read(built_project)
    test = tree.sets[TEST]
    first, *_ = test.misread
    better = {index: row for index, row in test.misread.items() if index != first}
    right = next(index for index in range(test.n) if index not in test.misread)
    worse = test.misread | {right: Misread(1, 2, 0.5, len(test.misread) + 999)}
    new, old = (
        dataclasses.replace(tree, sets={TEST: dataclasses.replace(test, misread=misread)})
        for misread in (better, worse)
    )
    tiles = pictures.changed(built_project, old, new, compare_sets(old, new, 0.95))
    assert tiles["newly wrong"] == []
    shown, lost = sorted(tiles["newly right"], key=lambda tile: tile.index != first)
    images = np.load(built_project.splits / "test-images.npy")
    np.testing.assert_array_equal(shown.image, images[first])
    assert lost.image is None  # its cell isn't in the sheet
    with Image.open(io.BytesIO(pictures.draw([shown, lost]))) as picture:
        assert picture.width < 150


@pytest.mark.parametrize("size", [(28, 27), (28 * 200, 28 * 200)])
def test_a_picture_that_is_no_sheet_is_refused(size: tuple[int, int]) -> None:
    content = io.BytesIO()
    Image.new("L", size).save(content, "PNG")
    with pytest.raises(DataError, match="not a contact sheet"):
        sheets.cells(content.getvalue())
