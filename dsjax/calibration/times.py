"""The column of the time in a measurement file, and its unit."""

from ..errors import InputError, unknown
from ..options import option

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_TIMES = ("latency", "time", "avg_t", "mean", "derived", "transmit", "")
_PAIR = ("up_proj_us", "down_proj_us")


def columns(path, header, kind, time, sizes):
    """[(column, factor to seconds)]: two for the pair of a grouped GEMM, else one. `sizes`: columns that are none."""
    if time:
        (column, _, unit), given = time.partition("="), option("time", time)
        unit = unit or column.rpartition("_")[2]
        if column not in header:
            raise unknown(f"{path}: {given}", "column", column, header)
        if column in sizes:
            raise InputError(f"{path}: {given}: column {column} is a size of {kind}; expected a column of times")
        if unit not in _UNITS:
            raise unknown(f"{path}: {given}", "unit", unit, _UNITS)
        return [(column, _UNITS[unit])]
    if kind == "grouped-gemm" and set(_PAIR) <= set(header):
        return [(name, _UNITS["us"]) for name in _PAIR]
    # An exchange's own columns come before what is said of both directions.
    prefixes = ("dispatch_", "combine_")
    own = [name for name in header if name.startswith(f"{kind}_") and f"{kind}_" in prefixes]
    found = [
        (name, _UNITS[unit])
        for name in own or [name for name in header if not name.startswith(prefixes)]
        for what, unit in [_split(name.removeprefix(f"{kind}_"))]
        if what in _TIMES
    ]
    if len(found) != 1:
        names = ", ".join(name for name, _ in found) or f"none of {', '.join(header)}"
        bare = next((name for name in _TIMES if name and name in header), "COLUMN")
        unit, whose = ("ms", ", the unit of aiconfigurator's tables") if bare == "latency" else ("us", "")
        wanted = f"one with its unit, like latency_us, or {option('time', f'{bare}={unit}')}{whose}"
        raise InputError(f"{path}: column of the time: {names}; expected {wanted}")
    return found


def _split(name):
    """ "latency_us" -> ("latency", "us"), "us_derived" -> ("derived", "us"); (None, None) for what is no time."""
    parts = name.split("_")
    if parts[-1] in _UNITS:
        return "_".join(parts[:-1]), parts[-1]
    return ("_".join(parts[1:]), parts[0]) if parts[0] in _UNITS else (None, None)
