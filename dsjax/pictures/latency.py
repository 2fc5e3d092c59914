"""Time to the first token and per token of servers against their load, with the knee: the last load within limits."""

import dataclasses
import textwrap

import numpy as np

from ..errors import InputError
from ..search import ranking
from ..space.space import LOADS
from ..specs.variables import PERCENTILES
from . import canvas, response_curves, selection
from .labels import Note, annotate_curves

RATE, MOST = "requests_per_s_served", "requests_per_s_max"
TIMES = ("ttft", "tpot")  # a panel each
MARKED, OUTER = "p90", ("p50", "p99")  # percentile with a marker at every load, and those around it
NAMES = tuple(f"{time}_{of}" for time in TIMES for of in ("mean", *PERCENTILES))
MOST_SERVERS = 4  # of four lines each
CUT = 20.0  # times the largest time within limits: the height of a panel
APART = 8.0  # times the smallest capacity: rates on a logarithmic axis
COLUMNS = 34  # of a text in the legend
WIDE, THIN, DASHED, CAPACITY = 1.8, 0.8, (0, (4, 2)), (0, (6, 1.5, 1, 1.5))
RING = {"ls": "", "marker": "o", "ms": 11, "mfc": "none", "mec": "black", "mew": 1.3}


@dataclasses.dataclass(frozen=True)
class Server:
    """One configuration at every load that it can bear, in the order of the loads."""

    label: str  # of its group
    point: dict  # {axis: value} of the load that is the best
    x: list  # loads
    feasible: np.ndarray  # False: only what the grid asks for refuses it
    values: dict  # {variable: array}
    refused_beyond: bool  # a load after the last feasible one is refused

    @property
    def last(self):
        """Index of the last load that nothing refuses; None where every one is refused."""
        return int(np.flatnonzero(self.feasible)[-1]) if self.feasible.any() else None


@dataclasses.dataclass(frozen=True)
class Loads:
    """What the picture shows."""

    load: str  # axis
    by: tuple
    best: str  # the variable that the servers are the best of
    chosen: dict  # {axis: value}
    servers: list
    count: int  # groups there are
    others: list  # axes that the best is taken over
    apart: list  # of them, those in which the servers differ
    said: list  # of them and of what the groups are, in words
    says: str


def gather(results, at=None, by=None, of=None):
    """`Loads` of results."""
    space = results.space
    load = _load(space)
    by = tuple(name for name in selection.groups(space, by) if name != load)
    of = selection.objective(space, of)
    cut, chosen, mask = selection.restricted(results, at, (load,), by)
    servers, count = _servers(cut, mask, load, by, of)
    if not servers:
        raise selection.nothing(results, mask)
    others = selection.free(space, (load, *by, *chosen))
    apart = [axis for axis in others if len({server.point[axis] for server in servers}) > 1]
    best = (of or space.objective).removeprefix("-")
    said = [f"Each group: the server with the best {best} over {', '.join(others)}"] if others else []
    if alike := named(servers[0], [axis for axis in others if axis not in apart]):
        said[0] += f"; {'all ' * (len(servers) > 1)}with {alike}"
    said = [f"{words}." for words in said]
    said += [f"The best {len(servers)} of {count} groups."] if count > len(servers) else []
    return Loads(load, by, best, chosen, servers, count, others, apart, said, _conclusion(servers, load))


def draw(figure, results, at=None, by=None, of=None):
    """Draw the best server of every group at all loads; returns the last loads that meet the limits."""
    ds, space, found = results.ds, results.space, gather(results, at, by, of)
    load, by, servers, apart = found.load, found.by, found.servers, found.apart

    panels = [figure.add_subplot(len(TIMES), 1, i + 1) for i in range(len(TIMES))]
    legends, limits, cut_at = [_groups(servers, apart), _meanings(servers)], [], []
    for panel, time, legend in zip(panels, TIMES, legends):
        panel.set_yscale("log")
        highest = longest(space, servers, time)
        factor, unit = canvas.scale("s", highest)
        under = response_curves.hidden(servers, f"{time}_{MARKED}", True)
        for i, server in enumerate(servers):
            _curves(panel, server, time, factor, i, under[i])
        limits = _limits(panel, space, time, factor)
        if any(server.values[f"{time}_p99"].max() > CUT * highest for server in servers):
            panel.set_ylim(top=CUT * factor * highest)
            cut_at.append(f"{time.upper()} above {canvas.quantity('s', CUT * highest)}")
        _axes(panel, ds, time, unit, servers, panel is panels[-1])
        canvas.legend(panel, [*legend, *limits], ", ".join(by) or None if legend is legends[0] else None)
    said = [*found.said]
    said += [f"Not shown: {' and '.join(cut_at)}."] if cut_at else []
    said += [f"Numbers at the points: {load}, where there is room."] if load == "concurrency" else []
    says = found.says
    canvas.titles(figure, panels[0], says, " ".join((f"{space.title}.", *said)), selection.fixed(space, found.chosen))
    if load == "concurrency":
        notes = [_notes(server, factor, i) for i, server in enumerate(servers)]
        annotate_curves(panels[-1], notes, limits)
    return says


