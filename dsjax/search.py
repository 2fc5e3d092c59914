"""Best points of a dataset: per group, top-k, with a stable rule for ties; why the others were refused."""

import itertools

import numpy as np
import xarray as xr

from . import dataset
from .errors import InputError, unknown
from .space import group_names

# Values closer than this, relative to the larger, are equal (dtype of the objective).
TOLERANCE = {"float64": 1e-9, "float32": 1e-6}


def best(ds, by=None, top=1, objective=None):
    """The best feasible points of a dataset as a Dataset over `rank`, best first.

    `by`: axes or numbers of their rows; the `top` best points of every group are kept (default: the grid's groups; ()
    is one group). `objective`: a variable other than the grid's, maximized ("-name": minimized). Ties: within a
    group, the first is the best value; every point within TOLERANCE of it is equal to it, and the study's tie rule
    picks one (core and studies: largest batch first, then the earliest grid position); it is taken away and the next
    rank found likewise. `ties` counts the equal points at the moment of the choice.
    """
    space = dataset.space_of(ds)
    by, name, sense = check(space, by, top, objective)
    shape = tuple(space.sizes.values())
    flat = np.flatnonzero(np.broadcast_to(dataset.in_grid_order(ds, "feasible"), shape))
    at = dict(zip(space.axes, np.unravel_index(flat, shape)))
    values = sense * _values(ds, name, at, len(flat))
    group = np.zeros(len(flat), np.int64)
    for key in by:
        _, code = np.unique(_values(ds, key, at, len(flat)), return_inverse=True)
        group = group * (code.max(initial=0) + 1) + code
    tie_keys = [_tie_key(space, ds, key, at, len(flat)) for key in space.study.ties]

    tolerance = TOLERANCE[str(ds[name].dtype)]
    order = np.lexsort((-values, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    chosen, ties = [], []
    for members in np.split(order, starts[1:]) if len(order) else []:
        for pick, equal in _pick(members, values, tie_keys, top, tolerance):
            chosen.append(pick)
            ties.append(equal)
    chosen, ties = np.array(chosen, np.int64), np.array(ties, np.int64)
    ranked = np.lexsort((flat[chosen], -values[chosen]))
    return _ranked(ds, space, flat[chosen[ranked]], ties[ranked])


def check(space, by=None, top=1, objective=None):
    """(groups, variable, sign) of a search over a space; what it does not have is an InputError."""
    if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
        raise InputError(f"top: {top!r}; expected a positive integer")
    name, sense = space.objective, space.sense
    if objective is not None:
        name, sense = str(objective).removeprefix("-"), -1 if str(objective).startswith("-") else 1
        if name not in space.defined:
            raise unknown("objective", "variable of this phase", name, space.defined)
    if by is None:
        return space.by, name, sense
    if isinstance(by, str) or not hasattr(by, "__iter__"):
        raise InputError(f"by: {by!r}; expected a list of names")
    known = group_names(space.study, space.axes | space.fixed)
    for key in by:
        if key not in known:
            raise unknown("by", "group", key, known)
    varies = group_names(space.study, space.axes)  # what is fixed makes one group
    return tuple(key for key in by if key in varies), name, sense


def _values(ds, key, at, n):
    variable = ds[key]
    return np.broadcast_to(variable.values[tuple(at[axis] for axis in variable.dims)], n)


def _tie_key(space, ds, key, at, n):
    """Numbers to sort equal points by, smallest first; zeros where the space has no such coordinate."""
    name = key.removeprefix("-")
    if name not in ds.variables:
        return np.zeros(n)
    return (-1 if key.startswith("-") else 1) * _values(ds, name, at, n)


def _pick(members, values, tie_keys, top, tolerance):
    """(index, number of equals) of the `top` first members; `members` come sorted, best first."""
    members = list(members)
    for _ in range(min(top, len(members))):
        bound = values[members[0]] - tolerance * abs(values[members[0]])
        equal = list(itertools.takewhile(lambda m: values[m] >= bound, members))
        pick = min(equal, key=lambda m: (*(key[m] for key in tie_keys), m))
        yield pick, len(equal)
        members.remove(pick)


def _ranked(ds, space, flat, ties):
    where = dict(zip(space.axes, np.unravel_index(flat, tuple(space.sizes.values()))))
    picked = ds.isel({axis: xr.DataArray(index, dims="rank") for axis, index in where.items()})
    picked["ties"] = (
        "rank",
        ties,
        {"units": "1", "long_name": "points of the group equal to this one when it was chosen"},
    )
    return picked.assign_coords(rank=("rank", np.arange(1, len(flat) + 1), {"long_name": "rank, best first"}))


def refusals(ds):
    """{"ok_<constraint>": points it refuses}; a point may be refused by several."""
    points = dataset.space_of(ds).points
    names = [name for name in ds.data_vars if name.startswith("ok_")]
    return {name: int((~ds[name].values).sum()) * points // max(ds[name].size, 1) for name in names}


def count_feasible(ds):
    """Number of feasible points."""
    return int(ds["feasible"].values.sum()) * dataset.space_of(ds).points // ds["feasible"].size
