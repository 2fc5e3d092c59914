"""What a picture has along a side: an axis of the results, or a continuous number behind them, by the same names."""

import dataclasses
import math

import numpy as np

from ..errors import InputError, unknown
from ..options import entry
from ..results.handle import Results
from ..space.parameters import chosen, resolve
from ..sweeps import sweep
from ..units import number

RANGE = 10.0  # how far to both sides of its present value a number is moved
STEPS = 11  # values of a number that a map has an axis of


def of(space, name, what, between=None):
    """(axis, None) of an axis of the space, (name, `Input`) of another number; `between`: its range, or None."""
    axis = str(name).replace(".", "_")
    if axis in space.axes:
        if between is not None:
            raise InputError(f"from, to: {name} is an axis with values of its own; expected no range")
        return axis, None
    if "." not in str(name) and name not in space.fixed:
        raise unknown(what, "axis", name, [*space.axes, "a parameter like nic.scale_out_bytes_per_s"])
    return name, resolve(what, name, space)


def values(varied, what, between, count):
    """Values of a number, geometrically; without a range a factor RANGE to both sides of its present value."""
    if between is None:
        present = [value for value in varied.values.values() if value > 0.0]
        if not present:
            raise InputError(f"{what}: {varied.name} is 0 now; expected a range: from, to")
        low, high = min(present) / RANGE, max(present) * RANGE
        low, high = max(low, varied.meta["low"]), min(high, varied.meta["high"] or math.inf)
    else:
        low, high = (number(f"{side}: {varied.name}", v, varied.meta) for side, v in zip(("from", "to"), between))
    if not 0.0 < low < high:
        raise InputError(f"from, to: {low:g}, {high:g}; expected 0 < from < to [{varied.units}]")
    return [low, *np.geomspace(low, high, count)[1:-1].tolist(), high]


def widened(results, sides, at, between):
    """(results, axes): those with an axis for every number of `sides` {"x": name, ...}, the axes that are meant.

    The space is evaluated again, over the values `at` chooses alone. An axis is one number for all rows in use.
    """
    space, axes, added = results.space, {}, {}
    for what, name in sides.items():
        axes[what], varied = (None, None) if name is None else of(space, name, what)
        if varied is not None:
            added[what], axes[what] = varied, varied.parameter.axis
            _check_rows(space, varied, what)
    if between is not None and len(added) != 1:
        raise InputError(f"from, to: {len(added)} parameters along the sides; expected one, or axes with values")
    if not added:
        return results, axes
    ranges = {x.parameter.axis: tuple(values(x, what, between, STEPS)) for what, x in added.items()}
    kept = results.at(chosen(space, at)) if isinstance(at, dict) else results
    fixed = {name: value for name, value in space.fixed.items() if name not in ranges}
    wide = dataclasses.replace(kept.space, fixed=fixed).with_axes(kept.space.axes | ranges)
    there = kept.there if kept.there is None else kept.there.reshape(kept.there.shape + (1,) * len(ranges))
    there = there if there is None else np.broadcast_to(there, tuple(wide.sizes.values()))
    return Results(sweep.of_space(wide, results.dtype, blocks=False), wide).limited(there), axes


def _check_rows(space, varied, what):
    """Refuse a number of one row among several: an axis is of all of them."""
    record, _, row = varied.parameter
    others = [name for name in space.rows.get(record, {}) if name != row]
    if row and others:
        raise InputError(
            f"{what}: {varied.name}: {record} {', '.join(others[:3])} in use beside {row}; expected "
            f"{varied.parameter.of_all_rows}, which moves all, or {entry('fixed', record, row)}"
        )
