"""A variable over two axes, the best over the others; what refuses the rest."""

from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..formats import significant
from ..search import ranking
from . import along, canvas, selection

HATCHES = ("////", "\\\\\\\\", "xxxx", "....", "||||", "----", "++++", "oooo")
MOST_WRITTEN = 160  # cells with their value written in


class Map(NamedTuple):
    """What the picture shows."""

    name: str  # variable
    x: str
    y: str
    chosen: dict  # {axis: value}
    mask: np.ndarray  # points that are looked at
    ranked: Any  # the best of every cell that has one, over rank
    where: list  # [(row, column)] of each of them
    values: np.ndarray  # and its value
    others: list  # axes that the best is taken over
    won: str  # the best cell
    says: str
    results: Any  # with an axis for every number that is none of the grid


def gather(results, at=None, of=None, x=None, y=None, between=None):
    """`Map` of results."""
    results, sides = along.widened(results, {"x": x, "y": y}, at, between)
    ds, space, x, y = results.ds, results.space, sides["x"], sides["y"]
    sense = selection.objective(space, of)
    name = (sense or space.objective).removeprefix("-")
    x, y = _axes(space, x, y, at)
    cut, chosen, mask = selection.restricted(results, at, (x, y))
    known = np.isfinite(results.in_grid_order(name))  # an unknown price has no cost
    cut = cut.with_feasible(cut.in_grid_order("feasible") & known)
    ranked = ranking.best(cut, by=[x, y], objective=sense)
    if not ranked.sizes["rank"]:
        raise selection.nothing(results, mask)
    rows, columns = (space.axes[axis] for axis in (y, x))
    where = [(rows.index(r), columns.index(c)) for r, c in zip(ranked[y].values.tolist(), ranked[x].values.tolist())]
    values = ranked[name].broadcast_like(ranked["rank"]).values
    others = selection.free(space, (x, y, *chosen))
    best = ranked.isel(rank=0)
    here = [(axis, best[axis].values.item()) for axis in (y, x)]
    named_here = [_text(ds, axis, v) if isinstance(v, str) else f"{axis} {_text(ds, axis, v)}" for axis, v in here]
    won = f"{', '.join(named_here)}{', ' * bool(others)}{selection.configuration(best, others)}"
    top = f"best {name} {canvas.quantity(ds[name].attrs['units'], float(values[0]))} at"
    return Map(name, x, y, chosen, mask, ranked, where, values, others, won, f"{top} {won}", results)


def draw(figure, results, at=None, of=None, x=None, y=None, between=None):
    """Draw the map; returns its best cell in one line."""
    from matplotlib.patches import Rectangle

    found = gather(results, at, of, x, y, between)
    name, x, y, chosen, mask, ranked, where, values, others, won, says, results = found
    ds, space = results.ds, results.space
    rows, columns = (space.axes[axis] for axis in (y, x))
    cells = np.full((len(rows), len(columns)), np.nan)
    cells[tuple(np.transpose(where))] = values
    up, across = (_shown(space.axes[axis], np.isfinite(cells).any(axis=1 - i)) for i, axis in enumerate((y, x)))
    gone = [_gone(axis, values, part) for axis, values, part in ((y, rows, up), (x, columns, across))]
    cells, rows, columns = cells[up, across], list(rows)[up], list(columns)[across]
    where = [(r - up.start, c - across.start) for r, c in where]
    factor, unit = canvas.scale(ds[name].attrs["units"], np.nanmax(np.abs(cells)))
    cells = np.ma.masked_invalid(factor * cells)

    ax = figure.add_subplot()
    ax.grid(False)
    colours = ax.pcolormesh(cells, cmap="viridis", edgecolors="white", linewidth=0.4)
    handles = _refused(ax, results, mask, x, y, np.ma.getmaskarray(cells), (up, across))
    handles += _present(ax, space, x, y, columns, rows)
    _axis(ax.xaxis, ds, x, columns)
    _axis(ax.yaxis, ds, y, rows)
    if any(len(str(c)) > 5 for c in columns) and len(columns) > 6:
        ax.tick_params(axis="x", rotation=45)
    _written(ax, cells, colours)
    bar = figure.colorbar(colours, ax=ax, pad=0.015, aspect=30)
    bar.set_label(canvas.label(name, ds[name].attrs, unit))
    bar.outline.set_visible(False)
    canvas.numbers(bar.ax.yaxis)
    if isinstance(rows[0], str):
        ax.invert_yaxis()
    row, column = where[0]
    ax.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="black", linewidth=2.0, zorder=5, label="best"))
    if handles:
        canvas.legend_below(ax, handles)
    said = ", ".join(_text(ds, axis, ranked[axis].values[0].item(), True) for axis in (y, x))
    over = f"Each cell: best feasible over {', '.join(others)}. " if others else ""
    more = "".join(f" {words}." for words in gone if words)
    about = f"{space.title}. {over}Framed: {won}.{more}"
    reached = f"{selection.amount(ds, name, float(values[0]))} at best, at {said}"
    canvas.titles(figure, ax, reached, about, selection.fixed(space, chosen))
    return says


def _shown(values, some):
    """The part of an axis of numbers that has feasible cells, and one value beyond."""
    if isinstance(values[0], str):
        return slice(0, len(values))
    there = np.flatnonzero(some)
    return slice(max(int(there[0]) - 1, 0), min(int(there[-1]) + 2, len(values)))