def _load(space):
    """The axis that is the load of servers."""
    if not space.study.requests:
        raise InputError(
            f"plot latency: phase {', '.join(space.phases)} has no requests; expected phase serve or disaggregated"
        )
    loads = [name for name in LOADS["serve"] if name in space.axes]
    if not loads:
        raise InputError(
            f"plot latency: {' or '.join(LOADS['serve'])} is not an axis; expected one of the two as an axis"
        )
    return loads[0]


def _servers(results, mask, load, by, of):
    """([`Server`] to show, groups there are): the best of every group by the objective, and the best groups.

    Of a group without a feasible point it is the best of those that only what the grid asks for refuses.
    """
    space, found = results.space, {}
    bounded = selection.refused_by_bounds(results) & mask
    for some in (results, results.with_feasible(bounded)):
        ranked = ranking.best(some, by=by, objective=of)
        columns = {axis: ranked[axis].broadcast_like(ranked["rank"]).values.tolist() for axis in space.axes}
        columns |= {name: ranked[name].broadcast_like(ranked["rank"]).values.tolist() for name in by}
        for i, label in enumerate(selection.labels(ranked, by)):
            found.setdefault(label, {name: column[i] for name, column in columns.items()})

    def place(label):
        return selection.place(space, {name: found[label][name] for name in by})

    shown = sorted(list(found)[:MOST_SERVERS], key=place)
    return [_server(results, bounded, load, label, found[label]) for label in shown], len(found)


def _server(results, bounded, load, label, point):
    """The `Server` of a group at this point of all axes but the load."""
    axes = results.space.axes
    where = tuple(slice(None) if axis == load else axes[axis].index(point[axis]) for axis in axes)

    def along(array):
        return np.broadcast_to(array, results.shape)[where]

    feasible = along(results.in_grid_order("feasible"))
    kept, met = feasible | along(bounded), np.flatnonzero(feasible)
    return Server(
        label=label,
        point=point,
        x=[value for value, keep in zip(axes[load], kept) if keep],
        feasible=feasible[kept],
        values={name: along(results.in_grid_order(name))[kept] for name in (*NAMES, RATE, MOST)},
        refused_beyond=bool(len(met)) and int(met[-1]) + 1 < len(feasible),
    )


def _curves(ax, server, time, factor, i, under):
    """Percentiles, mean and capacity of one server, its refused loads, and the knee.

    `under`: curves on top of this one, which shows on both sides of them.
    """
    colour, xs = canvas.COLOURS[i], server.values[RATE]
    ys = {of: factor * server.values[f"{time}_{of}"] for of in ("mean", *PERCENTILES)}
    ax.fill_between(xs, *(ys[of] for of in OUTER), color=colour, alpha=0.12, lw=0, zorder=1)
    for of in OUTER:
        ax.plot(xs, ys[of], color=colour, lw=THIN, label=f"_{server.label} {of}")
    ax.plot(xs, ys["mean"], color=colour, lw=1.0, ls=DASHED, label=f"_{server.label} mean")
    style = {"color": colour, "marker": canvas.MARKERS[i], "ms": 4.5 + 1.5 * under, "zorder": 3}
    ax.plot(xs, ys[MARKED], lw=WIDE + 1.2 * under, **style, label=f"_{server.label} {MARKED}")
    refused = ~server.feasible
    ax.plot(xs[refused], ys[MARKED][refused], ls="", mfc="white", **style, label=f"_{server.label} refused")
    if server.refused_beyond:
        at = server.last
        ax.plot(xs[at], ys[MARKED][at], **RING, zorder=5, label=f"_{server.label} knee")
    ax.axvline(server.values[MOST].max(), color=colour, lw=1.0, ls=CAPACITY, zorder=2, label=f"_{server.label} most")


