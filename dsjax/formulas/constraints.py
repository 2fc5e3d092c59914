"""Constraints: a named predicate each, and so one mask each, which says why a point is refused."""

import functools
import operator
from collections.abc import Callable
from typing import NamedTuple

from .. import arrays
from ..formats import memory


class Constraint(NamedTuple):
    """A predicate, and the sentence that says why it refuses a point."""

    name: str
    holds: Callable  # of what its model gives it -> bool
    says: Callable  # {name as in a grid: number} of a refused point -> sentence


def masks(constraints, case):
    """{constraint: whether it holds} of one case."""
    return {constraint.name: constraint.holds(case) for constraint in constraints}


def divides(name, parts, *sizes):
    """Sentence: the first of (size, what it is) that `parts` does not divide."""
    for size, what in sizes:
        if size % parts:
            return f"{name} = {parts:g} does not divide the {size:,.0f} {what}"
    return f"{name} = {parts:g} does not divide the model"


def _says_memory(v):
    capacity, reserve = v["hardware_hbm_bytes"], v.get("memory_reserve", 0.0)
    kept = f", of which {reserve:.0%} are kept free" if reserve else ""
    return f"{memory(v['memory_per_chip'])} do not fit into the {memory(capacity)} of a chip{kept}"


# Of every model that has no rule of its own: (memory of one chip, capacity) -> bool.
MEMORY = Constraint("memory", lambda case: case[0] <= case[1], _says_memory)


def prompt_length(values):
    """Tokens of a prompt: `isl` where it is given, else `context`."""
    return values["context"] if values["isl"] is None else values["isl"]


def at_length(bound, length):
    """A bound at a prompt length: a number; or of pairs (up to this length, number) the first that covers it.

    Beyond the longest length its number holds.
    """
    if not isinstance(bound, list | tuple):
        return bound
    *shorter, (_, limit) = bound
    for longest, number in reversed(shorter):
        limit = arrays.where(length <= longest, number, limit)
    return limit


def bounded(values, bounds):
    """{variable: mask} of the grid's bounds `min_<variable>` and `max_<variable>`; NaN, an undefined value, passes."""
    found = {}
    for key, bound in bounds.items():
        side, name = key.split("_", 1)
        bound = at_length(bound, prompt_length(values))
        value = arrays.asarray(values[name], bound.dtype)
        ok = ~(value < bound if side == "min" else value > bound)  # so that NaN passes
        found[name] = found[name] & ok if name in found else ok
    return found


def check(point, values, own, bounds):
    """{"ok_<constraint>": bool} and their conjunction `feasible`.

    `own` are the masks of the model (a split that is impossible), `memory` the chip's capacity unless the model has its
    own rule, `bounds` the grid's.
    """
    capacity = MEMORY.holds((values["memory_per_chip"], point.hardware.hbm_bytes))
    found = {"memory": capacity} | own | bounded(values, bounds)
    feasible = functools.reduce(operator.and_, found.values())
    return {**{f"ok_{name}": ok for name, ok in found.items()}, "feasible": feasible}
