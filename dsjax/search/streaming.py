"""Streamed searches, over grids that are never held: best points and Pareto fronts, equal to those of a Dataset.

First pass: the most that every cell of the grid can hold (`cells`). Second pass: cells are evaluated point by point
as in `sweep`, the most promising first, until no other cell can hold a point that would be chosen.
"""

import heapq
import math

import numpy as np
import xarray as xr

from .. import advance, evaluation
from ..errors import InputError
from ..results import dataset
from ..space import ranges
from . import cells, ranking, slabwise, workers
from .pareto import check, choose, described, exact, near_front

MOST_CANDIDATES = 20_000_000  # points kept at once in the second pass
MOST_CELLS = 100_000_000


def best(space, by=None, top=1, objective=None, dtype="float32", command="dsjax", client=None):
    """`ranking.best` of a space that is never held: the points of `ranking.best`, in its order, with its `ties`.

    A cell is looked at while it may hold a point within twice the tolerance of the `top`-th best value of its group.
    `client`: the workers of this `dask.distributed.Client` do the first pass.
    """
    if space.study.requests:
        return slabwise.best(space, by, top, objective, dtype, command, client)
    by, name, sense = ranking.check(space, by, top, objective)
    stream = _Stream(space, by, dtype)
    with advance.part(0.0, 0.8):
        most = stream.largest(name, sense, client)
    found = []
    for members in stream.groups():
        heap = []  # the largest `top` values so far
        for cell in members[np.argsort(-most[members], kind="stable")]:
            least = stream.less(heap[0]) if len(heap) == top else -np.inf
            if most[cell] == -np.inf or most[cell] < least:
                break
            flat, (values,) = stream.points(cell, (name,))
            values = sense * values
            near = values >= least
            found.append((flat[near], values[near]))
            for value in np.sort(values[near])[-top:].tolist():
                (heapq.heappush if len(heap) < top else heapq.heappushpop)(heap, value)
            stream.check_room(int(near.sum()))
    flat, values = stream.joined(found, 1)
    coords, at = stream.seen(flat)
    chosen, ties = ranking.choose(coords, space, by, flat, at, values, top)
    return stream.dataset(flat[chosen], ties, command)


def pareto(space, x=None, y="tps_per_chip", by=None, dtype="float32", command="dsjax", client=None):
    """`best.pareto` of a space that is never held.

    A cell is looked at while the corner of its largest x and its largest y is not behind the front found so far.
    """
    if space.study.requests:
        return slabwise.pareto(space, x, y, by, dtype, command, client)
    by, (x, x_sense), (y, y_sense) = check(space, x, y, by)
    stream = _Stream(space, by, dtype)
    with advance.part(0.0, 0.8):
        most = [stream.largest(*side, client) for side in advance.of(((x, x_sense), (y, y_sense)))]
    tolerance = ranking.TOLERANCE[dtype]
    found = []
    for members in stream.groups():
        u, v = (values[members] for values in most)
        front = np.empty(0, dtype), np.empty(0, dtype)
        order = np.argsort(-(_places(u) + _places(v)), kind="stable")  # corners far out first
        for i in order[(u[order] > -np.inf) & (v[order] > -np.inf)]:
            if not near_front(u[i : i + 1], v[i : i + 1], *front, tolerance)[0]:
                continue
            flat, (a, b) = stream.points(members[i], (x, y))
            a, b = x_sense * a, y_sense * b
            if len(flat):
                front = exact(np.concatenate([front[0], a]), np.concatenate([front[1], b]))
            near = near_front(a, b, *front, tolerance)
            found.append((flat[near], a[near], b[near]))
            stream.check_room(int(near.sum()))
    flat, u, v = stream.joined(found, 2)
    coords, at = stream.seen(flat)
    chosen, ties = choose(coords, space, by, at, u, v, x_sense)
    return described(stream.dataset(flat[chosen], ties, command), by, (x, x_sense), (y, y_sense))