def limits_on(space, time):
    """[(seconds, words)] of what the grid asks of the times of a panel."""
    names = [f"{time}_{of}" for of in ("mean", *PERCENTILES)]
    return [found for name in (time, *names) for found in selection.bounds(space, name, "s")]


def _limits(ax, space, time, factor):
    """Lines of what the grid asks of the times of a panel."""
    style = {"color": canvas.GREY, "ls": ":", "lw": 1.3, "zorder": 2}
    return [ax.axhline(factor * value, label=words, **style) for value, words in limits_on(space, time)]


def _axes(ax, ds, time, unit, servers, last):
    """Scale across, ticks and labels of a panel; only the last one is written under."""
    capacities = [server.values[MOST].max() for server in servers]
    if max(capacities) > APART * min(capacities):
        ax.set_xscale("log")
    else:
        ax.set_xlim(left=0.0)
    canvas.numbers(ax.xaxis, ax.get_xscale() == "log")
    canvas.numbers(ax.yaxis, log=True)
    ax.set_ylabel(f"{time.upper()} [{unit}]")
    if last:
        ax.set_xlabel(canvas.label(RATE, ds[RATE].attrs, ds[RATE].attrs["units"]))
    else:
        ax.tick_params(labelbottom=False)


def longest(space, servers, time):
    """The longest time that matters: of a load that nothing refuses, or a limit; of any where every load is refused."""
    of_all = [server.values[f"{time}_p99"] for server in servers]
    met = [times[server.feasible] for times, server in zip(of_all, servers)]
    asked = [value for value, _ in limits_on(space, time)]
    return max(*asked, *(x.max() for x in (met if any(map(len, met)) else of_all) if len(x)), 0.0)


def _notes(server, factor, i):
    """The loads, at the points of the lower panel."""
    ys = factor * server.values[f"{TIMES[-1]}_{MARKED}"]
    return [Note(x, y, canvas.text(n), canvas.COLOURS[i]) for x, y, n in zip(server.values[RATE], ys, server.x)]


def named(server, axes):
    """What was chosen of some axes, as text."""
    values = [(axis, server.point[axis]) for axis in axes]
    said = [v if isinstance(v, str) and "_" not in axis else f"{axis} {canvas.text(v)}" for axis, v in values]
    return ", ".join(said)


def _groups(servers, axes):
    """Legend entries of the servers, with what was chosen of `axes`, in which they differ."""
    found = []
    for i, server in enumerate(servers):
        words = textwrap.fill(named(server, axes), COLUMNS)
        style = {"color": canvas.COLOURS[i], "marker": canvas.MARKERS[i], "ms": 4.5, "lw": WIDE}
        found.append(_key("\n".join(filter(None, (server.label, words))), **style))
    return found


def _meanings(servers):
    """Legend entries of what the lines are."""
    grey = {"color": canvas.GREY}
    found = [
        _key(f"{MARKED} of requests", lw=WIDE, **grey),
        _key(" and ".join(OUTER), lw=THIN, **grey),
        _key("mean", lw=1.0, ls=DASHED, **grey),
        _key("most that it can take", lw=1.0, ls=CAPACITY, **grey),
    ]
    if any(not server.feasible.all() for server in servers):
        found.append(_key("refused by a limit", ls="", marker="o", ms=4.5, mfc="white", **grey))
    if any(server.refused_beyond for server in servers):
        found.append(_key("last load within all limits", **RING))
    return found


def _key(label, **style):
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **style)


def _conclusion(servers, load):
    """The last load of every server that meets all limits, as one line."""
    parts = []
    for server in servers:
        if server.last is None:
            parts.append(f"{server.label}: at none")
            continue
        rate, most = (float(server.values[name][server.last]) for name in (RATE, MOST))
        more = "" if server.refused_beyond else ", the largest"
        at = f" at {load} = {canvas.text(server.x[server.last])}{more}" if load == "concurrency" else more
        parts.append(f"{server.label}: {rate:,.4g} requests/s{at}, {100.0 * rate / most:.0f} % of the most")
    return f"last load within all limits: {'; '.join(parts)}"
