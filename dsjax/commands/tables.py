"""Plain-text tables for a terminal."""

import math
import re

from ..specs.variables import VARIABLES

DIGITS = 4  # significant ones of a number without a format of its own
# variable -> (heading, factor, format); others print with DIGITS significant digits in SI
_SHOWN = {
    "step_time": ("step ms", 1e3, ""),
    "tpot": ("TPOT ms", 1e3, ""),
    "ttft": ("TTFT s", 1.0, ""),
    "tps_per_user": ("tok/s/user", 1.0, ".2f"),
    "tps_per_chip": ("tok/s/chip", 1.0, ",.1f"),
    "tps_total": ("tok/s total", 1.0, ",.0f"),
    "memory_per_chip": ("GB/chip", 1e-9, ".1f"),
    "mfu": ("MFU %", 100.0, ".1f"),
    "mbu": ("MBU %", 100.0, ".1f"),
    "cost_per_million_tokens": ("USD/Mtok", 1.0, ".3f"),
    "energy_per_token": ("J/token", 1.0, ".3f"),
    **{name: (name, 1.0, ",.10g") for name in ("chips", "dp", "ep", "batch_total")},  # counts
}


_UNIT = re.compile(r" [kMGTPmun]?(B|B/s|FLOP/s|s|Hz)$")


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
    _, factor, form = _SHOWN.get(name, (name, 1.0, ""))
    if math.isnan(value):
        return "-"
    return format(factor * value, form) if form else significant(factor * value)


def significant(value, digits=DIGITS):
    """A number with so many significant digits, zeros at the end kept, so that a column has one form: 39.50 ms."""
    if not math.isfinite(value) or not value:
        return f"{value:g}"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # after rounding: 9.9999 is 10.00
    if not -4 <= exponent < 9:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def label(value, units="1"):
    """A value of an axis as a reader writes it: H800, 2048, 100 GB/s, 1e+11."""
    from ..space.parameters import quantity

    if isinstance(value, str | bool):
        return str(value)
    if units in ("B/s", "FLOP/s", "B", "s", "Hz"):
        return quantity(float(value), units)
    value = float(value)
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.6g}"


def axis_label(point, axis):
    """The value of an axis at a point of results, with its unit where it is a quantity."""
    return label(point[axis].item(), point[axis].attrs.get("units", "1"))


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
        float(_UNIT.sub("", text).replace(",", ""))
    except ValueError:
        return False
    return True
