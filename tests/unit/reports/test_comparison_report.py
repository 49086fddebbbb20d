"""A comparison as Markdown, page and terminal: hostile input, size, names."""

import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import exit_code
from markdown_it import MarkdownIt
from reported import change, project, report, write
from repository import commit_all, git
from rich.console import Console

from digits.cli.compare import show
from digits.core import params
from digits.core.project import Project
from digits.gate import comparison, pictures
from digits.gate.comparison import Comparison
from digits.reports.comparison import markdown, page

HOSTILE = "a|b | x | y |</details></code><script>`` ![](http://x) @everyone \x1b[31m"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = project(tmp_path_factory.mktemp("template") / "project")
    report(folder, range(5), {"summer": [1, 2]})
    commit_all(folder)
    return folder


@pytest.fixture
def tree(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(template, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def compared(folder: Path) -> Comparison:
    found = Project(folder)
    return comparison.compare(found, "HEAD", params.load(found.params).gate)


def rendered(folder: Path, width: int = 100) -> tuple[str, str, str]:
    """Markdown, page and terminal."""
    result = compared(folder)
    tiles = pictures.changed(Project(folder), result.old, result.new, result.sets)
    console = Console(width=width, file=io.StringIO())
    show(result, console)
    text = markdown.render(result, tiles, links="https://forge/blob")
    return text, page.build(result, tiles), console.file.getvalue()  # type: ignore[attr-defined]


def with_names(folder: Path, names: Iterable[str]) -> None:
    """Names in every place that a pull request may write: batches, parameters, code, stages, …"""
    names = list(names)
    report(folder, range(100, 180), {name: range(30) for name in names})
    rows = [{"says": name, "success": False} for name in names]
    change(folder, "reports/validation.json", "expectations", value=rows)
    for name in names:
        change(folder, "reports/metrics.json", "corrupted", f"{name}\n_error", value=0.9)
        change(folder, "reports/metrics.json", name, value=1)
    lock = (folder / "dvc.lock").read_text()
    lines = [f"          {json.dumps(name)}: {json.dumps(name)}" for name in names]
    extra = "\n".join(["      params.yaml:", "        x:", *lines, "        train:"])
    (folder / "dvc.lock").write_text(lock.replace("      params.yaml:\n        train:", extra))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_hostile_names_stay_text_in_markdown(tree: Path) -> None:
    with_names(tree, [HOSTILE])
    (tree / "reports" / "plots" / "](x) ![](y).png").write_text("x")
    commit_all(tree)
    (tree / "reports" / "plots" / "](x) ![](y).png").write_text("y")
    with_names(tree, [HOSTILE, f"{HOSTILE}2"])
    text, _, _ = rendered(tree)

    assert "\x1b" not in text
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or []]
    sources = [str(one.attrs["src"]) for one in inline if one.type == "image"]
    links = [str(one.attrs["href"]) for one in inline if one.type == "link_open"]
    assert sources
    assert all(target.startswith("https://forge/blob/") for target in (*sources, *links))
    html = "".join(one.content for one in (*tokens, *inline) if "html" in one.type)
    allowed = {"details", "/details", "summary", "/summary", "sub", "/sub"}
    assert set(re.findall(r"<([^>]*)>", html)) <= {*allowed, "!-- digits-compare --"}
    outside = [part for line in text.splitlines() for part in line.split("```")[::2]]
    assert not any("@everyone" in part for part in outside)
    tables = [line.replace(r"\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} <= {4, 5, 6}  # no cell broke out


def test_hostile_names_stay_text_on_the_page_and_the_terminal(tree: Path) -> None:
    with_names(tree, [HOSTILE])
    _, html, terminal = rendered(tree)
    assert "\x1b" not in html + terminal
    found = _Tags()
    found.feed(html)
    assert not [tag for tag, _ in found.tags if tag in ("script", "iframe", "object", "form")]
    images = [attributes for tag, attributes in found.tags if tag == "img"]
    assert images
    assert all(str(one["src"]).startswith("data:image/png;base64,") for one in images)
    assert all(one["alt"] for one in images)
    assert not [key for _, attributes in found.tags for key in attributes if key.startswith("on")]
    assert "http" not in re.sub(r"http-equiv|&lt;.*?&gt;", "", html).replace("http://x", "")
    assert "default-src 'none'" in html


def test_the_comment_fits_whatever_the_input(tree: Path) -> None:
    names = [f"{number}{'|' * 220}" for number in range(60)]
    for name in names:
        (tree / "src" / name).write_text("x")
    with_names(tree, names)
    for name in names:
        (tree / "reports" / "plots" / name).write_text("x")
    git(tree, "add", "--all")
    text, html, _ = rendered(tree)
    assert 50_000 < len(text.encode()) < 65_536
    assert "… and more than fits into a comment" in text
    assert text.count("<details>") == text.count("</details>")
    assert text.splitlines()[1].startswith("## ⚠️ Can't be judged")
    assert len(html) < 2_000_000


def test_long_lists_say_how_much_is_left_out(tree: Path) -> None:
    for number in range(200):
        (tree / "src" / f"module_{number}.py").write_text("x")
    report(tree, range(500), {f"batch-{number}": range(100) for number in range(100)})
    text, _, terminal = rendered(tree)
    assert len(text.encode()) < 65_536
    assert "… and 61 more" in text
    assert "… and 61 more" in terminal
    assert "batch `batch-2` added (200 images), and 98 more," in text


def test_no_two_names_look_the_same(tree: Path) -> None:
    long = ["a" * 200 + middle + "z" * 200 for middle in "bcd"]
    digests = {hashlib.sha256(name.encode()).hexdigest()[:8] for name in long}
    report(tree, range(5), {name: range(30) for name in long})
    for output in rendered(tree, width=300):
        assert digests <= set(re.findall("…([0-9a-f]{8})…", output))


def test_odd_values_are_left_out(tree: Path) -> None:
    for keys, value in (
        (("test", "accuracy_interval"), ["x", None]),
        (("test", "confusion"), [[1]]),
        (("test", "f1"), 10**400),
        (("test", "calibration_error"), float("nan")),
        (("corrupted",), [1]),
        (("batches",), {}),
        (("leaks",), "none"),
        (("val",), None),
    ):
        change(tree, "reports/metrics.json", *keys, value=value)
    write(tree, "reports/drift.json", {"batches": ["x"]})
    write(tree, "reports/validation.json", {"expectations": {"a": 1}, "success": True})
    write(tree, "reports/model.json", {"weights": "x"})
    text, html, _ = rendered(tree)
    assert text.splitlines()[1].startswith("## ⚠️ Can't be judged")
    assert "| accuracy | 99.50&nbsp;% | 0 | same |" in text
    assert "| F1 | 99.50 → – | – |" in text
    assert html.rstrip().endswith("</html>")


def test_a_damaged_sheet_shows_no_pictures(tree: Path) -> None:
    report(tree, [100, 101, 102], {"summer": [1]})
    (tree / "reports" / "mistakes.png").write_bytes(b"\x89PNG")
    text, html, _ = rendered(tree)
    assert "| 0 read as 1 | test 100 | 90% |" in text
    assert "3 images, whose pictures are not recorded" in html


def test_the_page_shows_both_curves_and_the_reasons(tree: Path) -> None:
    report(tree, range(100, 150), {"summer": [1, 2]})
    _, html, _ = rendered(tree)
    assert '<h1 class="fail">❌ Regression</h1>' in html
    assert html.index("fell by more than chance") < html.index("<main>")
    charts = re.findall(r'<polyline class="(old|new)" points="([^"]*)"', html)
    assert [side for side, _ in charts] == ["old", "new"] * 4
    assert charts[0][1] != charts[1][1]


def test_json_is_one_document(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(tree, range(5), {"summer": [1, 2]})
    assert exit_code("compare", "HEAD", "--json", "--html", "page.html") == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "same"
    assert Path("page.html").is_file()
