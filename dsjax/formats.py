"""Numbers as a reader writes them: units, digits, labels."""

import math
import re

from .specs.variables import COUNTS, VARIABLES
from .units import PREFIXES

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
    **{name: (name, 1.0, ",.10g") for name in COUNTS},
}


PREFIXED = ("B/s", "FLOP/s", "B", "s", "Hz")  # units that take a prefix
UNIT = re.compile(rf" [kMGTPmun]?({'|'.join(PREFIXED)})$")


def shown(name, value):
    """A variable's value as a table shows it: "-" where it is unknown."""
    _, factor, form = _SHOWN.get(name, (name, 1.0, ""))
    if math.isnan(value):
        return "-"
    return format(factor * value, form) if form else significant(factor * value)


def scaled(name, values):
    """A variable's values, an array, in the unit of its heading."""
    factor = _SHOWN.get(name, (name, 1.0, ""))[1]
    return values if factor == 1.0 else factor * values


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
    if isinstance(value, str | bool):
        return str(value)
    if units in PREFIXED:
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


def quantity(value, units, digits=6):
    """A number as people write it: 12.5 GB/s, 3.2 us; "-" where it is unknown. `digits`: of one with a prefix."""
    if not math.isfinite(value):
        return "-"
    if units not in PREFIXED:
        number = f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:,.6g}"
        return number + ("" if units == "1" else f" {units}")
    factor, prefix = next((x for x in PREFIXES if abs(value) >= x[0] * (1.0 - 1e-12)), PREFIXES[-1])
    return f"{value / (factor if value else 1.0):,.{digits}g} {prefix if value else ''}{units}"


def memory(n_bytes):
    """Bytes of a memory as data sheets have it, and as logs of engines do: 85.02 GB (79.18 GiB)."""
    return f"{n_bytes / 1e9:,.2f} GB ({n_bytes / 2**30:,.2f} GiB)"


def rounded(value):
    """A number in a sentence: four digits, all of them beyond a thousand: 4.321, 12,345."""
    return f"{value:,.0f}" if value >= 1000.0 else f"{value:,.{DIGITS}g}"


def milliseconds(seconds):
    """Seconds in a sentence: 34.57 ms."""
    return f"{rounded(1e3 * seconds)} ms"
