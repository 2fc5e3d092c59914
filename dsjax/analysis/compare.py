"""Two design spaces side by side: the optimum of every group of each, what changed, and why."""

import math
from typing import Any

import numpy as np
import xarray as xr

from ..arguments import typed
from ..errors import InputError, unknown
from ..formats import label
from ..formulas.metrics import LIMITS
from ..results import dataset
from ..search import binding, ranking
from ..space.space import auxiliary, group_names, names_of, numeric_axes
from ..specs.variables import VARIABLES
from ..sweeps import sources
from ..types import Names, Source

SIDES = ("a", "b")
FOLLOWS = {"shared_tp": "tp"}  # an axis that equals another one where it is not given


@typed
def compare(a: Source = "default", b: "Source | None" = None, by: Names | None = None, **options: Any) -> xr.Dataset:
    """The optimum of every group in `a` and in `b`, as a Dataset over `group`, best of `a` first.

    `a`, `b`: Datasets, files dsjax wrote, or grids; `options` are those of `sweep`, for grids only, and hold for
    both. `by`: axes, or numbers of their rows, that both spaces know (default: the groups of `a` that `b` knows; ()
    is one group). A group that is feasible in neither is left out. Objective and its sense must agree.

    Over `side` ("a", "b") and `group`: `objective`, the axes' values (as text), `step_time` and its exposed parts,
    `chip_time_<part>` (the same per token and chip: they sum to 1 / tps_per_chip), `binding` (constraints that alone
    refuse a better point), `feasible` points. Over `group`: `ratio` b / a, `changed` axes, `newly_binding`,
    `no_longer_binding`, and the optimum of `a` evaluated in `b`: `kept_objective`, `kept_ratio`, `kept_feasible`,
    `kept_refused`; NaN where `b` does not hold that configuration (`kept_missing` says why). ratio = kept_ratio x
    gain from choosing anew.
    """
    if b is None:
        raise InputError("compare: b: missing; expected a Dataset, a file or a grid to compare with")
    grids = [source for source in (a, b) if not sources.is_results(source)]
    if options and not grids:
        raise InputError(f"compare: {', '.join(options)} change a grid; expected a grid, not results")
    both = [sources.ask(x, "compare", {} if sources.is_results(x) else options, needs="sweep") for x in (a, b)]
    return of_results(*(asked.swept(command="dsjax.compare") for asked in both), by=by)


def of_results(a, b, by=None):
    """`compare` of two `Results` of `sweep`."""
    pair = _Side(a), _Side(b)
    spaces = [side.space for side in pair]
    objectives = [f"{'maximize' if s.sense > 0 else 'minimize'} {s.objective}" for s in spaces]
    if objectives[0] != objectives[1]:
        raise InputError(f"compare: objectives {objectives[0]} and {objectives[1]}; expected the same one")
    by = _groups(spaces, by)
    phases = [side.phases() for side in pair]
    if phases[0] != phases[1] and "phase" not in by:
        raise InputError(f"compare: phases {' and '.join(map(', '.join, phases))}; expected the same phase in a and b")
    for side in pair:
        side.group(by)
    keys = list(dict.fromkeys([*pair[0].best, *pair[1].best]))
    axes = [axis for axis in pair[0].axes if axis in pair[1].axes]
    axes += [axis for side in pair for axis in side.space.axes if axis not in axes]
    rows = [_row(pair, key, axes) for key in keys]
    return _dataset(pair, by, keys, axes, rows)


def _groups(spaces, by):
    known = [group_names(s.study, s.axes | s.fixed) for s in spaces]
    shared = [name for name in known[0] if name in known[1]]
    if by is None:
        return tuple(name for name in spaces[0].by if name in shared)
    by = tuple(names_of(by))
    for name in by:
        if name not in shared:
            raise unknown("by", "group of both", name, shared)
    return by


