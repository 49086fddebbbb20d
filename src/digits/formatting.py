"""Numbers, tables and untrusted text, formatted for people."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

# ASCII punctuation that can mean something in Markdown or HTML; not the underscore inside a word
_SPECIAL = re.compile(r"""(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|["!#$&*+/<>?@\[\\\]^`{|}~]""")


def percent(share: float) -> str:
    """A share, 0–1, as a percentage: `99.70 %`."""
    return f"{100 * share:.2f} %"


def interval(figures: Mapping[str, Any], name: str) -> str:
    """The confidence interval of `figures[name]`, `99.50 – 99.74 %`; "" if it has none."""
    if f"{name}_interval" not in figures:
        return ""
    low, high = figures[f"{name}_interval"]
    return f"{100 * low:.2f} – {percent(high)}"


def duration(seconds: float) -> str:
    """A duration to two units at most: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        (big, small), units = divmod(whole, 60), ("min", "s")
    else:
        (big, small), units = divmod(round(whole / 60), 60), ("h", "min")
    return f"{big} {units[0]}" + (f" {small} {units[1]}" if small else "")


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()
) -> str:
    """A Markdown table, without a newline at its end.

    Args:
        head: column titles.
        rows: cells in Markdown. Text that this code base didn't write must have gone through
            `markdown_text` or `markdown_code`.
        right: indices of right-aligned columns, counted from 0.
    """
    rule = "|".join("--:" if column in right else "---" for column in range(len(head)))
    first, *others = (f"| {' | '.join(cells)} |" for cells in (head, *rows))
    return "\n".join((first, f"|{rule}|", *others))


def markdown_text(text: str) -> str:
    """Untrusted text as one line in which nothing has a meaning in Markdown or HTML.

    Special characters become character references, so it is safe inside a line or a table
    cell. GitHub notifies nobody: a zero-width space separates `@` from the name.
    """
    escaped = _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", one_line(text))
    return escaped.replace("&#64;", "&#64;&#8203;")


def markdown_code(text: str) -> str:
    """Untrusted text as a code span that is safe in a table cell; `-` if it is empty."""
    text = one_line(text).replace("|", r"\|")
    if not text:
        return "-"
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    padding = " " if "`" in text else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def one_line(text: str) -> str:
    """`text` with control characters and runs of white space replaced by one space."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
