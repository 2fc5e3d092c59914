"""A variable over two axes, the best over the others; the cells without a feasible point say what refuses them."""

import numpy as np

from ...formats import label
from ...pages import parts, vega
from .. import heatmap
from . import marks

MOST_REASONS = 4  # constraints that a cell names


def chart(results, at=None, of=None, x=None, y=None, between=None):
    """`parts.Chart` of the picture "heatmap"."""
    m = heatmap.gather(results, at, of, x, y, between)
    results = m.results
    ds, space = results.ds, results.space
    across, up = ([label(v, ds[a].attrs.get("units", "1")) for v in space.axes[a]] for a in (m.x, m.y))
    factor, title = marks.scaled(ds, m.name, float(np.nanmax(np.abs(m.values))))
    columns, fields = marks.hovers(ds, space, marks.flat_of(space, m.ranked), [m.name])
    cells = {"x_": [across[c] for _, c in m.where], "y_": [up[r] for r, _ in m.where]}
    cells |= {"value_": (factor * m.values).tolist()} | columns

    counts = heatmap.refusals(results, m.mask, m.x, m.y)
    points = np.broadcast_to(m.mask, results.shape).sum() // (len(across) * len(up))
    refused = {"x_": [], "y_": [], "most_": [], "why_": []}
    for row, column in np.ndindex(len(up), len(across)):
        here = sorted(((int(n[row, column]), name) for name, n in counts.items() if n[row, column]), reverse=True)
        if (row, column) not in m.where and here:
            refused["x_"].append(across[column])
            refused["y_"].append(up[row])
            refused["most_"].append(here[0][1])
            refused["why_"].append(", ".join(f"{name} {n:,}" for n, name in here[:MOST_REASONS]))
    refused["of_"] = [f"{int(points):,}"] * len(refused["x_"])
    numeric = not isinstance(space.axes[m.y][0], str)
    axis_x = vega.names("x_", m.x, across)
    axis_y = vega.names("y_", m.y, up[::-1] if numeric else up)
    reasons = list(dict.fromkeys(refused["most_"]))
    why = [("x_", m.x), ("y_", m.y), ("why_", "refused by"), ("of_", "points of the cell")]
    shape = {
        "field": "most_",
        "type": "nominal",
        "scale": {"domain": reasons},
        "legend": {"title": "no feasible point: most refused by"},
    }
    legend = {"title": title, "tickCount": 4, "direction": "horizontal"}
    value = {"field": "value_", "type": "quantitative", "scale": {"scheme": "viridis"}, "legend": legend}
    best = {name: values[:1] for name, values in cells.items()}
    datasets = {"cells": cells, "refused": refused, "best": best}
    layers = [vega.layer("cells", {"type": "rect"}, fields, x=axis_x, y=axis_y, color=value)]
    if reasons:
        sign = {"type": "point", "size": 26, "color": vega.GREY, "strokeWidth": 1}
        layers.append(vega.layer("refused", {"type": "rect", "color": vega.REFUSED}, why, x=axis_x, y=axis_y))
        layers.append(vega.layer("refused", sign, why, x=axis_x, y=axis_y, shape=shape))
    frame = {"type": "rect", "filled": False, "stroke": vega.INK, "strokeWidth": 2.5}
    layers.append(vega.layer("best", frame, fields, x=axis_x, y=axis_y))
    over = f"Each cell: the best feasible one over {', '.join(m.others)}. " if m.others else ""
    note = f"{over}Point at a cell for its value, at a refused one for how many points each constraint refuses."
    spec = vega.spec(datasets, layers, max(160, min(460, 30 * len(up))))
    heading, fixed = f"{m.name} over {m.x} and {m.y}", marks.fixed(space, m.chosen)
    return parts.Chart(heading, f"Framed: {m.says}.", [spec], note, fixed)
