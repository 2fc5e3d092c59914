"""Read [constraints] of a grid: bounds of variables, limits by prompt length, `slo_margin`."""

import contextlib
import itertools
import math

from ..errors import InputError, unknown
from ..formats import quantity
from ..specs.fields import fields_of
from ..specs.variables import VARIABLES
from ..units import domain, number
from .space import auxiliary, numeric_axes

MARGIN = "slo_margin"
MARGIN_META = domain("1", open_low=False) | {"doc": "share that limits of what users feel are tightened by"}


def read(section, where, known, given, faults=None):
    """{"min_<variable>" | "max_<variable>": number} of a grid's [constraints], tightened by its `slo_margin`.

    `max_ttft` may be a table {prompt length: limit}: pairs (up to this length, limit), or one number where the length
    is fixed. Nothing at least (`min_tps_per_user = 0`) is no limit. `where(section, key)` names a key in errors,
    `known` {variable: units} can be bounded, `given` are the grid's axes and fixed values. `faults`: an
    `errors.Faults` that keeps what is wrong with each.
    """
    bounds = {}
    for key, bound in section.items():
        if key != MARGIN:
            with faults.caught() if faults is not None else contextlib.nullcontext():
                bounds[key] = _bound(where("constraints", key), key, bound, known, given)
    share = margin(section, where)
    if MARGIN in section and not felt(share).keys() & bounds.keys():
        place = where("constraints", MARGIN)
        raise InputError(f"{place}: {section[MARGIN]!r}; expected it beside one of {', '.join(felt(share))}")
    bounds = {key: bound for key, bound in bounds.items() if bound != 0.0 or not key.startswith("min_")}
    return tightened(bounds, share)


def _bound(place, key, bound, known, given):
    side, _, name = key.partition("_")
    if side not in ("min", "max") or name not in known:
        raise unknown(place, "constraint", key, [*(f"{s}_{n}" for n in known for s in ("min", "max")), MARGIN])
    meta = domain(known[name], low=-math.inf)
    if key == "max_ttft" and isinstance(bound, dict) and bound:
        return _by_length(place, bound, meta, given)
    return number(place, bound, meta)


def margin(section, where):
    """`slo_margin` of a grid's [constraints]; 0 where there is none."""
    return number(where("constraints", MARGIN), section[MARGIN], MARGIN_META) if MARGIN in section else 0.0


def _by_length(place, limits, meta, given):
    pairs = []
    for length, limit in limits.items():
        try:
            tokens = float(length)
        except (TypeError, ValueError):
            raise InputError(f"{place}: {length!r}; expected prompt lengths in tokens, {{ 4096 = 3 }}") from None
        where = f"{place} {length}"
        pairs.append((number(where, tokens, domain("token")), number(where, limit, meta | {"low": 0.0})))
    pairs.sort()
    for (shorter, low), (longer, high) in itertools.pairwise(pairs):
        if shorter == longer:
            raise InputError(f"{place}: {longer:g} tokens are there twice; expected distinct lengths")
        if low > high:
            raise InputError(
                f"{place}: {low:g} s up to {shorter:g} tokens, {high:g} s up to {longer:g}; expected no fall"
            )
    fixed = given.get("isl", given.get("context"))
    if isinstance(fixed, int | float):
        return next((limit for longest, limit in pairs if fixed <= longest), pairs[-1][1])
    return tuple(pairs)


def felt(margin):
    """{bound of what users feel: its factor under a margin m}: a least rate x (1 + m), a longest time / (1 + m)."""
    return {"min_tps_per_user": 1.0 + margin, "max_tpot": 1.0 / (1.0 + margin), "max_ttft": 1.0 / (1.0 + margin)}


def tightened(bounds, margin):
    """`bounds` with the `margin` on rates and times that users feel, as `felt` has it."""
    factors, tighter = felt(margin), {}
    for key, bound in bounds.items():
        scale = factors.get(key, 1.0)
        pairs = isinstance(bound, tuple)
        tighter[key] = tuple((length, limit * scale) for length, limit in bound) if pairs else bound * scale
    return tighter


def words(space):
    """The limits in force in a space as one line: "limits: tps_per_user at least 20 token/s"."""
    sides = {"min": "at least", "max": "at most"}
    said = []
    for key, bound in space.bounds.items():
        side, _, name = key.partition("_")
        units, factor = _units(space.study, name), felt(space.margin).get(key, 1.0)
        pairs = [(f" up to {longest:,.0f} tokens", limit) for longest, limit in bound] if _by_lengths(bound) else []
        texts = [quantity(limit, units) + length for length, limit in pairs or [("", bound)]]
        own = f" ({MARGIN} {space.margin:.3g} counted in)" if factor != 1.0 else ""
        least = space.bounds.get(f"min_{name}") if side == "max" else None
        if least is not None and not pairs and not _by_lengths(least) and least > bound:
            own += " (no value is both)"
        said.append(f"{name} {sides[side]} {', '.join(texts)}{own}")
    return f"limits: {'; '.join(said) or 'none'}"


def _by_lengths(bound):
    return isinstance(bound, list | tuple)


def _units(study, name):
    """Unit of what a limit may be on."""
    if name in VARIABLES:
        return VARIABLES[name][0]
    if meta := numeric_axes(study).get(name):
        return meta["units"]
    rows = {
        auxiliary(record, f): m["units"] for record, cls in study.records.items() for f, m in fields_of(cls).items()
    }
    return rows.get(name, "1")
