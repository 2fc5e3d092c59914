"""Plain-text tables for a terminal."""

import math

from .variables import VARIABLES

# variable -> (heading, factor, format); others print with four significant digits in SI
_SHOWN = {
    "step_time": ("step ms", 1e3, ".4g"),
    "tpot": ("TPOT ms", 1e3, ".4g"),
    "ttft": ("TTFT s", 1.0, ".4g"),
    "tps_per_user": ("tok/s/user", 1.0, ".2f"),
    "tps_per_chip": ("tok/s/chip", 1.0, ",.1f"),
    "tps_total": ("tok/s total", 1.0, ",.0f"),
    "memory_per_chip": ("GB/chip", 1e-9, ".1f"),
    "mfu": ("MFU %", 100.0, ".1f"),
    "mbu": ("MBU %", 100.0, ".1f"),
    "cost_per_million_tokens": ("USD/Mtok", 1.0, ".3f"),
    "energy_per_token": ("J/token", 1.0, ".3f"),
}


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


def shown(name, value):
    """A variable's value as a table shows it: "-" where it is unknown."""
    _, factor, form = _SHOWN.get(name, (name, 1.0, ".4g"))
    return "-" if math.isnan(value) else format(factor * value, form)


def heading(name):
    """A variable's heading in a table."""
    if name in _SHOWN:
        return _SHOWN[name][0]
    units = VARIABLES.get(name, ("1",))[0]
    return name if units == "1" else f"{name} {units}"


def _text(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.6g}" if isinstance(value, float) else f"{value}"


def _number(text):
    if text == "-":
        return True
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True