class _Side:
    """One of the two compared spaces, and the best point of every group."""

    def __init__(self, results):
        self.results, self.ds, self.space = results, results.ds, results.space
        self.axes = self.space.axes | self.space.fixed

    def group(self, by):
        """Find the best of every group, {key: point}, and what holds it back, {key: text}."""
        varies = tuple(name for name in by if name in group_names(self.space.study, self.space.axes))
        ranked = ranking.best(self.results, by=varies)
        columns = [np.broadcast_to(self._values(ranked, name), ranked.sizes["rank"]) for name in by]
        keys = [tuple(v.item() for v in key) for key in zip(*columns)] if by else [()] * ranked.sizes["rank"]
        self.best = {key: ranked.isel(rank=i) for i, key in enumerate(keys)}
        self._count(by, keys, ranked)

    def _values(self, ds, name):
        if name in ds.variables:
            return ds[name].values
        for record in self.space.study.records:  # a number of a row that is fixed
            row = self.space.rows.get(record, {}).get(self.space.fixed.get(record), {})
            for field, value in row.items():
                if auxiliary(record, field) == name:
                    return np.array(self.space.fixed.get(f"{record}_{field}", value))
        raise InputError(f"by: {name} is not a number of both; expected an axis")

    def _count(self, by, keys, ranked):
        """Group of every point, feasible points and binding constraints of every group."""
        sizes, points = self.space.sizes, self.space.points
        group = np.full(points, len(keys))  # of no feasible group
        if keys:
            flags = [np.broadcast_to(self._values(ranked, name), len(keys)) for name in by]
            codes, wanted = np.zeros(tuple(sizes.values()), np.int64), np.zeros(len(keys), np.int64)
            for name, flag in zip(by, flags):
                if name in self.ds.variables and self.ds[name].dims:
                    levels, code = np.unique(self.ds[name].values, return_inverse=True)
                    shape = [n if axis in self.ds[name].dims else 1 for axis, n in sizes.items()]
                    codes = codes * len(levels) + code.reshape(shape)
                    wanted = wanted * len(levels) + np.searchsorted(levels, flag)
            order = np.argsort(wanted)
            at = np.searchsorted(wanted[order], codes.ravel()).clip(max=len(keys) - 1)
            group = np.where(wanted[order][at] == codes.ravel(), order[at], len(keys))
        feasible = np.broadcast_to(self.results.in_grid_order("feasible"), self.results.shape).ravel()
        counts = np.bincount(group, weights=feasible, minlength=len(keys) + 1)
        name, sense = self.space.objective, self.space.sense
        best = np.append(sense * ranked[name].values.astype(float), np.inf)
        limits = binding.by_group(self.results, name, sense, group, best)
        self.counts = {key: int(counts[i]) for i, key in enumerate(keys)}
        self.binding = {
            key: [mask for mask, values in limits.items() if values[i] > -np.inf] for i, key in enumerate(keys)
        }

    def phases(self):
        """The phases of the space, in the order of their names."""
        return sorted(self.space.phases)

    def value(self, point, axis):
        """Value of an axis at a point, also where it is fixed, derived, or follows another; None where none is."""
        if axis in self.space.axes or (axis not in self.space.fixed and axis in ("ep", "chips")):
            return point[axis].values.item() if axis in point.variables else None
        return self.space.fixed.get(axis, self.value(point, FOLLOWS[axis]) if axis in FOLLOWS else None)

    def find(self, values):
        """(point with these {axis: value}, why there is none)."""
        index = {}
        for axis, value in values.items():
            there = self.axes.get(axis)
            if axis not in self.axes:  # follows another one here
                there = values.get(FOLLOWS[axis], self.space.fixed.get(FOLLOWS[axis]))
                if there != value:
                    return None, f"{axis} is {FOLLOWS[axis]} = {there}, not {value}"
            if axis in self.space.fixed and there != value:
                return None, f"{axis} is {there}, not {value}"
            if axis in self.space.axes:
                if value not in there:
                    return None, f"no {axis} = {value}"
                index[axis] = there.index(value)
        open_axes = [axis for axis, n in self.space.sizes.items() if axis not in index and n > 1]
        if open_axes:
            return None, f"{open_axes[0]} is not given"
        index = {axis: index.get(axis, 0) for axis in self.space.axes}
        there = self.results.there
        if there is not None and not np.broadcast_to(there, self.results.shape)[tuple(index.values())]:
            return None, "it was cut away"
        return self.ds.isel(index), ""


def _row(pair, key, axes):
    """{variable: value} of both sides in one group."""
    a, b = pair
    points = [side.best.get(key) for side in pair]
    name = a.space.objective
    row = {"objective": [math.nan if p is None else float(p[name]) for p in points]}
    for axis in axes:
        row[axis] = ["" if p is None else _text(side.value(p, axis)) for side, p in zip(pair, points)]
    for part in ("step_time", *(f"exposed_{limit}" for limit in LIMITS)):
        row[part] = [math.nan if p is None else float(p[part]) for p in points]
        if part != "step_time":
            tokens = [math.nan if p is None else float(p["step_time"] * p["tps_per_chip"]) for p in points]
            row[part.replace("exposed", "chip_time")] = [s / n for s, n in zip(row[part], tokens)]
    row["bottleneck"] = ["" if p is None else LIMITS[int(p["bottleneck"])] for p in points]
    row["feasible"] = [side.counts.get(key, 0) for side in pair]
    limits = [side.binding.get(key, []) for side in pair]
    row["binding"] = [", ".join(of) for of in limits]
    row["newly_binding"] = ", ".join(mask for mask in limits[1] if mask not in limits[0])
    row["no_longer_binding"] = ", ".join(mask for mask in limits[0] if mask not in limits[1])
    row["ratio"] = row["objective"][1] / row["objective"][0]
    shared = [axis for axis in axes if all(row[axis])]
    differ = [axis for axis in shared if row[axis][0] != row[axis][1]]
    row["changed"] = ", ".join(differ) if all(p is not None for p in points) else ""
    return row | _kept(a, b, points[0], name)


