"""Sentences: why a constraint refuses a point, and what kind of source a number has."""

from ..catalog import reader
from ..formats import memory
from ..formulas import constraints
from ..specs.variables import VARIABLES

_PREFIXED = ("hardware", "nic", "model", "engine")


def numbers(space, values):
    """{name as in a grid: number} of a point: its rows, what is fixed, and its variables."""
    named = {}
    for record, rows in space.rows.items():
        row = rows.get(space.fixed.get(record), {})
        pool, _, kind = record.rpartition("_")  # prefill_hardware: the hardware of a pool
        prefix = f"{record}_" if kind in _PREFIXED else f"{pool}_" if pool else ""
        named |= {f"{prefix}{field}": value for field, value in reader.numbers(row).items()}
    given = space.fixed | {name.removeprefix("precision_"): value for name, value in space.fixed.items()}
    return named | given | {name: value for name, value in values.items() if "/" not in name}


def why(space, values, mask):
    """Why the constraint called `mask` refuses the point; "" where it holds."""
    if values[f"ok_{mask}"]:
        return ""
    v = numbers(space, values)
    if mask in space.study.constraints:
        return space.study.constraints[mask].says(v)
    bounds = [(side, space.bounds[f"{side}_{mask}"]) for side in ("min", "max") if f"{side}_{mask}" in space.bounds]
    for side, bound in bounds:
        bound = constraints.at_length(bound, v["isl"] if v.get("isl") else v["context"])
        if v[mask] < bound if side == "min" else v[mask] > bound:
            beyond = "below" if side == "min" else "above"
            return f"{mask} = {_quantity(mask, v[mask])} is {beyond} {_quantity(mask, float(bound))}"
    raise KeyError(mask)


def _quantity(name, value):
    units = VARIABLES.get(name, ("1",))[0]
    if units == "B":
        return memory(value)
    return f"{value:,.4g}" if units == "1" else f"{value:,.4g} {units}"
