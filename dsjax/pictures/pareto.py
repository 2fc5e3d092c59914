"""Pareto fronts of two variables, one per group, before all feasible points."""

from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..search import ranking
from ..search.pareto import across, of_dataset
from ..space.space import Space, load_of
from ..specs.variables import SENSE
from . import canvas, selection
from .labels import Note, annotate_curves

MOST_FAINT = (400, 300)  # cells across and up: of the points in one cell one is drawn


class Fronts(NamedTuple):
    """What the picture shows."""

    ds: Any
    space: Space
    x: str
    y: str
    by: tuple
    chosen: dict  # {axis: value}
    shown: list  # labels of the groups
    front: Any  # points of all fronts, over rank
    of: list  # the group of each of them
    load: str  # axis or variable
    flat: np.ndarray  # feasible points
    says: str


def gather(results, at=None, x=None, y=None, by=None):
    """`Fronts` of results."""
    ds, space = results.ds, results.space
    x = selection.variable(space, x or across(space), "x")
    y = selection.variable(space, y or "tps_per_chip", "y")
    if x == y:
        raise InputError(f"y: {y!r} is x too; expected another variable")
    by = selection.groups(space, by)
    cut, chosen, mask = selection.restricted(results, at, by=by)
    shown, count = selection.leaders(cut, by, mask)
    front = of_dataset(cut, x=x, y=y, by=list(by))
    of = selection.labels(front, by)
    load = load_of(space.axes | space.fixed | {"phase": space.phases[-1]})
    flat = np.flatnonzero(np.broadcast_to(cut.in_grid_order("feasible"), cut.shape))
    total = int(np.isin(of, shown).sum())
    few = f" (the best {len(shown)} of {count} groups)" if count > len(shown) else ""
    says = f"{total} points of {len(shown)} Pareto fronts{few} among {len(flat):,} feasible points"
    return Fronts(ds, space, x, y, by, chosen, shown, front, of, load, flat, says)


def draw(figure, results, at=None, x=None, y=None, by=None):
    """Draw the fronts; returns what they say in one line."""
    from matplotlib.lines import Line2D

    ds, space, x, y, by, chosen, shown, front, of, load, flat, says = gather(results, at, x, y, by)
    (fx, unit_x), (fy, unit_y) = (canvas.scale(ds[v].attrs["units"], float(front[v].max())) for v in (x, y))

    ax = figure.add_subplot()
    _, (xs, ys) = thinned(ds, space, flat, (x, y))
    ax.scatter(fx * xs, fy * ys, s=5, color="#D9D9D9", lw=0, zorder=1, rasterized=True)
    handles, notes, shares = [], [], []
    for i, name in enumerate(shown):
        picked = np.array([label == name for label in of])
        xs, ys = (factor * front[v].values[picked] for v, factor in ((x, fx), (y, fy)))
        ax.plot(
            xs, ys, color=canvas.COLOURS[i], ls=canvas.DASHES[i], marker=canvas.MARKERS[i], ms=4.5, label=name, zorder=3
        )
        handles.append(ax.lines[-1])
        group = {axis: front[axis].broadcast_like(front["rank"]).values[picked][0].item() for axis in by}
        shares.append(selection.band(ds, group) if {ds[v].attrs["units"] for v in (x, y)} <= {"token/s"} else 0.0)
        if shares[-1]:  # kernels are slower or faster: both rates are, together
            at, ends = np.argmax(ys), np.array([1 / (1 + shares[-1]), 1 / (1 - shares[-1])])
            ax.plot(
                ends * xs[at], ends * ys[at], color=canvas.COLOURS[i], lw=5, alpha=0.3, label=f"_{name} band", zorder=2
            )
        loads = front[load].broadcast_like(front["rank"]).values[picked]
        notes.append([Note(a, b, canvas.text(n), canvas.COLOURS[i]) for a, b, n in zip(xs, ys, loads)])
    _limits(ax, front, x, y, fx, fy)
    faint = Line2D([], [], color="#BDBDBD", marker="o", ms=3, ls="", label="feasible points")
    bounds = _bounds(ax, ds, space, x, fx, "x") + _bounds(ax, ds, space, y, fy, "y")
    ax.set_xlabel(canvas.label(x, ds[x].attrs, unit_x))
    ax.set_ylabel(canvas.label(y, ds[y].attrs, unit_y))
    canvas.legend(ax, [*handles, faint, *bounds], f"front per {', '.join(by)}" if by else None)
    known = selection.bands(shares)
    bands = f" Slanted bars: {known}." if known else ""
    canvas.titles(
        figure,
        ax,
        _best(ds, space, front, of, shown, x, y),
        f"{space.title}: {says}. Numbers at the points: {load}, where there is room.{bands}",
        selection.fixed(space, chosen),
    )
    canvas.numbers(ax.xaxis, ax.get_xscale() == "log")
    canvas.numbers(ax.yaxis, ax.get_yscale() == "log")
    annotate_curves(ax, notes, handles + bounds)
    return says


def _best(ds, space, front, of, shown, x, y):
    """What the fronts say: which group reaches most, and what is given up for it."""
    here = [i for i, label in enumerate(of) if label in shown]
    at = max(here, key=lambda i: SENSE.get(y, 1) * front[y].values[i])
    values = [selection.amount(ds, v, float(front[v].values[at])) for v in (y, x)]
    name = "" if of[at] == "all points" else f"{of[at]}: "
    return f"{name}{values[0]} at {values[1]}"


def thinned(ds, space, flat, names, most=MOST_FAINT):
    """(flat indices, values of both variables `names`) of the points, one per cell of a raster of `most` cells."""
    at = dict(zip(space.axes, np.unravel_index(flat, tuple(space.sizes.values()))))
    both = [ranking.values_at(ds, name, at, len(flat)) for name in names]
    known = np.isfinite(both[0]) & np.isfinite(both[1])
    flat, both = flat[known], [v[known] for v in both]
    cells = [np.floor(n * (v - v.min()) / (np.ptp(v) or 1.0)) for v, n in zip(both, most)] if len(flat) else both
    _, first = np.unique(cells[0] * (most[1] + 1) + cells[1], return_index=True)
    return flat[first], [v[first] for v in both]


def _limits(ax, front, x, y, fx, fy):
    """Logarithmic where the fronts span more than a factor of 30, else from zero up."""
    for name, factor, setter, limit in ((x, fx, ax.set_xscale, ax.set_xlim), (y, fy, ax.set_yscale, ax.set_ylim)):
        values = factor * front[name].values
        if values.min() > 0.0 and values.max() > 30.0 * values.min():
            setter("log")
        elif name == y:
            limit(bottom=0.0)


def _bounds(ax, ds, space, name, factor, side):
    """Lines of the constraints on a variable."""
    line = ax.axvline if side == "x" else ax.axhline
    style = {"color": canvas.GREY, "ls": "--", "lw": 1.2, "zorder": 2}
    found = selection.bounds(space, name, ds[name].attrs["units"])
    return [line(factor * value, label=words, **style) for value, words in found]
