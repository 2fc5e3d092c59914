"""Time to the first token and per token of servers against their load, with the last load within limits."""

from ...formats import label, quantity
from ...pages import parts, vega
from ...specs.variables import PERCENTILES
from .. import canvas, latency
from . import marks


def chart(results, at=None, by=None, of=None):
    """`parts.Chart` of the picture "latency": one specification for each time."""
    ds, space, found = results.ds, results.space, latency.gather(results, at, by, of)
    specs = [_panel(ds, space, found, time) for time in latency.TIMES]
    said = " ".join(found.said)
    note = (
        f"{said} Line: {latency.MARKED} of requests, in a band from {' to '.join(latency.OUTER)}. Hollow: refused by a "
    )
    note += "limit. Ring: last load within all limits. Dashed: limits."
    fixed = marks.fixed(space, found.chosen)
    return parts.Chart("Latency against load", f"{found.says}.", specs, note.strip(), fixed)


def _panel(ds, space, found, time):
    longest = latency.longest(space, found.servers, time)
    factor, unit = canvas.scale("s", longest)
    cut = latency.CUT * longest
    labels = [_label(server, found.apart) for server in found.servers]
    names = [f"{time}_{of}" for of in ("mean", *PERCENTILES)]
    keys = ("x_", "y_", "low_", "high_", "group_", "load_", "rate_", "share_", "state_", *names)
    columns: dict = {key: [] for key in keys}
    rings: dict = {key: [] for key in keys}
    for name, server in zip(labels, found.servers, strict=True):
        most = float(server.values[latency.MOST].max())
        for i, load in enumerate(server.x):
            rate = float(server.values[latency.RATE][i])
            times = {n: float(server.values[n][i]) for n in names}
            if times[f"{time}_{latency.MARKED}"] > cut:
                continue
            low, high = (min(factor * times[f"{time}_{of}"], factor * cut) for of in latency.OUTER)
            state = "within all limits" if server.feasible[i] else "refused by a limit"
            told = (
                label(load, ds[found.load].attrs.get("units", "1")),
                quantity(rate, "1/s"),
                f"{rate / most:.1%}",
                state,
            )
            row = (rate, factor * times[f"{time}_{latency.MARKED}"], low, high, name, *told)
            for key, cell in zip(keys, (*row, *(quantity(times[n], "s") for n in names)), strict=True):
                columns[key].append(cell)
                if server.refused_beyond and i == server.last:
                    rings[key].append(cell)
    fields = [("group_", "server"), ("load_", found.load), ("rate_", latency.RATE), ("share_", "of the most it takes")]
    fields += [*((n, n) for n in names), ("state_", "")]
    rates = [float(server.values[latency.MOST].max()) for server in found.servers]
    title = canvas.label(latency.RATE, ds[latency.RATE].attrs, "1/s", 2).split("\n")
    log = max(rates) > latency.APART * min(rates)
    across = vega.number("x_", title, log=log, zero=not log)
    up = vega.number("y_", f"{time.upper()} [{unit}]", log=True)
    grouped = vega.colour("group_", labels, title=", ".join(found.by) or None)
    where = {"x": across, "y": up, "color": grouped}
    dot, met = {"type": "point", "size": 50}, "within all limits"
    band = {"type": "area", "opacity": 0.16}
    low, high = {"field": "low_", "type": "quantitative"}, {"field": "high_"}
    ring = {"type": "point", "filled": False, "size": 160, "stroke": vega.INK, "strokeWidth": 1.6}
    datasets, dots = marks.dots("dots", columns, dot, fields, "state_", met, **where)
    layers = [
        vega.layer("servers", band, x=across, y=up | low, y2=high, color=grouped),
        vega.layer("servers", {"type": "line", "strokeWidth": 2}, **where),
        *dots,
        vega.layer("rings", ring, fields, x=across, y=up),
    ]
    bounds = [b for b in latency.limits_on(space, time) if b[0] <= cut]
    more, lines = marks.limits("limits", "y", "s", factor, bounds)
    return vega.spec(datasets | {"servers": columns, "rings": rings} | more, layers + lines, 260)


def _label(server, apart):
    return ", ".join(filter(None, (server.label, latency.named(server, apart))))
