"""Streamed searches of servers: slab by slab, means before quantiles, and those only of points that may be chosen.

A server's quantiles take several times as long as its means. A slab is evaluated with means alone; of its points that
these do not refuse, those that would be chosen are evaluated in full, the most promising ones first.
"""

import json

import numpy as np
import xarray as xr

from .. import advance, evaluation, machine
from ..errors import InputError
from ..results import dataset
from ..sweeps import slabs
from . import ranking
from .pareto import check, choose, described, exact, near_front

LEAST, MOST = 2**17, 2**24  # points of a slab
FULL = 2**12  # points that are evaluated in full at once


def best(space, by=None, top=1, objective=None, dtype="float64", command="dsjax", client=None):
    """`ranking.best` of a space of servers that is never held; `ties` are those among the points looked at in full."""
    by, name, sense = ranking.check(space, by, top, objective)
    search = _Search(space, by, (name,), client)
    tolerance = ranking.TOLERANCE["float64"]
    kept: dict = {}  # {group: the `top` best values so far, ascending}

    def least(groups):
        bound = np.array([kept[group][0] if len(kept.get(group, ())) >= top else -np.inf for group in groups.tolist()])
        return bound - 2.0 * tolerance * np.abs(np.where(np.isfinite(bound), bound, 0.0))

    def worth(groups, values):
        return sense * values[0] >= least(groups)

    def take(groups, values):
        for group, value in zip(groups.tolist(), sense * values[0], strict=True):
            kept[group] = sorted([*kept.get(group, ()), value])[-top:]

    flat, (values,) = search.run(worth, take, lambda values: sense * values[0])
    coords, at = search.coords, search.at(flat)
    chosen, ties = ranking.choose(coords, space, by, flat, at, sense * values, top)
    return search.dataset(flat[chosen], ties, command)


def pareto(space, x=None, y="tps_per_chip", by=None, dtype="float64", command="dsjax", client=None):
    """`best.pareto` of a space of servers that is never held."""
    by, (x, x_sense), (y, y_sense) = check(space, x, y, by)
    search = _Search(space, by, (x, y), client)
    tolerance, fronts = ranking.TOLERANCE["float64"], {}
    none = np.empty(0), np.empty(0)

    def sides(values):
        return x_sense * values[0], y_sense * values[1]

    def worth(groups, values):
        u, v = sides(values)
        found = np.zeros(len(u), bool)
        for group in set(groups.tolist()):
            mine = groups == group
            found[mine] = near_front(u[mine], v[mine], *fronts.get(group, none), tolerance)
        return found

    def take(groups, values):
        u, v = sides(values)
        for group in set(groups.tolist()):
            mine, (a, b) = groups == group, fronts.get(group, none)
            fronts[group] = exact(np.concatenate([a, u[mine]]), np.concatenate([b, v[mine]]))

    flat, values = search.run(worth, take, lambda values: sides(values)[1])
    u, v = sides(values)
    coords, at = search.coords, search.at(flat)
    chosen, ties = choose(coords, space, by, at, u, v, x_sense)
    return described(search.dataset(flat[chosen], ties, command), by, (x, x_sense), (y, y_sense))


def values(space, name, client=None):
    """Values of a variable at the feasible points of a space of servers that is never held; NaN is left out."""
    _without_workers(client)
    cut, found, held = _cut(space), [], 0
    for index in advance.of(range(cut.number)):
        arrays = slabs.evaluated(cut, index, "float64", (name, "feasible"))
        sizes = {axis: len(own) for axis, own in cut.axes_of(index).items()}
        of, ok = (
            np.broadcast_to(array.reshape([n if axis in dims else 1 for axis, n in sizes.items()]), [*sizes.values()])
            for dims, array in (arrays[x] for x in (name, "feasible"))
        )
        found.append(of[ok & ~np.isnan(of)])
        held += found[-1].nbytes
        if held > machine.room():
            raise InputError(f"{name}: {held / 8:,.0f} values fill the memory that is free; expected fewer points")
    return np.concatenate([np.empty(0), *found])


def _without_workers(client):
    if client is not None:
        raise InputError("client: workers search grids of steps; expected a search of servers without them")