def counted(space, dtype="float32", client=None):
    """{"points", "feasible", "refused": {"ok_<constraint>": points}} of a space, as `ranking.counted` has it."""
    variables = evaluation.variables(space, dtype)
    layout, points, held = cells.layout_of(space, (), dtype), space.points, {}
    for name in advance.of([name for name in variables if name == "feasible" or name.startswith("ok_")]):
        one = _part(space, {axis: values[:1] for axis, values in space.axes.items() if axis not in variables[name][0]})
        if one.points <= MOST_CANDIDATES:  # a mask of few axes
            ((_, mask),) = evaluation.evaluate(one, dtype, (name,)).values()
            held[name] = int(mask.sum()) * (points // mask.size)
        else:
            held[name] = cells.count(space, layout, name, dtype, workers.runner(client))
    feasible = held.pop("feasible")
    return {"points": points, "feasible": feasible, "refused": {name: points - n for name, n in held.items()}}


def _part(space, axes):
    """A space with some of its axes cut."""
    return space.with_axes(space.axes | axes)


def _coordinates(space, axes):
    return xr.Dataset(coords=dataset.coordinates(_part(space, axes)))


def _places(values):
    places = np.empty(len(values))
    places[np.argsort(values, kind="stable")] = np.arange(len(values))
    return places


class _Stream:
    """A space cut into cells, none of which belongs to two groups."""

    def __init__(self, space, by, dtype):
        if space.points >= 2**63:
            raise InputError(f"grid: {space.points:.3g} points; expected fewer than 2^63")
        self.space, self.by, self.dtype = space, by, dtype
        self.long = {axis: values for axis, values in space.axes.items() if isinstance(values, ranges.Range)}
        self.coords = _coordinates(space, {axis: values[:1] for axis, values in self.long.items()})
        groups = {axis for key in by for axis in self.coords[key].dims}
        self.layout = cells.layout_of(space, groups, dtype)
        self.axes = (*self.layout.policies, *self.layout.kept)
        self.shape = self.layout.shape(space.sizes)
        self.sizes = tuple(space.sizes.values())
        if math.prod(self.shape) > MOST_CELLS:
            raise InputError(
                f"grid: {space.points:.3g} points are searched in {math.prod(self.shape):.3g} cells, more than "
                f"{MOST_CELLS:,}; expected fewer groups, or fewer points"
            )
        self.kept = 0  # points that may be chosen

    def largest(self, name, sign, client):
        """Upper bound of `sign` x a variable in every cell, flat."""
        return cells.largest(self.space, self.layout, name, sign, self.dtype, workers.runner(client)).ravel()

    def less(self, value):
        """Least value that may still be equal to `value`: twice the tolerance below it."""
        return value - 2.0 * ranking.TOLERANCE[self.dtype] * abs(value)

    def groups(self):
        """Flat indices of the cells of every group."""
        n = int(np.prod(self.shape))
        at = self.index(np.arange(n))
        group = ranking.groups(self.coords, self.space, self.by, at, n)
        order = np.argsort(group, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)

    def index(self, cell):
        """{axis: index} of cells by their flat index; nothing where the grid is one cell."""
        return dict(zip(self.axes, np.unravel_index(cell, self.shape))) if self.shape else {}

    def points(self, cell, names):
        """(flat indices in the grid, values of each variable) of the feasible points of a cell, as `sweep` has them."""
        index = self.index(cell)
        start = {axis: i * self.layout.length(axis) for axis, i in index.items()}
        windows = {axis: slice(i, i + self.layout.length(axis)) for axis, i in start.items()}
        one = _part(self.space, {axis: self.space.axes[axis][window] for axis, window in windows.items()})
        shape = tuple(one.sizes.values())
        *values, ok = (
            np.broadcast_to(array.reshape([one.sizes[axis] if axis in dims else 1 for axis in one.axes]), shape)
            for dims, array in evaluation.evaluate(one, self.dtype, (*names, "feasible")).values()
        )
        ok = np.logical_and.reduce([ok, *(~np.isnan(x) for x in values)])
        where = [i + start.get(axis, 0) for axis, i in zip(one.axes, np.nonzero(ok))]
        return np.ravel_multi_index(where, self.sizes), [x[ok] for x in values]

    def at(self, flat):
        """{axis: indices} of flat indices of the grid."""
        return dict(zip(self.space.axes, np.unravel_index(flat, self.sizes)))

    def seen(self, flat):
        """(Dataset of coordinates, {axis: indices into it}) of flat indices: of a long axis, only the values there."""
        at, few = self.at(flat), {}
        for axis, values in self.long.items():
            places, at[axis] = np.unique(at[axis], return_inverse=True)
            few[axis] = tuple(values[i] for i in places)
        return _coordinates(self.space, few) if few else self.coords, at

    def joined(self, found, n):
        """Chunks of (flat indices, `n` columns of values) as arrays, in the order of the grid."""
        kinds = [np.int64, *[self.dtype] * n]
        columns = zip(*found) if found else [()] * (n + 1)
        flat, *values = (np.concatenate([np.empty(0, kind), *column]) for kind, column in zip(kinds, columns))
        order = np.argsort(flat)
        return [flat[order], *(x[order] for x in values)]

    def check_room(self, more):
        """Refuse a search in which nearly everything is equal."""
        self.kept += more
        if self.kept > MOST_CANDIDATES:
            raise InputError(
                f"grid: more than {MOST_CANDIDATES:,} points are as good as the best; expected an objective that "
                "depends on the axes of the grid"
            )

    def dataset(self, flat, ties, command):
        """All variables of the chosen points over `rank`, as `ranking.at_ranks` gives them."""
        at, rows = self.at(flat), []
        variables = evaluation.variables(self.space, self.dtype)
        names = [name for name in evaluation.known(self.space, variables) if not name.startswith("block_time/")]
        for i in range(len(flat)):
            one = _part(self.space, {axis: (values[at[axis][i]],) for axis, values in self.space.axes.items()})
            arrays = evaluation.evaluate(one, self.dtype, names)
            rows.append({name: array.reshape(()) for name, (_, array) in arrays.items()})
        coords, at = self.seen(flat)
        picked = coords.isel({axis: xr.DataArray(index, dims="rank") for axis, index in at.items()})
        for name in names:
            if name not in picked.coords:
                values = np.array([row[name] for row in rows], variables[name][1])
                picked[name] = ("rank", values, dataset.attributes(name))
        return ranking.numbered(picked, ties).assign_attrs(dataset.global_attributes(self.space, command))
