"""Numbers, tables and untrusted text, formatted for people."""

import html

import pytest

from digits.formatting import duration, markdown_code, markdown_table, markdown_text

HOSTILE = "a|b\n| x |\r</details><script>`` ![](https://x) @everyone *_~#\x1b[31m\\"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.456, "0.46 s"),
        (45.4, "45 s"),
        (59.9, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_table_aligns_the_columns_it_is_asked_to() -> None:
    rows = [("a", "1"), ("b", "20")]
    expected = "| name | n |\n|---|--:|\n| a | 1 |\n| b | 20 |"
    assert markdown_table(("name", "n"), rows, right=[1]) == expected


def test_a_table_may_have_no_rows() -> None:
    assert markdown_table(("name", "n"), []) == "| name | n |\n|---|---|"


def test_escaped_text_has_no_special_character_but_reads_the_same() -> None:
    escaped = markdown_text(HOSTILE)
    assert not set(escaped) & set("|\n\r<>`![]*_~\\@\x1b/")
    seen = html.unescape(escaped).replace("\u200b", "")
    assert seen == "a|b | x | </details><script>`` ![](https://x) @everyone *_~# [31m\\"


def test_escaping_leaves_prose_and_names_readable() -> None:
    prose = "stroke_width moved by 0.3 σ (p = 1e-09), 5 × as far; it's 12 %"
    assert markdown_text(prose) == prose


def test_an_escaped_mention_notifies_nobody() -> None:
    assert markdown_text("@team") == "&#64;&#8203;team"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("plain", "`plain`"),
        ("a|b\n| c", r"`a\|b \| c`"),
        ("one ` two ``", "``` one ` two `` ```"),
        (" \n", "-"),
    ],
)
def test_a_code_span_holds_any_text(text: str, span: str) -> None:
    assert markdown_code(text) == span
