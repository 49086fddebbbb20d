"""A comparison as Markdown: a comment on a pull request.

Every text is escaped. Tables have at most five narrow columns, lists hold what may be long, so it
can be read on a phone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

from digits.formatting import markdown_code, markdown_table, markdown_text
from digits.gate.comparison import Comparison
from digits.gate.pictures import Tile, chosen
from digits.reports.comparison import images
from digits.reports.comparison.document import Name, Section, Text, name
from digits.reports.comparison.head import head
from digits.reports.comparison.sections import ACCURACY, sections

MARKER = "<!-- digits-compare -->"  # by which the workflow finds the comment that it updates
_MAX_BYTES = 60_000  # GitHub takes 65,536 characters
PICTURES = 20  # images of each side in a picture
_LISTED = 10  # images of each side, where they can't be shown


def render(
    result: Comparison,
    tiles: Mapping[str, Sequence[Tile]],
    pictures: Mapping[str, str] | None = None,
    links: str | None = None,
) -> str:
    """The verdict in the first lines, then sections.

    Args:
        tiles: side ("newly wrong", …) → the images that changed sides.
        pictures: side → address of the picture with those images.
        links: the URL under which `<commit>/<path>` shows a file of the repository.
    """
    shown = sections(result)
    first = [_section(one) for one in shown if one.key in ACCURACY]
    changed = _images(result, tiles, pictures or {}, links)
    others = [
        _section(one, _plots(result, links) if one.key == "plots" else "")
        for one in shown
        if one.key not in ACCURACY
    ]
    return "\n\n".join(_fitting([_head(result), *first, *changed, *others])) + "\n"


def _fitting(parts: Iterable[str]) -> Iterator[str]:
    """As many parts as one comment may have."""
    size = 0
    for part in parts:
        size += len(part.encode()) + 2
        if size > _MAX_BYTES:
            yield "… and more than fits into a comment: `digits compare --html FILE` shows all."
            return
        yield part


def _head(result: Comparison) -> str:
    top = head(result)
    lines = [f"{MARKER}\n## {top.headline} · compared with {_text(top.base)}"]
    lines += [f"🔴 **{_plain(alarm)}**" for alarm in top.alarms]
    lines += [f"**{_plain(reason)}.**" for reason in top.reasons[:1]]
    lines += [f"{_plain(reason)}." for reason in top.reasons[1:]]
    lines.append(_text(top.inputs))
    lines += [f"<sub>{_plain(note)}</sub>" for note in top.notes]
    return "\n\n".join(lines)


def _section(section: Section, extra: str = "") -> str:
    title = markdown_text(section.title)
    body = "\n\n".join(filter(None, (_body(section), extra)))
    return _folded(title, body) if section.folded else f"### {title}\n\n{body}"


def _body(section: Section) -> str:
    rows = [[_text(cell) for cell in row.cells] for row in section.rows]
    if section.head:
        content = markdown_table(section.head, rows, section.right)
    else:
        content = "\n".join(f"- {cells[0]}" for cells in rows)
    more = f"… and {section.omitted:,} more" if section.omitted else ""
    return "\n\n".join(filter(None, (content, more, _plain(section.note))))


def _folded(title: str, body: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def _text(text: Text) -> str:
    """Names as code; the spaces around pieces are kept."""
    return "".join(map(_piece, text))


def _piece(piece: str) -> str:
    if isinstance(piece, Name):
        return markdown_code(piece)
    core = _plain(piece)
    return f"{' ' * piece.startswith(' ')}{core}{' ' * piece.endswith(' ')}" if core else " "


def _plain(text: str) -> str:
    escaped = markdown_text(text).replace(" %", "&nbsp;%")
    return escaped.replace("≤ ", "≤&nbsp;").replace("❌ ", "❌&nbsp;").replace("✅ ", "✅&nbsp;")


# pictures


def _images(
    result: Comparison,
    tiles: Mapping[str, Sequence[Tile]],
    pictures: Mapping[str, str],
    links: str | None,
) -> Iterator[str]:
    """The images that changed sides as a picture, or else as a list."""
    loud = any(one.outcome in ("better", "worse") for one in result.sets.values())
    for side, found in tiles.items():
        if not found:
            continue
        if side in pictures:
            alt = markdown_text(images.alt_text(side, found))
            body = f"![{alt}]({quote(pictures[side])})"
            if (rest := len(found) - len(chosen(found, PICTURES))) > 0:
                body += f"\n\n… and {rest:,} more, not shown"
        else:
            body = _body(images.listed(found, _LISTED))
        if links:
            commit = result.head if side == "newly wrong" else result.commit
            page = f"{links}/{commit}/reports/mistakes.png"
            body += f"\n\n[All misread test images at {commit[:7]}]({page})"
        title = images.title(side, found)
        yield f"### {title}\n\n{body}" if loud else _folded(title, body)


def _plots(result: Comparison, links: str | None) -> str:
    """Both sides of each changed plot, as pictures under `links`."""
    if not links:
        return ""
    parts = []
    for path in result.changes.plots[:_LISTED]:
        both = (("before", result.commit), ("now", result.head))
        parts.append(_piece(name(path)))
        parts += [f"![{side}]({links}/{commit}/{quote(path)}?raw=true)" for side, commit in both]
    return "\n\n".join(parts)
