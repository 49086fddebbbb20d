"""The model card of versions of a small real pipeline, in all its forms."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pipeline
import pytest
from conftest import exit_code
from repository import commit_all, git

from digits.core.project import Project
from digits.registry import card, card_formats, card_sections, registry, tags
from digits.registry.card import Card
from digits.registry.card_elements import MISSING

HOSTILE = '<script>alert(1)</script>|**x** [a](javascript:b)\n# "\x1b[31m'


def findings(one: Card) -> dict[str, str]:
    """Badge of "Can it be trusted?" → what was found."""
    (table,) = card_sections.sections(one)[0].tables
    return {str(badge): str(words) for badge, words in table.rows}


def facts(one: Card, section: str) -> dict[str, str]:
    found = {part.id: part for part in card_sections.sections(one)}[section]
    return {name: str(value) for name, value in found.facts}


def notes(one: Card) -> str:
    return "\n".join(note for part in card_sections.sections(one) for note in part.notes)


def change_report(path: Path, *keys: str, value: Any) -> None:
    """Replace a value of a JSON file."""
    document = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(document))


def test_a_version_s_card_has_its_own_figures_in_a_fresh_clone(cloned: Project) -> None:
    one, two = (card.read(cloned, version) for version in ("v0.1.0", "0.2.0"))
    assert card_sections.summary(one) == (
        "accuracy on 100 test images of writers unknown to training, 4 misread; "
        "confidence interval 95.00 – 97.00 %"
    )
    assert "3 misread" in card_sections.summary(two)
    assert facts(one, "data")["Trained on"] == "MNIST"
    assert facts(two, "data")["Trained on"] == "MNIST, forms"
    assert facts(two, "provenance")["Commit"] == two.commit
    assert facts(two, "provenance")["Parent version"] == "v0.1.0"
    assert facts(two, "parameters")["train.seed"] == "2"
    assert card_sections.status(one).endswith(
        f": a start; the first version; commit {one.commit[:7]}"
    )


def test_weak_slices_are_named_among_the_limits(trained: Project) -> None:
    text = notes(card.read(trained, "v0.1.0"))
    assert "Weak digits: 6 (90.00 %), against 96.00 % overall" in text
    assert "reads clearly worse: uci (80.00 %), against 96.00 %" in text
    assert "reads worst: stripe (25.00 % misread), fog (2.00 % misread)" in text
    assert "3 of its 4 errors on the test set have a confidence of at least 90 %" in text


def test_in_sample_accuracy_is_marked_and_no_weakness(trained: Project) -> None:
    two = card.read(trained, "v0.2.0")
    (table,) = card_sections.sections(two)[3].tables
    marks = {row[0]: str(row[5]) for row in table.rows}
    assert marks == {"forms": "! in-sample (50 images)", "uci": "not trained on"}
    assert [one.name for one in two.weak_batches()] == ["uci"]


def test_a_version_whose_results_belong_together_says_so(cloned: Project) -> None:
    assert "✓ consistent" in findings(card.read(cloned, "v0.1.0"))


def test_a_version_of_unbuilt_data_says_what_is_wrong(trained: Project) -> None:
    pipeline.add_batch(trained.root, "letters")
    commit_all(trained.root)
    git(trained.root, "tag", "--annotate", "--message", "x", "digits@v0.3.0", "HEAD")
    found = findings(card.read(trained, "v0.3.0"))
    assert "✗ inconsistent" in found
    assert found[""] == "ingest is stale: data changed"


def test_uncommitted_changes_and_stale_stages_of_the_working_tree_are_shown(
    trained: Project,
) -> None:
    pipeline.write_params(trained.root, train={"seed": 5})
    found = findings(card.read(trained, "workspace"))
    assert "✗ inconsistent" in found
    assert "params.yaml" in found["! uncommitted"]


def test_leaked_test_images_are_a_failure(trained: Project) -> None:
    change_report(trained.metrics, "leaks", "test_in_train", value=7)
    found = findings(card.read(trained, "workspace"))
    assert found["✗ leaks"] == "Images are in two splits: 7 of test in train."


def test_the_gate_s_verdict_and_a_forced_promotion_are_shown(trained: Project) -> None:
    assert "'digits gate v0.2.0'" in findings(card.read(trained, "v0.2.0"))["? gate"]
    commit = git(trained.root, "rev-parse", "digits@v0.2.0^{commit}").strip()
    said = {"event": "promote", "verdict": "promote", "reasons": ["it meets every limit"]}
    tags.create(trained, "digits#champion#1", commit, "Promote v0.2.0", said)
    found = findings(card.read(trained))
    assert found["✓ gate"].endswith("when it was promoted: promote (it meets every limit)")

    registry.promote(trained, "v0.1.0", force=True, reason="the customer wants it")
    found = findings(card.read(trained))
    assert "Promoted by force: the customer wants it. The gate said:" in found["! forced"]


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"test": [], "batches": 3}', "{"])
def test_missing_and_damaged_reports_are_not_recorded(trained: Project, document: str) -> None:
    paths = (trained.metrics, trained.drift_report, trained.model_card, trained.root / "dvc.lock")
    for path in paths:
        path.write_text(document)
    commit_all(trained.root)
    git(trained.root, "tag", "--annotate", "--message", "x", "digits@v0.3.0", "HEAD")

    one = card.read(trained, "v0.3.0")

    assert facts(one, "calibration")["Calibration error on the test set"] == MISSING
    assert facts(one, "data")["Trained on"] == MISSING
    assert "? leaks" in findings(one)
    for render in (card_formats.markdown, card_formats.html):
        assert MISSING in render(one)
    json.dumps(one.as_dict())


def test_old_reports_without_batches_take_their_accuracy_from_the_drift_report(
    trained: Project,
) -> None:
    metrics = json.loads(trained.metrics.read_text())
    del metrics["batches"], metrics["leaks"]
    trained.metrics.write_text(json.dumps(metrics))
    change_report(trained.drift_report, "batches", "uci", "accuracy", value=0.71)
    (table,) = card_sections.sections(card.read(trained, "workspace"))[3].tables
    rows = {row[0]: row[2:4] for row in table.rows}
    assert rows == {"forms": (MISSING, MISSING), "uci": ("71.00 %", MISSING)}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True, "0.9", [1], None])
def test_a_figure_that_is_no_number_is_not_recorded(trained: Project, value: Any) -> None:
    change_report(trained.metrics, "test", "calibration_error", value=value)
    one = card.read(trained, "workspace")
    assert facts(one, "calibration")["Calibration error on the test set"] == MISSING


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def hostile(trained: Project) -> Card:
    """A card in which every text that a report can hold is hostile."""
    for report, key in ((trained.metrics, "batches"), (trained.drift_report, "batches")):
        batches = json.loads(report.read_text())[key]
        change_report(report, key, value={HOSTILE: batches["uci"]})
    change_report(
        trained.drift_report, "batches", HOSTILE, "tests", value={HOSTILE: {"drift": True}}
    )
    change_report(trained.metrics, "corrupted", value={HOSTILE: 0.5})
    change_report(trained.metrics, "test", "per_digit", value={HOSTILE: {"n": 1, "recall": 0.1}})
    change_report(trained.metrics, "leaks", value={HOSTILE: 3})
    change_report(trained.model_card, "model", value=HOSTILE)
    change_report(trained.model_card, "weights", value={HOSTILE: HOSTILE})
    change_report(trained.model_card, "built_with", value={HOSTILE: HOSTILE})
    pipeline.write_params(trained.root, train={"seed": HOSTILE})
    commit_all(trained.root)
    commit = git(trained.root, "rev-parse", "HEAD").strip()
    facts_ = {"why": HOSTILE, "parent": HOSTILE}
    tags.create(trained, "digits@v0.3.0", commit, "x", facts_)
    said = {"forced": HOSTILE, "verdict": HOSTILE, "reasons": [HOSTILE]}
    tags.create(trained, "digits#champion#1", commit, "x", said)
    return card.read(trained, "v0.3.0")


def test_html_escapes_everything_and_loads_nothing(trained: Project) -> None:
    page = card_formats.html(hostile(trained))
    parser = _Tags()
    parser.feed(page)
    assert page.count("&lt;script&gt;") > 10
    assert not parser.seen & {"script", "iframe", "object", "form", "base"}
    assert all(
        re.match(r"#[a-z]+$|data:(image/png;base64,[\w+/=]*|,)$", link) for link in parser.links
    )
    assert "default-src 'none'" in page
    assert "\x1b" not in page


def test_markdown_escapes_everything(trained: Project) -> None:
    text = card_formats.markdown(hostile(trained))
    outside_code = re.sub(r"(`+) ?.*?\1", "", text)
    assert "<script>" not in outside_code
    assert "**x**" not in outside_code
    assert "](" not in outside_code
    assert "\x1b" not in text
    widths = {"|  |  |", "|---|---|"}
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert widths < set(rows)
    assert not [
        line for line in text.splitlines() if line.startswith(("#", "<")) and "alert" in line
    ]


def test_the_terminal_shows_no_control_characters_or_markup(
    trained: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile(trained)
    assert exit_code("models", "show", "v0.3.0") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_pictures_are_embedded_only_if_they_are_png_files(trained: Project) -> None:
    plots = trained.plots
    plots.mkdir()
    (plots / "calibration.png").write_bytes(b"\x89PNG\r\n\x1a\npicture")
    (plots / "per_digit.png").write_bytes(b"<svg onload=alert(1)>")
    commit_all(trained.root)
    one = card.read(trained, "workspace")
    assert list(one.pictures) == ["calibration"]
    assert card_formats.html(one).count("data:image/png;base64,") == 1


def test_equal_commits_and_tags_give_an_equal_card(trained: Project, cloned: Project) -> None:
    here, there = (card.read(place, "v0.2.0") for place in (trained, cloned))
    assert card_formats.html(here) == card_formats.html(there)
    assert card_formats.markdown(here) == card_formats.markdown(there)


def test_show_writes_files_or_prints_one_document(
    trained: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files = (str(tmp_path / "card.md"), str(tmp_path / "card.html"))
    assert exit_code("models", "show", "v0.1.0", "--markdown", files[0], "--html", files[1]) == 0
    capsys.readouterr()
    assert Path(files[0]).read_text().startswith("# Model card: v0.1.0\n")
    assert Path(files[1]).read_text().lstrip().startswith("<!doctype html>")

    assert exit_code("models", "show", "v0.1.0", "--markdown") == 0
    assert capsys.readouterr().out == Path(files[0]).read_text()

    assert exit_code("models", "show", "v0.1.0", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["version"], shown["metrics"]["test"]["errors"]) == ("v0.1.0", 4)
    assert shown["consistency"] == {"ok": True, "problems": [], "uncommitted": []}


def test_without_a_champion_show_says_what_to_do(
    trained: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("models", "show") == 2
    assert "no champion yet; run 'digits models promote VERSION'" in capsys.readouterr().err


def test_a_version_after_markdown_is_not_taken_for_a_file(
    trained: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("models", "show", "--markdown", "v0.1.0") == 2
    assert "run 'digits models show v0.1.0 --markdown'" in capsys.readouterr().err
    assert not (trained.root / "v0.1.0").exists()
