"""A model card as Markdown and as an HTML page. Everything in it is untrusted text."""

import base64
import importlib.resources
from functools import cache

import jinja2

from digits.formatting import markdown_code, markdown_table, markdown_text, percent
from digits.gate.evidence import figure
from digits.registry import card_sections
from digits.registry.card import Card
from digits.registry.card_elements import Badge, Cell, Code, Section, Table


def markdown(one: Card) -> str:
    """The card as Markdown, without pictures."""
    accuracy = figure(one.test, "accuracy")
    headline = "No figures are recorded."
    if accuracy is not None:
        headline = f"**{percent(accuracy)}** {markdown_text(card_sections.summary(one))}."
    status = markdown_text(card_sections.status(one))
    parts = [f"# Model card: {markdown_text(card_sections.title(one))}", headline, status]
    for section in card_sections.sections(one):
        parts += [f"## {section.title}", *_section(section)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _section(section: Section) -> list[str]:
    parts = [markdown_text(section.lead)]
    if section.facts:
        rows = [(_cell(name), _cell(value)) for name, value in section.facts]
        parts.append(markdown_table(("", ""), rows))
    parts.append("\n".join(f"- {markdown_text(note)}" for note in section.notes))
    return parts + [_table(table) for table in section.tables]


def _table(table: Table) -> str:
    rows = []
    for number_of, row in enumerate(table.rows):
        cells = [_cell(cell) for cell in row]
        rows.append([f"**{cell}**" for cell in cells] if number_of in table.strong else cells)
    return markdown_table(table.head, rows, table.right)


def _cell(cell: Cell) -> str:
    return markdown_code(cell) if isinstance(cell, Code) else markdown_text(str(cell))


def html(one: Card) -> str:
    """The card as a page that needs no other file, no network and no script."""
    accuracy = figure(one.test, "accuracy")
    pictures = {
        name: "data:image/png;base64," + base64.b64encode(content).decode("ascii")
        for name, content in one.pictures.items()
    }
    return _template().render(
        title=card_sections.title(one),
        accuracy=None if accuracy is None else percent(accuracy),
        status=card_sections.status(one),
        summary=card_sections.summary(one),
        figures=card_sections.figures(one),
        sections=card_sections.sections(one),
        pictures=pictures,
    )


@cache
def _template() -> jinja2.Template:
    source = importlib.resources.files("digits.registry") / "templates" / "card.html.j2"
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests |= {
        "code": lambda cell: isinstance(cell, Code),
        "badge": lambda cell: isinstance(cell, Badge),
    }
    return environment.from_string(source.read_text(encoding="utf-8"))
