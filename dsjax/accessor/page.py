"""An answer in a notebook: a table, and the words of the command line below it."""

import html as escaping
import math
import numbers

from ..formats import significant
from .tables import table
from .words import heads, words

ROWS = 20  # of a table that are shown


def html(ds):
    """HTML of an answer: title, limits, the first rows of its table, and all in words, folded."""
    frame = table(ds)
    lines = [f"<div>{escaping.escape(line)}</div>" for line in heads(ds) if line]
    shown = frame.head(ROWS).map(_cell)
    lines.append(shown.to_html(border=0, justify="right", classes="dsjax"))
    if len(frame) > ROWS:
        lines.append(f"<div>{len(frame) - ROWS:,} more rows: .dsjax.table()</div>")
    lines.append(f"<details><summary>In words</summary><pre>{escaping.escape(words(ds))}</pre></details>")
    return f"<div>{''.join(lines)}</div>"


def _cell(x):
    """A number with its significant digits, whole ones as they are; "-" of what is unknown."""
    if isinstance(x, bool) or not isinstance(x, numbers.Real):
        return x
    x = float(x)
    if math.isnan(x):
        return "-"
    return f"{x:,.0f}" if x.is_integer() and abs(x) < 1e9 else significant(x)
