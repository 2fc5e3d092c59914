"""Rows as plain-text tables for a terminal, as CSV and as JSON."""

import csv
import dataclasses
import io

import click

from ..formats import UNIT
from . import output

PROSE = 24  # columns below which a column of sentences is not folded while another column can be left out
WORD = 8  # and below which no text is


@dataclasses.dataclass
class Table:
    """A table that fits its terminal: constants in a line above it, what is too much named in a line below.

    Where lines may have any length, or with --wide, it has all columns. Else columns `constant` (indices) whose value
    is the same in all rows are said once; where the others are too wide, any column that is the same in all rows is,
    headings and sentences are folded, and the least important columns are left out, in the order of `least` (indices,
    the least important first; the others from the right). The first `kept` columns are never left out.
    """

    columns: list  # headings
    rows: list  # sequences of texts and numbers
    indent: str = "  "
    constant: tuple = ()
    least: tuple = ()
    kept: int = 2
    best: tuple = ()  # rows in the accent's colour
    refused: tuple = ()  # rows in the colour of refusals

    def __str__(self):
        return "\n".join(text for text, _ in self.styled(output.width()))

    def styled(self, columns):
        """Lines of at most so many columns (None: of any length), as pairs (text, colour or None)."""
        cells = [[output.safe(c if isinstance(c, str) else _text(c), lines=False) for c in row] for row in self.rows]
        heads = [output.safe(heading, lines=False) for heading in self.columns]
        whole = range(len(heads))
        right = [_numbers([row[i] for row in self.rows]) for i in whole]
        if columns is None or output.wide():
            return self._lines(heads, cells, right, whole, [max(_widths(heads, cells, i)) for i in whole])
        room = columns - output.cells(self.indent)
        kept, said = list(whole), []
        if len(cells) > 1:
            kept, said = self._without_constants(heads, cells, self.constant, kept, said)
            if _over([max(_widths(heads, cells, i)) for i in kept], room) > 0:
                kept, said = self._without_constants(heads, cells, whole, kept, said)
        left, widths = [], _fitted(heads, cells, right, kept, room)
        for i in [*self.least, *(i for i in reversed(whole) if i not in self.least)]:
            if widths is None and i in kept and i >= self.kept and heads[i]:
                kept.remove(i)
                left.append(i)
                widths = _fitted(heads, cells, right, kept, room)
        if widths is None:
            widths = _squeezed(heads, cells, kept, room)
        lines = []
        if said:
            given = [i for i in sorted(said) if cells[0][i].strip() not in ("", "-")]
            lacking = [heads[i] for i in sorted(said) if i not in given]
            texts = ["all: " + ", ".join(f"{heads[i]} {cells[0][i].strip()}" for i in given)] if given else []
            texts += [f"without {', '.join(lacking)}"] if lacking else []
            lines += output.folded(f"{self.indent}{'; '.join(texts)}", columns).split("\n")
        lines = [(line, None) for line in lines] + self._lines(heads, cells, right, kept, widths)
        if left:
            names = ", ".join(heads[i] for i in sorted(left))
            text = output.folded(f"{self.indent}left out at this width: {names}; --wide shows them", columns)
            lines += [(line, None) for line in text.split("\n")]
        return lines

    def _without_constants(self, heads, cells, of, kept, said):
        """(columns kept, columns said once) where those `of` these that are the same in all rows are said once."""
        same = [i for i in of if i in kept and i and heads[i] and len({row[i].strip() for row in cells}) == 1]
        return [i for i in kept if i not in same], [*said, *same]

    def _lines(self, heads, cells, right, kept, widths):
        def row(texts, top=False):
            broken = _heading if top else output.wrapped
            parts = [broken(text.rstrip() if over else text, w) for text, w, over in texts]
            height = max(map(len, parts))
            parts = [[""] * (height - len(p)) + p if top else p + [""] * (height - len(p)) for p in parts]
            for texts in zip(*parts, strict=True):
                filled = map(output.filled, texts, widths, (right[i] for i in kept))
                yield (self.indent + "  ".join(filled)).rstrip()

        def of(texts):
            return [(texts[i], w, output.cells(texts[i]) > w) for i, w in zip(kept, widths, strict=True)]

        lines = [(line, None) for line in row(of(heads), top=True)]
        lines += [((self.indent + "  ".join("-" * w for w in widths)).rstrip(), None)]
        for i, texts in enumerate(cells):
            colour = output.ACCENT if i in self.best else output.REFUSED if i in self.refused else None
            lines += [(line, colour) for line in row(of(texts))]
        return lines


