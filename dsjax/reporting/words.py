"""Numbers, names and configurations as a report writes them."""

import math

import numpy as np

from ..formats import PREFIXED, label, quantity, shown
from ..pages.parts import Cell
from ..space.space import numeric_axes
from ..specs.variables import COUNTS, LIMITS, VARIABLES, WORDED

SHARES = tuple(
    n for n, (units, _) in VARIABLES.items() if units == "1" and n not in (*COUNTS, *WORDED, "balanced_ratio")
)
NOTHING = float("-inf")  # what sorts before every number
ABOUT = {"fitted": "measured on this chip", "sibling": "measured on a sibling of the chip", "assumed": "not measured"}


def amount(name, value, digits=4):
    """A variable's value with its unit; shares in per cent."""
    value = float(value)
    if name in WORDED:
        return WORDED[name][int(value)].replace("_", " ")
    if name in SHARES:
        return f"{100.0 * value:,.1f} %" if math.isfinite(value) else "-"
    units = VARIABLES.get(name, ("1",))[0]
    if units in ("B", "s", "1"):
        return quantity(value, units, digits)
    return f"{value:,.{digits}g} {units}" if abs(value) < 10**digits else f"{value:,.0f} {units}"


def cell(name, value):
    """A variable's value as a cell of a column that says the unit; it sorts by the number."""
    value = float(value)
    if name in WORDED:
        return Cell(amount(name, value))
    return Cell(shown(name, value), value) if math.isfinite(value) else Cell("-", NOTHING)


def heading(name):
    """What a variable is, in few words."""
    return (
        VARIABLES[name][1].partition(":")[0].replace(" (TPOT)", "").replace(" (TTFT)", "")
        if name in VARIABLES
        else name
    )


def scalar(ds, name):
    """A variable of one point as a number; NaN where it is missing."""
    return float(ds[name]) if name in ds.variables and ds[name].ndim == 0 else math.nan


def configuration(space, ds):
    """The configuration of one point as text: what varies in the space."""
    axes = [axis for axis, n in space.sizes.items() if n > 1] or list(space.axes)
    return ", ".join(_named(axis, ds[axis].item(), ds[axis].attrs.get("units", "1")) for axis in axes)


def _named(axis, value, units):
    return value if isinstance(value, str) and "_" not in axis else f"{axis} {label(value, units)}"


def values(space, axis, units="1"):
    """The values of an axis as text, the middle ones of many left out."""
    of = space.axes[axis]
    texts = [label(of[i], units) for i in (range(len(of)) if len(of) <= 12 else (0, 1, 2, -2, -1))]
    return ", ".join(texts) if len(of) <= 12 else f"{', '.join(texts[:3])}, ..., {', '.join(texts[3:])}"


def fixed(space, name):
    """A fixed value of a space as text, with its unit where it takes a prefix."""
    value, units = space.fixed[name], numeric_axes(space.study).get(name, {}).get("units", "1")
    if isinstance(value, str) or units in PREFIXED:
        return label(value, units)
    return f"{value:,.10g}"


def sure(ds):
    """[(what of, relative standard error of a kernel's time, what that rests on)] of one point, for each pool."""
    found = []
    for prefix in ("", "prefill_", "decode_"):
        if f"{prefix}curve_uncertainty" in ds.coords:
            basis = str(ds[f"{prefix}curve_basis"].item())
            chip = str(ds[f"{prefix}hardware"].item())
            found.append((chip, float(ds[f"{prefix}curve_uncertainty"]), ABOUT[basis]))
    return list(dict.fromkeys(found))


def bottleneck(ds):
    """(resource with most of the critical path, its share)."""
    limit = LIMITS[int(ds["bottleneck"])]
    return limit, scalar(ds, f"exposed_{limit}") / scalar(ds, "step_time")


def columns(ranked, names):
    """Columns of cells of points over rank: axes and variables."""
    n, found = ranked.sizes["rank"], []
    for name in names:
        of = np.broadcast_to(ranked[name].values, n).tolist()
        if name in VARIABLES or name in WORDED:
            found.append([cell(name, v) for v in of])
        else:
            units = ranked[name].attrs.get("units", "1")
            found.append([Cell(v) if isinstance(v, str) else Cell(label(v, units), float(v)) for v in of])
    return found
