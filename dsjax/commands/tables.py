"""Rows as plain-text tables for a terminal, as CSV and as JSON."""

import csv
import sys

import click

from ..formats import UNIT


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


def marked(texts, marks, mark="*"):
    """Cells of a column with the mark of a footnote behind some of them, the others as wide."""
    return [text + (mark if own else " ") for text, own in zip(texts, marks, strict=True)] if any(marks) else texts


def _text(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.6g}" if isinstance(value, float) else f"{value}"


def _number(text):
    if (text := text.strip()) == "-":
        return True
    text = text.rstrip("*?+- ")  # marks of a footnote
    try:
        float(UNIT.sub("", text).replace(",", ""))
    except ValueError:
        return False
    return True


def records(rows, form, summary=None, names=None):
    """Print a list of dicts as CSV, or as JSON (inside `summary` where there is one)."""
    from ..results import files

    if form == "json":
        click.echo(files.to_json({**summary, "rows": rows} if summary else rows))
        return
    names = names or list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: int(v) if isinstance(v, bool) else v for k, v in row.items()} for row in rows)


def rows_over(ds, dim):
    """The variables over one dim alone, its coordinate first, as a list of dicts; None for NaN."""
    from ..results import files

    columns = {name: x.values for name, x in {**ds.coords, **ds.data_vars}.items() if x.dims == (dim,)}
    return files.records({name: columns[name] for name in sorted(columns, key=lambda name: name != dim)})
