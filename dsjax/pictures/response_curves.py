"""The best point of every group along an axis of the results, or along a number that is moved."""

import dataclasses
import itertools
import math

import numpy as np

from ..results.handle import Results
from ..search import ranking
from ..sweeps import sweep
from . import canvas, selection


@dataclasses.dataclass(frozen=True)
class Curve:
    """One group's best point at every value of x that has one."""

    group: dict  # {name: value} that makes the group
    x: list
    values: dict  # {variable: array}
    feasible: np.ndarray  # False: the best of the points that only bounds of the grid refuse


def along_axis(results, mask, x, by, of, names):
    """{label: Curve} over the points in `mask`.

    Where a value of x has no feasible point: the best of those that only what the grid asks for refuses.
    """
    space = results.space
    rows = _rows(ranking.best(results, by=[x, *by], objective=of), x, by, names, True)
    beyond = results.with_feasible(selection.refused_by_bounds(results) & mask)
    refused = ranking.best(beyond, by=[x, *by], objective=of)
    for label, (group, found) in _rows(refused, x, by, names, False).items():
        if label in rows:
            rows[label] = (group, found | rows[label][1])
    return {label: _curve(group, found, space.axes[x], names) for label, (group, found) in rows.items()}


def along_input(results, varied, values, at, by, of, names):
    """{label: Curve} over values of a number of the results' space, which is evaluated again at each."""
    space, rows = results.space, {}
    for value in values:
        at_value = varied.moved(space, value)
        moved = Results(sweep.of_space(at_value, results.dtype, blocks=False), at_value).limited(results.there)
        moved, _, _ = selection.restricted(moved, at)
        for label, (group, found) in _rows(ranking.best(moved, by=by, objective=of), value, by, names, True).items():
            rows.setdefault(label, (group, {}))[1].update(found)
    return {label: _curve(group, found, values, names) for label, (group, found) in rows.items()}


def merged(curve, other):
    """Two curves of one group as one, in the order of x."""
    xs = np.array([*curve.x, *other.x])
    order = np.argsort(xs, kind="stable")
    values = {name: np.append(v, other.values[name])[order] for name, v in curve.values.items()}
    return Curve(curve.group, xs[order].tolist(), values, np.append(curve.feasible, other.feasible)[order])


def impossible(results, mask, x, shown):
    """{label: (values of x without a point, constraint that makes most of them impossible)} of the points in `mask`."""
    space, found = results.space, {}
    possible = selection.asked(space)
    refusing = {name: refused for name, refused in selection.refusing(results).items() if name not in possible}
    for label, curve in shown.items():
        here = mask
        for name, value in curve.group.items():
            here = here & (results.in_grid_order(name) == value)
        values = [value for value in space.axes[x] if value not in curve.x]
        here = here & np.isin(results.in_grid_order(x), values)
        counts = {name: int((refused & here).sum()) for name, refused in refusing.items()}
        most = max(counts, key=counts.get, default="")
        if values and counts.get(most):
            found[label] = values, most.removeprefix("ok_")
    return found


def hidden(curves, name, log):
    """How many later ones lie on each curve: within 1.5 % of the height, at a third of the x that they share."""
    heights = [dict(zip(c.x, np.log(c.values[name]) if log else c.values[name])) for c in curves]
    near = 0.015 * np.ptp([y for of in heights for y in of.values()])
    under = []
    for i, lower in enumerate(heights):
        both = [[abs(y - upper[x]) <= near for x, y in lower.items() if x in upper] for upper in heights[i + 1 :]]
        under.append(sum(bool(close) and 3 * sum(close) >= len(close) for close in both))
    return under


def _rows(ranked, x, by, names, feasible):
    """{label: (group, {value of x: ({variable: number}, feasible)})}; `x` is an axis, or the value it has."""
    ranked = ranked.drop_dims([dim for dim in ranked.dims if dim != "rank"])
    xs = [x] if isinstance(x, str) else []
    columns = {n: ranked[n].broadcast_like(ranked["rank"]).values.tolist() for n in (*by, *names, *xs)}
    rows = {}
    for i, label in enumerate(selection.labels(ranked, by)):
        group = {name: columns[name][i] for name in by}
        at = columns[x][i] if xs else x
        rows.setdefault(label, (group, {}))[1][at] = ({name: columns[name][i] for name in names}, feasible)
    return rows


def _curve(group, rows, order, names):
    xs = [value for value in order if value in rows]
    values = {name: np.array([rows[x][0][name] for x in xs]) for name in names}
    return Curve(group, xs, values, np.array([rows[x][1] for x in xs], bool))


def leading(space, found, best, sense):
    """The MOST_GROUPS curves that reach the best value of a variable, in the order of the grid."""
    tops = {label: (sense * c.values[best][c.feasible]).max(initial=-math.inf) for label, c in found.items()}
    kept = sorted(found, key=lambda label: -tops[label])[: selection.MOST_GROUPS]
    return {label: found[label] for label in sorted(kept, key=lambda label: selection.place(space, found[label].group))}


@dataclasses.dataclass(frozen=True)
class Line:
    """The axis below a picture: where values of x lie on it, and what it says."""

    name: str
    values: list
    words: str  # label
    factor: float  # of a number, to the unit of the label
    units: str
    kind: str  # "linear", "log", or "names": one place each
    grid: bool = True  # an axis of the grid: a tick at each of its values

    @classmethod
    def of(cls, ds, space, x, varied, shown):
        """The axis for an axis of the space, or for a number (`varied`)."""
        values = sorted({v for c in shown.values() for v in c.x}) if varied else list(space.axes[x])
        if isinstance(values[0], str):
            return cls(x, values, x, 1.0, "", "names")
        units = varied.units if varied else ds[x].attrs.get("units", "1")
        factor, unit = canvas.scale(units, max(values))
        words = f"{varied.meta['doc']} ({x}) [{unit or 1}]" if varied else canvas.label(x, ds[x].attrs, unit)
        even = varied or (min(values) > 0 and max(values) >= 8 * min(values) and _geometric(values))
        return cls(x, values, words, factor, units, "log" if even else "linear", not varied)

    def places(self, xs):
        """Where values of x lie."""
        return [self.values.index(x) for x in xs] if self.kind == "names" else [self.factor * x for x in xs]

    def dashes(self, style):
        """Style of a line along the axis: between names there is nothing."""
        return "" if self.kind == "names" else style

    def text(self, x):
        """A value with its unit."""
        return x if self.kind == "names" else canvas.quantity(self.units, x)

    def label(self, ax, last):
        """Scale, ticks and label of an axis; only the last panel is written under."""
        if self.kind == "log":
            ax.set_xscale("log")
        if self.kind == "names":
            ax.set_xticks(range(len(self.values)), labels=[canvas.text(value) for value in self.values])
        elif not self.grid:
            canvas.numbers(ax.xaxis, self.kind == "log")
        else:
            canvas.ticks(ax.xaxis, [self.factor * v for v in self.values])
        if last:
            ax.set_xlabel(self.words)
        else:
            ax.tick_params(labelbottom=False)


def _geometric(values):
    ratios = [b / a for a, b in itertools.pairwise(values)]
    return min(ratios) > 1.2
