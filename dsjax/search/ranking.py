"""Best points of a dataset: top-k per group, with a stable rule for ties; counts of refused points by constraint."""

import heapq

import numpy as np

from ..errors import InputError, unknown
from ..options import option
from ..results import dataset
from ..results.handle import Results
from ..space.space import group_names, names_of
from ..specs.variables import SENSE

_BASES = ("curve_basis", "prefill_curve_basis", "decode_curve_basis")
# Values closer than this, relative to the larger, are equal (dtype of the objective).
TOLERANCE = {"float64": 1e-9, "float32": 1e-6}


def best(ds, by=None, top=1, objective=None):
    """The best feasible points of a Dataset, or of `Results`, as a Dataset over `rank`, best first.

    `by`: axes or numbers of their rows; the `top` best points of every group are kept (default: the grid's groups; ()
    is one group). `objective`: a variable other than the grid's, maximized ("-name": minimized). Ties: within a
    group, the first is the best value; every point within TOLERANCE of it is equal to it, and the study's tie rule
    picks one (core and studies: largest batch first, then the earliest grid position); it is taken away and the next
    rank found likewise. `ties` counts the equal points at the moment of the choice.
    """
    results = Results.of(ds)
    by, name, sense = check(results.space, by, top, objective)
    flat, at, (values,) = candidates(results, (name,))
    chosen, ties = choose(results.ds, results.space, by, flat, at, sense * values, top)
    return at_ranks(results, flat[chosen], ties)


def best_place(results, objective=None):
    """{axis: value} of the point that `best` ranks first in one group of all; None where none is feasible."""
    by, name, sense = check(results.space, (), 1, objective)
    flat, at, (values,) = candidates(results, (name,))
    chosen, _ = choose(results.ds, results.space, by, flat, at, sense * values, 1)
    if not len(chosen):
        return None
    return {axis: of[at[axis][chosen[0]]] for axis, of in results.space.axes.items()}