def _kept(a, b, point, name):
    """The optimum of `a` in `b`."""
    none = {"kept_objective": math.nan, "kept_ratio": math.nan, "kept_feasible": False, "kept_refused": ""}
    if point is None:
        return none | {"kept_missing": "a has no feasible point"}
    shared = [axis for axis in a.axes if axis in b.axes and not _swapped(a, b, axis)]
    shared += [axis for axis in a.space.axes if axis not in b.axes and axis in FOLLOWS]
    values = {axis: a.value(point, axis) for axis in (*shared, *(x for x in b.space.axes if x not in a.axes))}
    there, why = b.find({axis: value for axis, value in values.items() if value is not None})
    if there is None:
        return none | {"kept_missing": why}
    refused = [mask for mask in there.data_vars if mask.startswith("ok_") and not bool(there[mask])]
    return {
        "kept_objective": float(there[name]),
        "kept_ratio": float(there[name]) / float(point[name]),
        "kept_feasible": bool(there["feasible"]),
        "kept_refused": ", ".join(refused),
        "kept_missing": "",
    }


def _swapped(a, b, axis):
    """Fixed on both sides, at different values: the what-if itself."""
    return axis in a.space.fixed and axis in b.space.fixed


def _text(value):
    return "" if value is None else label(value)


def _dataset(pair, by, keys, axes, rows):
    name = pair[0].space.objective
    units = {"objective": VARIABLES[name][0], "kept_objective": VARIABLES[name][0]}
    words = {
        "objective": f"best {name}",
        "ratio": "objective of b / objective of a",
        "changed": "axes whose value at the optimum differs",
        "feasible": "feasible points of the group",
        "binding": "constraints that alone refuse a better point",
        "newly_binding": "of them in b, and not in a",
        "no_longer_binding": "of them in a, and not in b",
        "kept_objective": f"{name} of the optimum of a, evaluated in b",
        "kept_ratio": "it / objective of a: the change at a fixed configuration",
        "kept_feasible": "whether b allows the optimum of a",
        "kept_refused": "constraints of b that refuse it",
        "kept_missing": "why b does not hold it",
        "bottleneck": VARIABLES["bottleneck"][1],
    }
    data = {}
    for column in rows[0] if rows else ():
        values = [row[column] for row in rows]
        first = values[0][0] if isinstance(values[0], list) else values[0]
        array = np.array(values, object if isinstance(first, str) else None)
        part = column.removeprefix("chip_time_")
        unit, text = VARIABLES.get(column, ("1", words.get(column, f"{column} at the optimum")))
        if part != column:
            unit, text = "s/token", f"exposed_{part} per token and chip"
        meta = {"long_name": words.get(column, text)}
        meta |= {} if array.dtype.kind in "Ob" else {"units": units.get(column, unit)}
        array = array.T if isinstance(values[0], list) else array
        data[column] = (("side", "group") if array.ndim == 2 else "group", array, meta)
    coords = {"side": ("side", list(SIDES), {"long_name": "side of the comparison"})}
    for i, key in enumerate(by):
        if f"group_{key}" not in data:
            coords[f"group_{key}"] = ("group", np.array([k[i] for k in keys]), {"long_name": f"{key} of the group"})
    ds = xr.Dataset(data, coords)
    for side, of in zip(SIDES, pair):
        ds.attrs[f"title_{side}"] = of.space.title
        ds.attrs[f"points_{side}"] = of.results.points
        ds.attrs[f"feasible_{side}"] = ranking.count_feasible(of.results)
        ds.attrs[f"dsjax_spec_{side}"] = of.space.to_json()
    ds.attrs |= dataset.remarks(*(of.space for of in pair))
    numeric = [axis for axis in axes if axis in numeric_axes(pair[0].space.study)]
    ds.attrs |= {"objective": name, "sense": pair[0].space.sense, "by": list(by), "axes": axes, "numeric": numeric}
    return ds
