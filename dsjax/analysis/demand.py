"""Arguments of `recommend`, a demand, lengths and limits, checked; the grids of its two pools."""

import dataclasses

from ..errors import InputError
from ..space import grid
from ..space.limits import tightened
from ..units import domain, number

# What the question sets itself, and in which unit.
ASKED = {
    "requests_per_s": "1/s",
    "concurrency": "1",
    "isl": "token",
    "osl": "token",
    "min_tps_per_user": "token/s",
    "max_tpot": "s",
    "max_ttft": "s",
}
# The limits of each pool that the question may set instead of the grid's own.
_LIMITS = {"decode": ("min_tps_per_user", "max_tpot"), "prefill": ("max_ttft",)}


def checked(asked):
    """The question as {name: SI number or None}; a demand that is missing, given twice or not positive is an error."""
    given = {name: None if value is None else number(name, value, domain(ASKED[name])) for name, value in asked.items()}
    for pair, both in ((("requests_per_s", "concurrency"), False), (("min_tps_per_user", "max_tpot"), True)):
        n = sum(given[name] is not None for name in pair)
        if n > 1 or (n == 0 and not both):
            raise InputError(f"{' and '.join(pair)}: {'both' if n else 'none'} given; expected one of the two")
    for name in ("isl", "osl"):
        if given[name] is None:
            raise InputError(f"{name}: not given; expected a number [token]")
    return given


def spaces_of(decode, prefill, asked, options):
    """The resolved spaces of both grids, with the lengths and the limits of the question.

    `options` are the changes of `grid.load`; an axis or a fixed value goes to the grid that names it, to both where
    none does.
    """
    asked = checked(asked)
    sources = {"decode": decode, "prefill": prefill}
    named = {phase: _named(phase, source) for phase, source in sources.items()}
    for name in {**(options.get("axes") or {}), **(options.get("fixed") or {})}:
        if name in ("isl", "osl", "phase"):
            raise InputError(f"{name}: is set by the question; expected no axis and no fixed value of this name")
    spaces = []
    for phase, source in sources.items():
        others = set().union(*(names for other, names in named.items() if other != phase)) - named[phase]
        changes = {
            part: {name: value for name, value in (options.get(part) or {}).items() if name not in others}
            for part in ("axes", "fixed")
        }
        changes["fixed"] |= {"isl": asked["isl"], "osl": asked["osl"], "phase": phase}
        space = grid.load(source, **options | changes)
        spaces.append(_limited(space, {key: asked[key] for key in _LIMITS[phase]}))
    return spaces


def _named(phase, source):
    """Names of the axes and of the fixed values of a grid of the core model."""
    data, _, file = grid.read(source)
    if "study" in data:
        raise InputError(f"{file}: study: {data['study']!r}; expected a grid of the core model for {phase}")
    parts = (data.get(part) for part in ("axes", "fixed"))
    return {name for part in parts if isinstance(part, dict) for name in part}


def _limited(space, limits):
    """The space with the given `limits` in place of its bounds on those variables, tightened by its margin."""
    given = {key: limit for key, limit in limits.items() if limit is not None}
    if not given:
        return space
    kept = {key: bound for key, bound in space.bounds.items() if key not in limits}
    return dataclasses.replace(space, bounds=kept | tightened(given, space.margin))
