"""Adding a batch: where it is stored, what is rejected; data/ changes as a whole or not at all."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from conftest import run
from faults import pictures
from PIL import Image

from digits.core import locking
from digits.core.errors import BusyError, DataError, StageError
from digits.core.project import Project
from digits.data import handwriting
from digits.intake import intake, judging
from digits.validation.readings import Readings
from digits.versioning import dvc


@pytest.fixture
def batch(tmp_path: Path, real_digits: tuple[np.ndarray, np.ndarray]) -> Path:
    """Thirty real digits as dark-on-light pictures in folders named by their labels."""
    images, labels = real_digits
    for number in range(200, 230):
        folder = tmp_path / "batch" / str(labels[number])
        folder.mkdir(parents=True, exist_ok=True)
        large = Image.fromarray(255 - images[number] // 2).resize((60, 60))
        large.save(folder / f"{number}.png")
    return tmp_path / "batch"


def flat(batch: Path) -> Path:
    """The same pictures without the folders that label them."""
    for path in batch.glob("*/*.png"):
        path.rename(batch / path.name)
    return batch


def pointer(project: Project) -> str:
    return project.data_pointer.read_text()


def test_a_labelled_batch_becomes_a_new_version_of_the_data(
    small_project: Project, batch: Path
) -> None:
    before = pointer(small_project)
    done = intake.add(small_project, batch, "mine", writer="anna")
    assert done.accepted
    assert (done.n, done.kept) == (30, "data/handwriting/mine")
    assert pointer(small_project) != before
    assert f"md5: {done.data_version}" in pointer(small_project)
    assert dvc.run(small_project, "status", "data.dvc", "--json").strip() == "{}"
    entries = list(handwriting.read(small_project.handwriting / "mine"))
    sources = {path.relative_to(batch.parent).as_posix(): path for path in batch.glob("*/*.png")}
    assert {entry.origin for entry in entries} == set(sources)
    for entry in entries:
        assert entry.picture == sources[entry.origin].read_bytes()  # as it came
        assert str(entry.label) == Path(entry.origin).parent.name
        assert entry.writer == "anna"
    assert handwriting.names(small_project.handwriting) == ["mine", "uci-digits"]


def test_an_unlabelled_batch_is_stored_outside_data(small_project: Project, batch: Path) -> None:
    before = pointer(small_project)
    done = intake.add(small_project, flat(batch), "mine")
    assert done.accepted
    assert not done.labelled
    assert (done.kept, done.data_version) == ("build/handwriting/mine", None)
    assert len(list(handwriting.read(small_project.root / done.kept))) == 30
    assert pointer(small_project) == before
    assert not (small_project.handwriting / "mine").exists()


def test_unreadable_pictures_are_quarantined_with_the_reason(
    small_project: Project, batch: Path
) -> None:
    (batch / "3" / "broken.png").write_bytes(b"\x89PNG nothing more")
    Image.new("L", (40, 40), 200).save(batch / "4" / "blank.png")
    done = intake.add(small_project, batch, "mine")
    assert done.accepted
    assert done.n == 30
    assert [name for name, _ in done.refused] == ["3/broken.png", "4/blank.png"]
    folder = small_project.quarantine / "mine"
    with (folder / "reasons.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["3/broken.png", "4/blank.png"]
    assert "not a picture in a supported format" in rows[0]["reason"]
    assert rows[1]["reason"].startswith("no ink found")
    assert (folder / rows[0]["copy"]).read_bytes() == b"\x89PNG nothing more"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("label", "every label is a digit, 0–9"),
        ("copy", "no image is an exact copy of another"),
    ],
)
def test_an_invalid_batch_leaves_data_unchanged(
    small_project: Project, batch: Path, damage: str, reason: str
) -> None:
    table = None
    if damage == "label":
        table = batch.parent / "labels.csv"
        names = sorted(path.name for path in batch.glob("*/*.png"))
        table.write_text("filename,label\n" + "".join(f"{name},12\n" for name in names))
    else:
        path = next(batch.glob("*/*.png"))
        (path.parent / "copy.png").write_bytes(path.read_bytes())
    before = pointer(small_project)
    done = intake.add(small_project, batch, "mine", table, accept_drift=True)
    broken = [e["says"] for e in done.validation["expectations"] if not e["success"]]
    assert broken == [reason]
    assert (done.accepted, done.kept, done.data_version) == (False, None, None)
    assert pointer(small_project) == before
    assert not (small_project.handwriting / "mine").exists()


def test_mnist_test_images_are_rejected(built_project: Project) -> None:
    done = intake.add(
        built_project,
        built_project.mnist / "t10k-images-idx3-ubyte",
        "leak",
        built_project.mnist / "t10k-labels-idx1-ubyte",
        accept_drift=True,
    )
    broken = {e["says"] for e in done.validation["expectations"] if not e["success"]}
    assert "no image is one of MNIST's test images" in broken
    assert not done.accepted


def test_a_batch_with_drift_is_rejected_unless_drift_is_accepted(
    built_project: Project, batch: Path
) -> None:
    for path in batch.glob("*/*.png"):  # everything leans to the right
        lean = (1, 0.7, -20, 0, 1, 0)
        with Image.open(path) as picture:
            sheared = picture.transform((90, 60), Image.Transform.AFFINE, lean, fillcolor=255)
        sheared.save(path)
    done = intake.add(built_project, batch, "leaning", accept_labels=True)
    assert done.drift is not None
    assert done.drift.drift
    assert done.drift.tests["slant"]["drift"]
    assert not done.accepted
    done = intake.add(built_project, batch, "leaning", accept_drift=True, accept_labels=True)
    assert done.accepted
    assert done.kept == "data/handwriting/leaning"


def test_existing_batches_and_invalid_names_are_refused(
    small_project: Project, batch: Path
) -> None:
    with pytest.raises(
        DataError, match="data/handwriting/uci-digits: already exists; choose another name"
    ):
        intake.add(small_project, batch, "uci-digits")
    with pytest.raises(DataError, match="expected 1 to 63 of a-z"):
        intake.add(small_project, batch, "../outside")


def test_data_must_be_complete_and_the_pinned_version(small_project: Project, batch: Path) -> None:
    file = small_project.mnist / "t10k-labels-idx1-ubyte"
    file.chmod(0o644)
    file.write_bytes(b"changed")
    with pytest.raises(DataError, match=r"isn't the version that data\.dvc pins; run 'digits fe"):
        intake.add(small_project, batch, "mine")
    run("rm", "-r", "data", cwd=small_project.root)
    with pytest.raises(DataError, match="data/ is not complete; run 'digits fetch'"):
        intake.add(small_project, batch, "mine")


def test_nothing_is_stored_if_dvc_fails(small_project: Project, batch: Path) -> None:
    before = pointer(small_project)
    handwriting.write(batch.parent / "same", intake.parse(batch).entries)
    tar = (batch.parent / "same" / "pictures.tar").read_bytes()
    digest = hashlib.md5(tar, usedforsecurity=False).hexdigest()
    cache = small_project.root / ".dvc" / "cache" / "files" / "md5"
    (cache / digest[:2]).write_text("where DVC wants a folder")
    with pytest.raises(StageError, match="dvc add"):
        intake.add(small_project, batch, "mine")
    assert pointer(small_project) == before
    assert not (small_project.handwriting / "mine").exists()


def test_no_batch_is_added_while_the_pipeline_runs(small_project: Project, batch: Path) -> None:
    with (
        locking.exclusive(small_project.state / "run.lock", "digits run"),
        pytest.raises(BusyError, match="digits run"),
    ):
        intake.add(small_project, batch, "mine")
    assert not (small_project.handwriting / "mine").exists()


def test_a_batch_without_usable_pictures_is_an_error(tmp_path: Path) -> None:
    Image.new("L", (40, 40), 200).save(tmp_path / "blank.png")
    with pytest.raises(DataError, match=r"no usable picture; blank\.png: no ink found"):
        intake.parse(tmp_path)


def test_labels_for_some_pictures_only_are_an_error_that_counts(
    small_project: Project, batch: Path
) -> None:
    path = next(batch.glob("*/*.png"))
    path.rename(batch / path.name)
    with pytest.raises(
        DataError, match=rf"1 of 30 pictures have no label, e\.g\. {path.name}; lab"
    ):
        intake.add(small_project, batch, "mine")
    table = batch.parent / "labels.csv"
    names = sorted(path.name for path in batch.rglob("*.png"))
    table.write_text("filename,label\n" + "".join(f"{name},\n" for name in names[:7]))
    assert intake.parse(batch, table).labels is None  # none has one: an unlabelled batch
    table.write_text(table.read_text() + "".join(f"{name},3\n" for name in names[7:20]))
    with pytest.raises(DataError, match=r"labels\.csv: 17 of 30 pictures have no label"):
        intake.add(small_project, batch, "mine", table)


LABEL_FAULTS = {
    "shifted by one": (lambda labels: (labels + 1) % 10, "all labels shifted by"),
    "misaligned": (lambda labels: np.roll(labels, 1), "the label of the next row"),
}


@pytest.mark.parametrize("fault", LABEL_FAULTS)
def test_labels_that_the_images_contradict_are_invalid_not_drift(
    small_project: Project, real_digits: tuple[np.ndarray, np.ndarray], tmp_path: Path, fault: str
) -> None:
    change, reason = LABEL_FAULTS[fault]
    images, labels = (array[200:260] for array in real_digits)
    np.savez(tmp_path / "batch.npz", images=images, labels=change(labels.astype(int)))
    done = intake.add(small_project, tmp_path / "batch.npz", "mine", accept_drift=True)
    assert not done.accepted
    (broken,) = (e for e in done.validation["expectations"] if not e["success"])
    assert broken["says"].startswith("labels that train's witness contradicts: at most")
    assert reason in broken["advice"]
    assert broken["unexpected_count"] > 40
    done = intake.add(small_project, tmp_path / "batch.npz", "mine", accept_labels=True)
    assert done.kept == "data/handwriting/mine"


def test_what_shows_no_digit_is_invalid_if_it_is_most_and_quarantined_if_it_is_some(
    built_project: Project, real_digits: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    letters = pictures.printed(pictures.LETTERS, rng.integers(10, size=80), rng)
    letters = rng.permutation(np.unique(letters, axis=0))[:60]
    np.savez(tmp_path / "letters.npz", images=letters)
    done = intake.add(built_project, tmp_path / "letters.npz", "letters", accept_drift=True)
    assert not done.accepted
    broken = [e["says"] for e in done.validation["expectations"] if not e["success"]]
    unsure = "images that model and witness don't read alike and surely"
    assert any(says.startswith(unsure) for says in broken)
    digits = real_digits[0][200:260]
    np.savez(tmp_path / "few.npz", images=np.concatenate([digits, letters[:12]]))
    done = intake.add(built_project, tmp_path / "few.npz", "few", accept_drift=True)
    assert done.accepted
    named = {name for name, reason in done.refused if reason.startswith("no digit that the model")}
    assert len(named & {f"few.npz#{row}" for row in range(60, 72)}) >= 1
    assert len(named) <= 10
    assert done.n == 72 - len(named)


def test_a_batch_of_which_nothing_would_be_left_is_an_error(
    small_project: Project, batch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Puzzled:
        def read(self, images: np.ndarray) -> Readings:
            scores, probabilities = np.eye(10)[[0] * len(images)], np.full((len(images), 10), 0.1)
            probabilities[:, 1] += 0.01
            return Readings(scores, probabilities, 0.9, np.zeros_like)

    monkeypatch.setattr(judging.Readers, "load", lambda _: Puzzled())
    path = next(batch.glob("*/*.png")).rename(batch.parent / "one.png")
    with pytest.raises(DataError, match=r"no usable picture; one\.png: no digit that the model"):
        intake.add(small_project, path, "mine")
    assert not (small_project.build / "handwriting" / "mine").exists()
