"""Pareto fronts of two variables: the points that no other point beats in one without losing in the other."""

import numpy as np

from ..errors import InputError, unknown
from ..options import option
from ..results.handle import Results
from ..specs.variables import SENSE
from . import ranking

SAMPLE = 4096  # points of a group whose front tells which others are worth sorting
ACROSS = ("tps_per_user", "ttft", "step_time")  # x where nobody names it: the first that a space defines


def check(space, x, y, by=None):
    """(groups, (variable, sign) of x, (variable, sign) of y); a name that the space lacks is an InputError."""
    groups, *_ = ranking.check(space, () if by is None else by)
    x = across(space) if x is None else x
    sides = [_side(space, axis, name) for axis, name in (("x", x), ("y", y))]
    if sides[0][0] == sides[1][0]:
        raise InputError(f"{option('y')}: {sides[1][0]!r} is {option('x')} too; expected two different variables")
    return groups, *sides


def across(space):
    """The variable that a front is of where none is named: prompts alone have a first token, both phases a step."""
    return next(name for name in ACROSS if name in space.defined)


def _side(space, where, text):
    where = option(where)
    name = text[1:] if str(text).startswith(("+", "-")) else text
    if name not in space.defined:
        raise unknown(where, "variable of this space", name, space.defined)
    if name != text:
        return name, -1 if text[0] == "-" else 1
    if name not in SENSE:
        raise InputError(f"{where}: {name!r} is better neither larger nor smaller; expected '+{name}' or '-{name}'")
    return name, SENSE[name]


def of_dataset(ds, x=None, y="tps_per_chip", by=None):
    """`best.pareto` of a Dataset, or of `Results`."""
    results = Results.of(ds)
    by, (x, x_sense), (y, y_sense) = check(results.space, x, y, by)
    flat, at, (u, v) = ranking.candidates(results, (x, y))
    u, v = (sense * a.astype(np.result_type(a, np.float32)) for sense, a in ((x_sense, u), (y_sense, v)))
    chosen, ties = choose(results.ds, results.space, by, at, u, v, x_sense)
    return described(ranking.at_ranks(results, flat[chosen], ties), by, (x, x_sense), (y, y_sense))


def choose(ds, space, by, at, u, v, x_sense):
    """(places of the points on the front, group by group; the number of equals of each), larger u and v better."""
    n = len(u)
    group = ranking.groups(ds, space, by, at, n)
    keys = [ranking.tie_key(ds, key, at, n) for key in space.study.ties]
    tolerance = max(ranking.TOLERANCE.get(str(a.dtype), 0.0) for a in (u, v))
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    chosen, ties = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for members in np.split(order, starts[1:]) if len(order) else []:
        picks, equals = front(u[members], v[members], [key[members] for key in keys], tolerance)
        up = slice(None, None, -x_sense)  # the front goes down from the best x
        chosen.append(members[picks[up]])
        ties.append(equals[up])
    return np.concatenate(chosen), np.concatenate(ties)


def described(result, by, x, y):
    """Ranked points as a front of the variables `x` and `y`, (name, sign) each."""
    (x, x_sense), (y, y_sense) = x, y
    result["rank"].attrs["long_name"] = "place on the front: group by group, x ascending"
    result["ties"].attrs["long_name"] = "points of the group equal to this one in both variables"
    result.attrs |= {"pareto_x": x, "pareto_y": y, "pareto_x_sense": x_sense, "pareto_y_sense": y_sense}
    result.attrs["pareto_by"] = ",".join(by)
    return result


def front(u, v, keys, tolerance):
    """(indices, number of equals) of the front of points (u, v), both better larger, from the largest u down.

    `keys` order equal points, smallest first. Points clearly behind the front of a sample are dropped first.
    """
    sample = slice(None, None, max(1, len(u) // SAMPLE))
    near = np.flatnonzero(near_front(u, v, *exact(u[sample], v[sample]), tolerance))
    near = near[np.argsort(-u[near])]
    front_u, front_v = exact(u[near], v[near])
    near = near[near_front(u[near], v[near], front_u, front_v, tolerance)]
    heads = _heads(front_u, front_v, tolerance)
    places = [_places(-front_u[heads], -u[near], tolerance), _places(front_v[heads], v[near], tolerance)]
    first, last = np.maximum(places[0][0], places[1][0]), np.minimum(places[0][1], places[1][1])
    near, cluster = near[first < last], first[first < last]
    ranked = np.lexsort((near, *(key[near] for key in reversed(keys)), cluster))
    starts = np.flatnonzero(np.diff(cluster[ranked], prepend=-1))
    return near[ranked[starts]], np.diff(starts, append=len(ranked))


def exact(u, v):
    """(u down, v up) of the front: a value of u is on it where its largest v exceeds that of every larger u."""
    order = np.argsort(-u)
    u, v = u[order], v[order]
    runs = np.flatnonzero(np.diff(u, prepend=np.inf))  # one value of u each
    u, v = u[runs], np.maximum.reduceat(v, runs)
    on = v > np.concatenate([[-np.inf], np.maximum.accumulate(v)[:-1]])
    return u[on], v[on]


def near_front(u, v, front_u, front_v, tolerance):
    """Points that no point of a front exceeds in both variables by twice the tolerance: candidates to equal one."""
    beyond = np.searchsorted(-front_u, -(u + 2.0 * tolerance * np.abs(u)))  # front points with clearly larger u
    wall = np.concatenate([[-np.inf], front_v])[beyond]
    return v + 2.0 * tolerance * np.abs(v) >= wall


def _heads(u, v, tolerance):
    """Indices of the points of a front (u down, v up) that are not equal to the last such point before them."""
    close = np.flatnonzero(_equal(u[1:], u[:-1], tolerance) & _equal(v[1:], v[:-1], tolerance)) + 1
    kept, head = np.ones(len(u), bool), 0
    for i in close.tolist():
        head = i - 1 if kept[i - 1] else head
        kept[i] = not (_equal(u[i], u[head], tolerance) and _equal(v[i], v[head], tolerance))
    return np.flatnonzero(kept)


def _places(heads, x, tolerance):
    """[from, to) of the ascending `heads` that are equal to each of `x`."""
    bounds = x * (1.0 - tolerance), x / (1.0 - tolerance)
    return np.searchsorted(heads, np.minimum(*bounds), "left"), np.searchsorted(heads, np.maximum(*bounds), "right")


def _equal(a, b, tolerance):
    return np.abs(a - b) <= tolerance * np.maximum(np.abs(a), np.abs(b))
