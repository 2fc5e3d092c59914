"""Numbers as a catalog or a command line writes them -> SI floats."""

import math
import re
from fractions import Fraction

from .errors import InputError

_PREFIX = {"": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
PREFIXES = tuple(sorted(((factor, prefix) for prefix, factor in _PREFIX.items()), reverse=True))  # decimal ones
_PREFIX |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
# unit as written -> (unit of the field, factor)
_UNITS = {u: (u, 1.0) for u in ("B/s", "B", "FLOP/s", "Hz", "s", "token", "sequence", "1", "W", "USD/h", "1/s")}
_UNITS |= {u: (u, 1.0) for u in ("token/s", "USD", "J")}  # of limits
_UNITS |= {
    "bit/s": ("B/s", 0.125),
    "OP/s": ("FLOP/s", 1.0),
    "FLOPS": ("FLOP/s", 1.0),
    "OPS": ("FLOP/s", 1.0),
    "%": ("1", 0.01),
}
_QUANTITY = re.compile(r"\s*([-+0-9.eE_/]+)\s*([A-Za-z%/0-9]*)\s*")


def pattern(units):
    """Regular expression of the texts that mean a number in `units`: an amount, a prefix and a unit, or none."""
    names = "|".join(name.replace("/", "\\/") for name, (of, _) in _UNITS.items() if of == units)
    prefixes = "".join(x for x in _PREFIX if len(x) == 1), "".join(x[0] for x in _PREFIX if len(x) == 2)
    return r"^\s*[-+]?[0-9.][-+0-9.eE_\/]*\s*" + rf"(([{prefixes[0]}]|[{prefixes[1]}]i)?({names}))?\s*$"


def domain(units, *, low=0.0, open_low=True, high=None, integer=False):
    """Which numbers are good: their unit; from `low`, itself left out where `open_low`, to `high`; whole ones only."""
    return {"units": units, "low": low, "open_low": open_low, "high": high, "integer": integer}


def number(where, value, meta):
    """`value` (a number, or text like "3.3 TiB/s", "1233/1979", "0.5 us") as a finite SI number in a `domain`.

    `meta` is a domain, as the metadata of a field is one. Raises InputError, prefixed with `where`.
    """
    si = _parse(where, value, meta["units"])
    low, high = meta["low"], meta["high"]
    if si and math.isfinite(si) and not 1e-30 <= abs(si) <= 1e30:
        raise InputError(f"{where}: {value!r} is beyond 1e-30 .. 1e30; expected {expected(meta)}")
    if not math.isfinite(si):
        raise InputError(f"{where}: {value!r} is not finite; expected {expected(meta)}")
    if si == 0.0 and meta.get("or_zero"):
        return si
    if si < low or (meta["open_low"] and si == low) or (high is not None and si > high):
        raise InputError(f"{where}: {value!r} is out of range; expected {expected(meta)}")
    if meta["integer"]:
        if si != int(si):
            raise InputError(f"{where}: {value!r} is not an integer; expected {expected(meta)}")
        if si > 2**31 - 1:
            raise InputError(f"{where}: {value!r} is too large; expected {expected(meta)}, at most {2**31 - 1}")
        return int(si)
    return si


def expected(meta):
    """The domain of a field in words: "a positive number [B/s]"."""
    kind = "an integer" if meta["integer"] else "a number"
    low, high = meta["low"], meta["high"]
    if math.isinf(low):
        bounds = ""
    elif high is not None:
        bounds = f" {'above' if meta['open_low'] else 'from'} {low:g} to {high:.10g}"
    else:
        bounds = f" {'above' if meta['open_low'] else 'of at least'} {low:g}"
    bounds += ", or 0" if meta.get("or_zero") else ""
    units = "" if meta["units"] == "1" else f" [{meta['units']}]"
    return kind + bounds + units


def _parse(where, value, units):
    wanted = f"expected a number [{units}]"
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # a NumPy scalar
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InputError(f"{where}: {value!r} is a {type(value).__name__}; {wanted}")
    try:
        match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
        if not match:
            return float(value)  # "nan", "inf": refused by the caller with its own words
        amount, unit = match.groups()
        amount = float(Fraction(amount)) if "/" in amount else float(amount)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise InputError(f"{where}: {_short(value)} is not a number; {wanted}") from None
    if not unit:
        return amount
    for name, (of, factor) in _UNITS.items():
        if of == units and unit.endswith(name) and unit[: -len(name)] in _PREFIX:
            return amount * factor * _PREFIX[unit[: -len(name)]]
    raise InputError(f"{where}: {value!r} has the unit {unit!r}; {wanted}")


def _short(value):
    text = repr(value) if isinstance(value, str) else str(value)[:40]
    return text if len(text) <= 40 else f"{text[:37]}..."
