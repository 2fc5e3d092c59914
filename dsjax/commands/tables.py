"""Plain-text tables for a terminal."""

from ..formats import _UNIT


def table(columns, rows, indent="  "):
    """Aligned text: `columns` are headings, `rows` sequences of texts and numbers; numbers are set right."""
    cells = [[c if isinstance(c, str) else _text(c) for c in row] for row in rows]
    right = [
        all(not isinstance(row[i], str) or _number(row[i]) for row in rows) and bool(rows) for i in range(len(columns))
    ]
    widths = [
        max(len(heading), *(len(row[i]) for row in cells)) if cells else len(heading)
        for i, heading in enumerate(columns)
    ]

    def line(texts):
        return (indent + "  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, widths, right))).rstrip()

    return "\n".join([line(columns), line(["-" * w for w in widths]), *map(line, cells)])


def _text(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.6g}" if isinstance(value, float) else f"{value}"


def _number(text):
    if text == "-":
        return True
    try:
        float(_UNIT.sub("", text).replace(",", ""))
    except ValueError:
        return False
    return True
