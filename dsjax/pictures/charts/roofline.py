"""The roofline of a chip with the operators of one configuration under it."""

from ...formats import quantity
from ...formulas.metrics import LIMITS
from ...pages import parts, vega
from .. import roofline
from . import marks

NAMED = 8  # operators whose name is written beside them


def chart(results, at=None):
    """`parts.Chart` of the picture "roofline"."""
    return shown(results.space, roofline.gather(results, at))


def shown(space, r):
    """The same of a `roofline.Roofline`."""
    names = r.one["block"].values[r.on].tolist()
    share, seconds = r.share[r.on], r.one["block_time"].values[r.on]
    points = {
        "x_": r.intensity.tolist(),
        "y_": r.achieved.tolist(),
        "size_": share.tolist(),
        "limit_": [LIMITS[i] for i in r.limits],
        "block_": names,
        "time_": [quantity(float(s), "s") for s in seconds],
        "share_": [f"{s:.1%}" for s in share],
        "intensity_": [f"{x:,.4g} FLOP/B" for x in r.intensity],
        "rate_": [quantity(float(x), "FLOP/s", 4) for x in r.achieved],
    }
    top = sorted(range(len(names)), key=lambda i: -share[i])[:NAMED]
    labels = {key: [points[key][i] for i in top] for key in ("x_", "y_", "block_")}
    highest = max(r.peaks.values())
    ends = 0.4 * float(r.intensity.min()), 3.0 * max(float(r.intensity.max()), highest / r.bandwidth)
    roofs = {"x_": [ends[0], highest / r.bandwidth], "y_": [ends[0] * r.bandwidth, highest]}
    words = [f"memory {quantity(r.bandwidth, 'B/s', 4)}"] * 2
    for rate, peak in sorted(r.peaks.items(), key=lambda item: -item[1]):
        roofs["x_"] += [peak / r.bandwidth, ends[1]]
        roofs["y_"] += [peak, peak]
        words += [f"{rate} {quantity(peak, 'FLOP/s', 4)}, ridge {peak / r.bandwidth:,.0f} FLOP/B"] * 2
    roofs["roof_"] = words
    whole = {"x_": [r.whole[0]], "y_": [r.whole[1]], "what_": ["whole step"]}
    whole["rate_"], whole["intensity_"] = [quantity(r.whole[1], "FLOP/s", 4)], [f"{r.whole[0]:,.4g} FLOP/B"]
    low = 0.5 * min(*points["y_"], r.whole[1])
    across = vega.number("x_", "needed flops / needed bytes [FLOP/B]", log=True, scale={"domain": list(ends)})
    across["axis"] |= {"tickCount": 6}
    ends = {"domain": [low, 2.2 * highest]}
    up = vega.number("y_", ["needed flops /", "time of the operator [FLOP/s]"], log=True, si=True, scale=ends)
    up["axis"] |= {"tickCount": 5}
    fields = [("block_", "operator"), ("time_", "time, all layers"), ("share_", "share"), ("limit_", "bound by")]
    fields += [("rate_", "reached"), ("intensity_", "intensity")]
    limits = [x for x in LIMITS if x in points["limit_"]]
    bound = vega.colour("limit_", limits, [vega.LIMIT_COLOURS[x] for x in limits], "operator bound by")
    size = {"field": "size_", "type": "quantitative", "scale": {"range": [20, 900]}, "legend": None}
    line = {"type": "line", "color": vega.INK, "strokeWidth": 1.5}
    roof = {"field": "roof_", "type": "nominal", "legend": {"title": "roof"}}
    text = {"type": "text", "align": "left", "dx": 8, "dy": -8, "color": vega.INK}
    dot = {"type": "point", "filled": True, "opacity": 0.8}
    star = {"type": "point", "shape": "diamond", "filled": True, "size": 110, "color": vega.INK, "opacity": 1}
    told = [("what_", ""), ("rate_", "reached"), ("intensity_", "intensity")]
    layers = [
        vega.layer("roofs", line, x=across, y=up, strokeDash=roof),
        vega.layer("points", dot, fields, x=across, y=up, color=bound, size=size),
        vega.layer("whole", star, told, x=across, y=up),
        vega.layer("labels", text, x=across, y=up, text={"field": "block_", "type": "nominal"}),
    ]
    others = r.one["block"].values[~r.on & (r.share > 0.0)]
    rest = f" Without flops or bytes: {', '.join(others)}, {r.share[~r.on].sum():.0%} of the time."
    note = f"Area: share of the time before overlap. Diamond: the whole step.{rest if len(others) else ''}"
    datasets = {"roofs": roofs, "points": points, "whole": whole, "labels": labels}
    spec = vega.spec(datasets, layers, 380)
    return parts.Chart(f"Roofline of {r.hardware}", f"{r.says}.", [spec], note, marks.fixed(space))