def table(columns, rows, indent="  ", **how):
    """Aligned text: `columns` are headings, `rows` sequences of texts and numbers; numbers are set right.

    `how`: more of what a `Table` takes, which `output.echo` prints in colours, too.
    """
    return str(Table(columns, rows, indent, **how))


def _parts(heading):
    """What of a heading may stand on a line of its own: tok/s/ and user."""
    for word in heading.split():
        before, slash, last = word.rpartition("/")
        yield from (f"{' ' * (i == 0)}{part}" for i, part in enumerate(filter(None, (before + slash, last))))


def _heading(text, columns):
    """A heading as lines of at most so many columns where its parts allow it."""
    lines = [""]
    for part in _parts(text):
        if lines[-1] and output.cells(lines[-1] + part) > columns:
            lines.append("")
        lines[-1] += part if lines[-1] else part.lstrip()
    return lines


def _widths(heads, cells, i):
    """Columns of the terminal of the heading of a column, and of each of its cells."""
    return [output.cells(heads[i]), *(output.cells(row[i]) for row in cells)]


def _fitted(heads, cells, right, kept, room):
    """Widths of columns that fit, headings and sentences folded where they must be; None where they do not fit."""
    widths = [max(_widths(heads, cells, i)) for i in kept]
    if _over(widths, room) <= 0:
        return widths
    words = [max([1, *(output.cells(part.strip()) for part in _parts(heads[i]))]) for i in kept]
    bodies = [max(w, *_widths(heads, cells, i)[1:], 1) for w, i in zip(words, kept, strict=True)]
    prose = [n for n, i in enumerate(kept) if not right[i] and any(" " in row[i].strip() for row in cells)]
    for n in sorted(range(len(kept)), key=lambda n: bodies[n] - widths[n]):  # headings, those that gain most first
        widths[n] = max(bodies[n], widths[n] - max(_over(widths, room), 0))
    _shrink(widths, prose, [max(PROSE, w) for w in words], room)
    return widths if _over(widths, room) <= 0 else None


def _squeezed(heads, cells, kept, room):
    """Widths of columns that can not be left out, all of them folded, numbers least."""
    widths = [max(_widths(heads, cells, i)) for i in kept]
    _shrink(widths, range(len(kept)), [WORD] * len(kept), room)
    _shrink(widths, range(len(kept)), [1] * len(kept), room)
    return widths


def _over(widths, room):
    return sum(widths) + 2 * (len(widths) - 1) - room


def _shrink(widths, of, least, room):
    """Take columns of the terminal from the widest column `of` these, one by one, down to the `least` of each."""
    while _over(widths, room) > 0 and (wider := [n for n in of if widths[n] > least[n]]):
        widths[max(wider, key=widths.__getitem__)] -= 1


def marked(texts, marks, mark="*"):
    """Cells of a column with the mark of a footnote behind some of them, the others as wide."""
    return [text + (mark if own else " ") for text, own in zip(texts, marks, strict=True)] if any(marks) else texts


def _text(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.6g}" if isinstance(value, float) else f"{value}"


def _numbers(values):
    """Whether a column is one of numbers, some of which may be missing."""
    given = [value for value in values if value != ""]
    return bool(given) and all(not isinstance(value, str) or _number(value) for value in given)


def _number(text):
    text = text.strip().rstrip("*?~+- ")  # marks of a footnote
    if not text:
        return True
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
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: int(v) if isinstance(v, bool) else v for k, v in row.items()} for row in rows)
    output.raw(text.getvalue())


def rows_over(ds, dim):
    """The variables over one dim alone, its coordinate first, as a list of dicts; None for NaN."""
    from ..results import files

    columns = {name: x.values for name, x in {**ds.coords, **ds.data_vars}.items() if x.dims == (dim,)}
    return files.records({name: columns[name] for name in sorted(columns, key=lambda name: name != dim)})
