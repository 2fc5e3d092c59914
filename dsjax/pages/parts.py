"""Parts of a page, as plain data: texts here are texts, whatever is in them."""

import dataclasses
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """A cell of a table: its text, the number that it sorts by, a mark (a class of page.css), and a longer text."""

    text: str
    number: float | None = None
    mark: str = ""
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Words:
    """Sentences: a paragraph each, or a list."""

    lines: list
    kind: str = "p"  # "p", "list", "note", "lead", or "code"


@dataclasses.dataclass(frozen=True)
class Facts:
    """Names with their values."""

    pairs: list  # [(name, text)]
    kind: str = ""  # "big": headline numbers


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows below headings; each heading sorts."""

    columns: list
    rows: list  # of `Cell`s
    caption: str = ""
    note: str = ""
    folded: bool = False  # closed until its reader opens it


@dataclasses.dataclass(frozen=True)
class Chart:
    """Vega-Lite specifications, one below the other, with what they show in words."""

    title: str
    says: str
    specs: list
    note: str = ""
    fixed: str = ""  # what does not vary


@dataclasses.dataclass(frozen=True)
class Section:
    """Parts below a heading."""

    title: str
    parts: list
    anchor: str = ""


@dataclasses.dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    lead: str
    sections: list
    made: str = ""  # by which dsjax
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)  # {name of a meta tag: text}


def cells(row):
    """Texts and (text, number) pairs as `Cell`s."""
    return [x if isinstance(x, Cell) else Cell(*x) if isinstance(x, tuple) else Cell(str(x)) for x in row]


def table(columns, rows, **more):
    """`Table` of rows of texts, (text, number) pairs and `Cell`s."""
    return Table(list(columns), [cells(row) for row in rows], **more)