def _gone(axis, values, part):
    """What is not shown of an axis, in words; empty where all of it is."""
    left = [*list(values)[: part.start], *list(values)[part.stop :]]
    return f"No feasible point, so not shown: {axis} {', '.join(map(canvas.text, left))}" if left else ""


def _text(ds, axis, value, named=False):
    """A value of an axis with its unit where it has one that scales."""
    units = ds[axis].attrs.get("units", "1")
    if isinstance(value, str):
        return value
    words = canvas.quantity(units, value) if units in canvas.SCALED else canvas.text(value)
    name = str(ds[axis].attrs.get("long_name", axis)).partition(",")[0] if "_" in axis else axis
    return f"{name} {words}" if named else words


def _present(ax, space, x, y, columns, rows):
    """Marks on the frame where the chip or the network in use is; a legend entry."""
    found = []
    for axis, values, side in ((x, columns, "x"), (y, rows, "y")):
        for value, row in selection.present(space, axis):
            if not min(values) <= value <= max(values):
                continue
            at = float(np.interp(value, values, np.arange(len(values)) + 0.5)) if len(values) > 1 else 0.5
            spot = ((at,), (0.03 * len(rows),)) if side == "x" else ((0.015 * len(columns),), (at,))
            mark = {"marker": "^" if side == "x" else ">", "ms": 7, "mfc": "white", "mec": "black", "ls": ""}
            (line,) = ax.plot(*spot, zorder=6, label=f"present: {row}", **mark)
            found.append(line)
    ax.set_xlim(0, len(columns))
    ax.set_ylim(0, len(rows))
    return found


def _axes(space, x, y, at):
    """The two axes: as given, else the longest that are free."""
    named = at if isinstance(at, dict) else {}
    long = sorted((a for a in space.axes if a not in named), key=lambda a: -space.sizes[a])
    for what, axis in (("x", x), ("y", y)):
        if axis is not None:
            selection.axis_of(space, axis, what)
            if axis in named:
                raise InputError(f"at: {axis}: is {what} too; expected another axis")
    rest = [axis for axis in long if axis not in (x, y)]
    if (x is None) + (y is None) > len(rest):
        raise InputError(f"plot heatmap: {len(long)} free axes; expected at least two")
    x = rest.pop(0) if x is None else x
    y = rest.pop(0) if y is None else y
    if x == y:
        raise InputError(f"y: {y!r} is x too; expected another axis")
    return x, y


def _refused(ax, results, mask, x, y, empty, part):
    """Hatch the cells without a feasible point by the constraint that refuses most of them; legend entries."""
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    counts = {name: n[part] for name, n in refusals(results, mask, x, y).items()}
    names, counts = list(counts), list(counts.values())
    most = np.argmax(counts, axis=0)
    empty = empty & (np.max(counts, axis=0) > 0)  # else no point is there
    handles = []
    for hatch, i in zip(HATCHES, [i for i in range(len(names)) if (empty & (most == i)).any()]):
        here = np.argwhere(empty & (most == i))
        corners = [[(c, r), (c + 1, r), (c + 1, r + 1), (c, r + 1)] for r, c in here]
        style = {"facecolor": "#F0F0F0", "edgecolor": "#8C8C8C", "linewidth": 0.0, "hatch": hatch}
        ax.add_collection(PolyCollection(corners, label=names[i], **style), autolim=False)
        n = f"{len(here)} cell{'s' if len(here) > 1 else ''}"
        words = f"no feasible point; most are refused by {names[i].removeprefix('ok_')} ({n})"
        handles.append(Patch(label=words, **style))
    return handles


def refusals(results, mask, x, y):
    """{constraint: points of `mask` in each cell (row, column) that it refuses}."""
    order, found = list(results.space.axes), {}
    across = tuple(i for i, axis in enumerate(order) if axis not in (x, y))
    for name, one in selection.refusing(results).items():
        sums = (np.broadcast_to(one, mask.shape) & mask).sum(axis=across)
        found[name] = sums if order.index(y) < order.index(x) else sums.T
    return found


def _axis(axis, ds, name, values):
    """Cells of equal size, one tick per value where there is room."""
    places = np.array(canvas.few(values, 24))
    axis.set_ticks(places + 0.5, labels=[_text(ds, name, values[i]) for i in places])
    unit = ds[name].attrs.get("units", "1")  # at the ticks where it scales
    axis.set_label_text(canvas.label(name, ds[name].attrs, "" if unit == "1" or unit in canvas.SCALED else unit))
    axis.set_tick_params(length=0)
    for side in ("left", "bottom"):
        axis.axes.spines[side].set_visible(False)


def _written(ax, cells, colours):
    """Values inside the cells where there are few of them, dark on light and light on dark."""
    if cells.size > MOST_WRITTEN or cells.shape[1] > 16:
        return
    for (row, column), value in np.ndenumerate(cells.filled(np.nan)):
        if np.isfinite(value):
            dark = colours.norm(value) < 0.6
            words = significant(value, 3)
            ax.text(
                column + 0.5, row + 0.5, words, ha="center", va="center", fontsize=7, color="white" if dark else "black"
            )