def choose(ds, space, by, flat, at, values, top):
    """(places in `flat` of the best points, best first; the number of equals of each), larger `values` better.

    `flat` and `at` {axis: indices} are points of the grid, `ds` holds what groups and the tie rule read.
    """
    group = groups(ds, space, by, at, len(flat))
    tie_keys = [tie_key(ds, key, at, len(flat)) for key in space.study.ties]
    tolerance = TOLERANCE[str(values.dtype)]
    order = np.lexsort((-values, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    chosen, ties = [], []
    for members in np.split(order, starts[1:]) if len(order) else []:
        for pick, equal in _pick(members, values, tie_keys, top, tolerance):
            chosen.append(pick)
            ties.append(equal)
    chosen, ties = np.array(chosen, np.int64), np.array(ties, np.int64)
    ranked = np.lexsort((flat[chosen], -values[chosen]))
    return chosen[ranked], ties[ranked]


def check(space, by=None, top=1, objective=None):
    """(groups, variable, sign) of a search over a space; what it does not have is an InputError."""
    if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
        raise InputError(f"top: {top!r}; expected a positive integer")
    name, sense = space.objective, space.sense
    if objective is not None:
        name, sense = str(objective).removeprefix("-"), -1 if str(objective).startswith("-") else 1
        if name in space.axes:
            each = f"{option('by', name)} ranks the best point of each"
            raise InputError(f"{option('objective')}: {name} is an axis; expected a variable ({each})")
        if name not in space.defined:
            raise unknown("objective", "variable of this phase", name, space.defined)
    if by is None:
        return space.by, name, sense
    by = names_of(by)
    known = group_names(space.study, space.axes | space.fixed)
    for key in by:
        if key not in known:
            raise unknown("by", "group", key, known)
    varies = group_names(space.study, space.axes)  # what is fixed makes one group
    return tuple(key for key in by if key in varies), name, sense


def worst_first(space, objective=None):
    """The line that says so, in a list, where what is ranked first is the worst that its variable has."""
    _, name, sense = check(space, (), 1, objective)
    if SENSE.get(name, sense) == sense:
        return []
    first, other, of = ("smallest", "largest", name) if sense < 0 else ("largest", "smallest", f"-{name}")
    return [f"  the {first} {name} is first, as asked: {option('objective', of)} has the {other} first"]


def candidates(results, names):
    """(flat indices, {axis: indices}, values of each of `names`) of the feasible points where all of them are known."""
    mask, shape = results.in_grid_order("feasible"), results.shape
    for name in names:
        values = results.in_grid_order(name)
        if np.isnan(values).any():  # an unknown price, what a phase does not define
            mask = mask & ~np.isnan(values)
    flat = np.flatnonzero(np.broadcast_to(mask, shape))
    at = dict(zip(results.space.axes, np.unravel_index(flat, shape)))
    return flat, at, [values_at(results.ds, name, at, len(flat)) for name in names]


def groups(ds, space, by, at, n):
    """Number of the group of each of `n` points: axes in the order of the grid, other numbers ascending."""
    group = np.zeros(n, np.int64)
    for key in by:
        code = at[key] if key in space.axes else np.unique(values_at(ds, key, at, n), return_inverse=True)[1]
        group = group * (code.max(initial=0) + 1) + code
    return group


def first_of(keys, indices):
    """Order of `indices` by the tie rule: `keys` smallest first, then the earliest grid position."""
    return np.lexsort((indices, *(key[indices] for key in reversed(keys))))


def values_at(ds, key, at, n):
    """Values of a variable or a coordinate at `n` points of the grid, {axis: indices}."""
    variable = ds.variables[key]
    return np.broadcast_to(variable.values[tuple(at[axis] for axis in variable.dims)], n)


def tie_key(ds, key, at, n):
    """Numbers to sort equal points by, smallest first; zeros where the space has no such coordinate."""
    name = key.removeprefix("-")
    if name not in ds.variables:
        return np.zeros(n)
    return (-1 if key.startswith("-") else 1) * values_at(ds, name, at, n)


def _pick(members, values, tie_keys, top, tolerance):
    """(index, number of equals) of the `top` first members; `members` come sorted, best first.

    The equals of the best point that is left are a window that only grows at its end, for its bound falls with the
    best value: a heap of their places in the tie rule.
    """
    top = min(top, len(members))
    losses = -values[members]  # ascending

    def end(i):
        value = values[members[i]]
        return int(np.searchsorted(losses, -(value - tolerance * abs(value)), side="right"))

    near = members[: end(top - 1)]  # all that can ever be picked
    order = first_of(tie_keys, near)
    place = np.empty(len(near), np.int64)
    place[order] = np.arange(len(near))
    taken = np.zeros(len(near), bool)
    heap, head, last = [], 0, 0
    for _ in range(top):
        while taken[head]:
            head += 1
        window = end(head)
        if not heap:
            heap = place[last:window].tolist()
            heapq.heapify(heap)
        else:
            for new in place[last:window].tolist():
                heapq.heappush(heap, new)
        last = window
        equal, first = len(heap), heapq.heappop(heap)
        taken[order[first]] = True
        yield members[order[first]], equal


def at_ranks(results, flat, ties):
    """The points with these flat indices as a Dataset over `rank`, in their order."""
    where = dict(zip(results.space.axes, np.unravel_index(flat, results.shape)))
    picked = results.ds.isel(dataset.plain({axis: ("rank", index, {}) for axis, index in where.items()}))
    if not len(flat):  # of no point the space tells why; that of a cut is smaller than the one its attribute has
        picked.attrs["dsjax_spec"] = results.space.to_json()
    return numbered(picked, ties)


def numbered(picked, ties):
    """Points over `rank` with their number of equals and their ranks."""
    attrs = {"units": "1", "long_name": "points of the group equal to this one when it was chosen"}
    ranks = np.arange(1, len(ties) + 1), {"long_name": "rank, best first"}
    new = dataset.plain({"ties": ("rank", ties, attrs), "rank": ("rank", *ranks)})
    picked["ties"] = new["ties"]
    return picked.assign_coords(rank=new["rank"])


def counted(ds):
    """{"points", "feasible", "refused": {"ok_<constraint>": points}} of a Dataset, or of `Results`."""
    results = Results.of(ds)
    return {"points": results.points, "feasible": count_feasible(results), "refused": refusals(results)}


def unmeasured(ranked):
    """Of the points of a ranked Dataset, whether the kernels of one of its chips are measured nowhere."""
    names = [name for name in _BASES if name in ranked.variables]
    bases = [np.broadcast_to(ranked[name].values, ranked.sizes["rank"]).tolist() for name in names]
    return ["assumed" in several for several in zip(*bases, strict=True)] or [False] * ranked.sizes["rank"]


def refusals(ds):
    """{"ok_<constraint>": points it refuses}; a point may be refused by several."""
    results = Results.of(ds)
    return {name: _count(results, ~results.ds[name].values) for name in results.masks}


def count_feasible(ds):
    """Number of feasible points."""
    results = Results.of(ds)
    return _count(results, results.ds["feasible"].values)


def _count(results, mask):
    return int(mask.sum()) * results.space.points // max(mask.size, 1)


def sense_of(space, of):
    """1 where more of a variable is better, -1 where less is: as the grid has it, or in its own direction."""
    return space.sense if of == space.objective else SENSE.get(of, 1)


def search_for(space, of):
    """The variable as an objective of `best`."""
    return ("-" if sense_of(space, of) < 0 else "") + of