def _cut(space):
    """`Slabs` that share tables of steps which are held: as large as such tables allow, up to `MOST` points."""
    most = MOST
    while most > LEAST and not evaluation.shares_tables(slabs.cut(space, most).piece(0)):
        most //= 2
    return slabs.cut(space, most)


class _Search:
    """A space of servers cut into slabs, and what was looked at."""

    def __init__(self, space, by, names, client):
        _without_workers(client)
        self.space, self.by, self.names = space, by, names
        self.cut = _cut(space)
        self.sizes, self.groups = tuple(space.sizes.values()), {}
        self.coords = xr.Dataset(coords=dataset.plain(dataset.coordinates(space)))
        self.counts = {"points": space.points, "feasible": 0, "refused": {}, "least": True}

    def run(self, worth, take, promise):
        """(flat indices, values of the names) of the points that may be chosen.

        `worth(groups, values)`: whether points may still be; `take(groups, values)`: they are feasible;
        `promise(values)`: the larger, the earlier they are looked at.
        """
        found = []
        for index in advance.of(range(self.cut.number)):
            piece = self.cut.piece(index)
            points = evaluation.servers_at(piece, (*self.names, "feasible"))
            for flat, values in points.screened(self.names, self._count):
                flat = self._whole(index, piece, flat)
                near = np.flatnonzero(worth(self.group(flat), values))
                order = near[np.argsort(-promise([x[near] for x in values]), kind="stable")]
                for first in range(0, len(order), FULL):
                    some = order[first : first + FULL]
                    some = some[worth(self.group(flat[some]), [x[some] for x in values])]
                    if not len(some):
                        continue
                    exact_values, ok = points.in_full(some, self.names)
                    here, kept = flat[some][ok], [x[ok] for x in exact_values]
                    self.counts["feasible"] += int(ok.sum())
                    take(self.group(here), kept)
                    found.append((here, *kept))
        columns = list(zip(*found, strict=True)) or [()] * (1 + len(self.names))
        flat, *values = (np.concatenate([np.empty(0, int if i == 0 else float), *x]) for i, x in enumerate(columns))
        flat, first = np.unique(flat.astype(np.int64), return_index=True)  # windows of slabs may overlap
        return flat, [x[first] for x in values]

    def _count(self, masks):
        for name, mask in masks.items():
            refused = int((~mask).sum())
            self.counts["refused"][name] = self.counts["refused"].get(name, 0) + refused

    def _whole(self, index, piece, flat):
        """Flat indices in the whole space of those in the piece of a slab."""
        at = dict(zip(piece.axes, np.unravel_index(flat, tuple(piece.sizes.values())), strict=True))
        for axis, window in self.cut.window(index).items():
            at[axis] = at[axis] + window.stop - piece.sizes[axis]
        return np.ravel_multi_index([at[axis] for axis in self.space.axes], self.sizes)

    def at(self, flat):
        """{axis: indices} of flat indices."""
        return dict(zip(self.space.axes, np.unravel_index(flat, self.sizes), strict=True))

    def group(self, flat):
        """Number of the group of each point, the same in every slab."""
        at = self.at(flat)
        if not self.by:
            return np.zeros(len(flat), int)
        columns = [ranking.values_at(self.coords, key, at, len(flat)).tolist() for key in self.by]
        return np.array([self.groups.setdefault(labels, len(self.groups)) for labels in zip(*columns)], int)

    def dataset(self, flat, ties, command):
        """All variables of the chosen points over `rank`."""
        rows, at = [], self.at(flat)
        known = evaluation.variables(self.space)
        names = [name for name in evaluation.known(self.space, known) if name not in self.coords]
        for i in range(len(flat)):
            one = self.space.with_axes({a: (values[at[a][i]],) for a, values in self.space.axes.items()})
            arrays = evaluation.evaluate(one, names=tuple(names))
            rows.append({name: array.reshape(()) for name, (_, array) in arrays.items()})
        picked = self.coords.isel({axis: xr.DataArray(index, dims="rank") for axis, index in at.items()})
        for name in names:
            values = np.array([row[name] for row in rows], known[name][1])
            picked[name] = ("rank", values, dataset.attributes(name))
        attrs = dataset.global_attributes(self.space, command) | {"searched": json.dumps(self.counts)}
        return ranking.numbered(picked, ties).assign_attrs(attrs)
