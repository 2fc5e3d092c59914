"""Pareto fronts, before the feasible points, thinned."""

import numpy as np

from ...pages import parts, vega
from .. import pareto, selection
from . import marks

CELLS = (140, 90)  # across and up: of the points in one cell one is drawn


def chart(results, at=None, x=None, y=None, by=None):
    """`parts.Chart` of the picture "pareto"."""
    f = pareto.gather(results, at, x, y, by)
    ds, space, names = f.ds, f.space, (f.x, f.y)
    flat, values = pareto.thinned(ds, space, f.flat, names, CELLS)
    kept = [i for i, label in enumerate(f.of) if label in f.shown]
    front = f.front.isel(rank=kept)
    at_front = [np.broadcast_to(front[name].values, len(kept)) for name in names]
    (fx, title_x), (fy, title_y) = (marks.scaled(ds, n, float(v.max())) for n, v in zip(names, at_front, strict=True))
    log_x, log_y = (marks.wide(v) for v in at_front)

    datasets, fields = {}, {}
    for name, places, (us, vs) in (("points", flat, values), ("front", marks.flat_of(space, front), at_front)):
        columns, fields[name] = marks.hovers(ds, space, places, names)
        datasets[name] = {"x_": (fx * us).tolist(), "y_": (fy * vs).tolist()} | columns
    datasets["front"]["group_"] = [f.of[i] for i in kept]
    across = vega.number("x_", title_x, log=log_x, zero=False)
    up = vega.number("y_", title_y, log=log_y, zero=not log_y)
    grouped = vega.colour("group_", f.shown, title=f"front per {', '.join(f.by)}" if f.by else "front")
    point = {"type": "point", "filled": True}
    layers = [
        vega.layer("points", point | {"size": 14, "color": vega.FAINT}, fields["points"], x=across, y=up),
        vega.layer("front", {"type": "line", "strokeWidth": 2}, x=across, y=up, color=grouped),
        vega.layer("front", point | {"size": 55, "opacity": 1}, fields["front"], x=across, y=up, color=grouped),
    ]
    for side, name, factor, of in (("x", f.x, fx, values[0]), ("y", f.y, fy, values[1])):
        units = ds[name].attrs["units"]
        bounds = [b for b in selection.bounds(space, name, units) if len(of) and b[0] <= 1.5 * max(of)]
        more, lines = marks.limits("limits", side, units, factor, bounds)
        datasets, layers = datasets | more, layers + lines
    note = f"Grey: feasible points, of which {len(flat):,} are drawn. Dashed: limits."
    return parts.Chart(
        f"Pareto front of {f.y} and {f.x}",
        f"{f.says}.",
        [vega.spec(datasets, layers, 380)],
        note,
        marks.fixed(space, f.chosen),
    )
