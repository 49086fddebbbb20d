"""Which batches are new, what is recorded of them, and how results are described."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from digits.core import files
from digits.core.errors import DataError
from digits.core.project import Project
from digits.data import handwriting
from digits.drift import workspace
from digits.drift.detector import DriftResult
from digits.drift.sequence import Sequence
from digits.images import glyphs
from digits.intake import inbox, late_labels
from digits.intake.inbox import Batch, CheckedBatch


@pytest.fixture
def box(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def put(box: Path, name: str, content: bytes = b"picture") -> Path:
    """A batch of one file in a folder."""
    folder = box / name
    folder.mkdir()
    (folder / "one.png").write_bytes(content)
    return folder


def names(box: Path, known: dict[str, str] | None = None) -> list[str]:
    return [batch.name for batch in inbox.new_batches(box, known or {}, quiet=0)[0]]


def verdict(drift: bool, harmful: bool = False, **distances: float) -> DriftResult:
    tests = {
        name: {"p_value": 1e-9, "distance": distance, "drift": True}
        for name, distance in distances.items()
    }
    calm = {"p_value": 0.6, "distance": 0.01, "drift": False}
    return DriftResult(
        verdict="harmful" if harmful else "drift" if drift else "none",
        drift=drift,
        harmful=harmful,
        p_value=1e-9 if drift else 0.6,
        like="validation",
        in_sample_share=0.0,
        n=200,
        tested=200,
        alpha=0.01,
        tolerance=0.05,
        estimated_accuracy=0.913,
        accuracy_low=0.89,
        accuracy_high=0.93,
        reference_accuracy=0.99,
        no_digit_share=0.02,
        no_digit_low=0.0,
        no_digit_high=0.05,
        accuracy=None,
        measured_low=None,
        measured_high=None,
        views={},
        tests={**tests, "slant": calm},
        strangest=[3],
    )


def test_every_folder_and_file_is_a_batch(box: Path) -> None:
    put(box, "march")
    (box / "april.npz").write_bytes(b"arrays")
    assert names(box) == ["april.npz", "march"]


def test_a_missing_inbox_has_no_batches(tmp_path: Path) -> None:
    assert names(tmp_path / "nowhere") == []


def test_an_inbox_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("no folder")
    with pytest.raises(DataError, match="inbox: not a readable folder"):
        names(tmp_path / "inbox")


@pytest.mark.parametrize("name", [".march", "march.part"])
def test_incomplete_batches_are_skipped(box: Path, name: str) -> None:
    put(box, name)
    (box / "empty").mkdir()
    assert names(box) == []


def test_a_recently_copied_batch_settles_despite_its_old_mtime(box: Path) -> None:
    folder = put(box, "march")
    an_hour_ago = time.time() - 3600
    os.utime(folder / "one.png", (an_hour_ago, an_hour_ago))
    os.utime(folder, (an_hour_ago, an_hour_ago))
    assert inbox.new_batches(box, {}, quiet=30) == ([], ["march"])
    message = inbox.nothing_new(Project(box.parent), box, ["march"], 30)
    assert message.startswith("waiting for 1 batch to settle (march): checked once nothing")
    time.sleep(0.3)
    new, settling = inbox.new_batches(box, {}, quiet=0.2)
    assert (len(new), settling) == (1, [])


def test_a_checked_batch_is_new_again_when_its_content_changes(box: Path) -> None:
    folder = put(box, "march")
    ((batch,), _) = inbox.new_batches(box, {}, quiet=0)
    known = {batch.name: batch.sha256}
    assert names(box, known) == []
    (folder / "one.png").rename(folder / "two.png")
    assert names(box, known) == ["march"]


def test_unsafe_names_are_replaced_by_unique_safe_ones(box: Path) -> None:
    put(box, "a | b\n<script>")
    put(box, "a _ b__script_")
    put(box, "\u00fc" * 120)
    safe = names(box)
    assert len(set(safe)) == 3
    assert all(name.isascii() and len(name) <= 100 and " " not in name for name in safe)


def test_pipes_and_links_are_batches_but_never_opened(box: Path) -> None:
    os.mkfifo(box / "pipe")
    (box / "link").symlink_to("/dev/zero")
    os.mkfifo(put(box, "march") / "pipe")
    assert names(box) == ["link", "march", "pipe"]


def test_a_checked_batch_is_recorded_and_its_report_written(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert inbox.known_batches(project) == {}
    checked = CheckedBatch("march", 200, (("a\udcff.txt", "no picture"),), verdict(True, noise=1.5))
    inbox.record(project, Batch("march", tmp_path, "f3"), checked)
    assert inbox.known_batches(project) == {"march": "f3"}
    report = files.read_json(project.build / "monitor" / "march.json")
    assert (report["drift"], report["status"], report["n"]) == (True, "drift", 200)
    assert report["refused"] == [{"file": "a\\udcff.txt", "reason": "no picture"}]


def test_the_headline_lists_harm_first_then_drift_then_what_is_unreadable() -> None:
    drifted = CheckedBatch("march", 200, (), verdict(True, noise=1.5))
    calm = CheckedBatch("april", 200, (), verdict(False))
    foreign = CheckedBatch("may", 3, (), verdict(True, harmful=True))
    nothing = CheckedBatch("june", 0, (("x", "no picture"),), None)
    assert inbox.headline([calm]) == "no drift in 1 new batch"
    assert inbox.headline([calm, drifted]) == "drift in 1 of 2 new batches: march"
    assert inbox.headline([drifted, foreign, nothing]) == (
        "harm in 1 of 3 new batches: may; drift in 1: march; nothing readable in 1: june"
    )
    assert inbox.headline([nothing]) == "nothing readable in 1 of 1 new batch: june"


def test_a_slow_drift_is_told_with_the_batch_at_which_it_was_seen() -> None:
    history = Sequence(
        *("window", np.zeros((1, 2)), np.ones((1, 8)), np.zeros(1), 40, 800, "f3"),
        p_value=0.004,
        feature="thickness",
        since="march",
    )
    calm = CheckedBatch("march", 20, (), verdict(False), history=history)
    later = CheckedBatch("april", 20, (), verdict(False), history=history)
    assert (calm.begins_slow_drift, later.begins_slow_drift) == (True, False)
    assert inbox.headline([later]) == (
        "no drift in 1 new batch; slow drift since march, over 40 batches (thickness, p ≤ 0.004)"
    )
    assert inbox.title([later]) == "Slow drift"
    assert inbox.event_payload(calm)["slow_drift"]["feature"] == "thickness"


def test_the_markdown_lists_moved_features_by_distance_and_refused_files() -> None:
    refused = tuple((f"{i}<b>.txt", "no picture") for i in range(5))
    checked = CheckedBatch("march", 200, refused, verdict(True, noise=0.4, thickness=1.5))
    text = inbox.markdown([checked])
    assert text.startswith("**Drift in 1 of 1 new batch: march.**")
    assert "| march | 200 | 5 | **DRIFT** | 1e-09 | 0.913 | 2% | thickness, noise |" in text
    assert "in standard deviations: thickness by 1.50, noise by 0.40." in text
    assert "0&#60;b&#62;.txt (no picture)" in text
    assert "and 2 more" in text
    assert "Drift that does no harm" in text
    text = inbox.markdown([CheckedBatch("may", 200, (), verdict(True, harmful=True))])
    assert "| **HARMFUL** |" in text
    assert "digits add" in text


def test_a_missing_model_is_an_error_that_says_what_to_do(small_project: Project) -> None:
    with pytest.raises(DataError, match=r"can't be checked without a model: .*run 'dvc repro'"):
        inbox.load_detector(small_project)


def test_every_kind_of_batch_gets_the_right_status(built_project: Project) -> None:
    box = built_project.build / "inbox"
    everybody = handwriting.uci_digits()  # sorted by writer; a few writers alone would be drift
    entries = [everybody[i] for i in np.random.default_rng(1).permutation(len(everybody))[:200]]
    images = [glyphs.read(entry.picture).image for entry in entries]
    dirty = np.stack(images) + np.random.default_rng(0).integers(0, 120, (200, 28, 28))
    _save(box / "calm", [entry.picture for entry in entries])
    _save(
        box / "dirty", [handwriting.pgm(np.minimum(image, 255).astype(np.uint8)) for image in dirty]
    )
    _save(box / "few", [entry.picture for entry in entries[:3]] + [b"P5 broken"])
    (box / "text.png").write_text("no picture")
    os.mkfifo(box / "pipe")
    detector = inbox.load_detector(built_project)
    batches, _ = inbox.new_batches(box, {}, quiet=0)
    checked = {b.name: inbox.check(built_project, b, detector) for b in batches}
    assert {name: c.status for name, c in checked.items()} == {
        "calm": "no drift",
        "dirty": "drift",
        "few": "no drift",
        "pipe": "unreadable",
        "text.png": "unreadable",
    }
    assert checked["few"].n == 3
    assert checked["few"].refused[0][0].endswith("003.pgm")
    assert checked["dirty"].moved
    assert checked["calm"].history
    assert checked["calm"].history.images == 100
    assert checked["dirty"].history is None  # seen without a history
    names = [files.read_json(run)["name"] for run in workspace.runs(built_project)]
    assert names == ["calm", "dirty", "few"]
    _check_late_labels(built_project, checked, [entry.label for entry in entries])
    runs = [run.read_text() for run in workspace.runs(built_project)]
    assert sum('"measured accuracy"' in run for run in runs) == 2


def _check_late_labels(
    project: Project, checked: dict[str, CheckedBatch], labels: list[int | None]
) -> None:
    """Labels for checked batches: some, all wrong, unknown."""
    for name in ("calm", "dirty"):
        inbox.record(project, Batch(name, project.build, "f3"), checked[name])
    assert late_labels.comparisons(project) == []
    path = project.build / "labels.csv"

    def write(rows: list[tuple[str, object]]) -> None:
        path.write_text("filename,label\n" + "".join(f"{f},{label}\n" for f, label in rows))

    write([(f"{i:03}.pgm", labels[i]) for i in range(150)])
    found = late_labels.attach(project, "calm", path)
    assert found.n == 150
    assert found.accuracy > 0.8
    assert not found.harmful
    assert found.error == pytest.approx(found.estimated_accuracy - found.accuracy)
    write([(f"{i:03}.pgm", (int(labels[i] or 0) + 1) % 10) for i in range(200)])
    assert late_labels.attach(project, "dirty", path).harmful
    assert [one.batch for one in late_labels.comparisons(project)] == ["calm", "dirty"]
    trust = late_labels.trust(late_labels.comparisons(project))
    assert found.in_sample_share > 0.3
    assert trust["batches"] == 1  # only the one that the model wasn't trained on
    report = files.read_json(project.build / "monitor" / "calm.json")
    assert report["accuracy"] == report["labelled"]["accuracy"] == found.accuracy
    write([("000.pgm", 11)])
    with pytest.raises(DataError, match=r"1 labels aren't 0–9, e.g. 11 of 000\.pgm"):
        late_labels.attach(project, "calm", path)
    with pytest.raises(DataError, match="may: no such batch; checked so far: calm, dirty"):
        late_labels.attach(project, "may", path)


def _save(folder: Path, pictures: list[bytes]) -> None:
    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures):
        (folder / f"{i:03}.pgm").write_bytes(picture)
