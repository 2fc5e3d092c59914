"""Parts of the time of a step: stacked bars of the best configuration of every group."""

import numpy as np

from ...formats import quantity
from ...pages import parts, vega
from .. import breakdown, canvas, selection
from . import marks


def chart(results, at=None, by=None, of=None, blocks=False):
    """`parts.Chart` of the picture "breakdown"."""
    ds, space = results.ds, results.space
    b = breakdown.gather(results, at, by, of, blocks)
    labels = _distinct(selection.labels(b.ranked, b.by))
    sums = np.sum(list(b.parts.values()), axis=0)
    factor, unit = canvas.scale("s", float(max(sums.max(), b.steps.max())))
    told = {"bar_": labels} | marks.hovers(ds, space, marks.flat_of(space, b.ranked))[0]
    keys = ("bar_", "part_", "seconds_", "order_", "time_", "share_")
    table: dict = {name: [] for name in (*keys, *told)}
    for i, (part, seconds) in enumerate(b.parts.items()):
        for bar, label in enumerate(labels):
            row = (label, part, factor * float(seconds[bar]), i, quantity(float(seconds[bar]), "s"))
            for name, value in zip(keys, (*row, f"{seconds[bar] / sums[bar]:.1%}"), strict=True):
                table[name].append(value)
            for name, texts in told.items():
                if name != "bar_":
                    table[name].append(texts[bar])
    fields = [("part_", "part"), ("time_", "time"), ("share_", "share"), *((n, n) for n in told if n != "bar_")]
    palette = (*vega.COLOURS[: len(b.parts) - 1], vega.FAINT) if blocks else tuple(vega.LIMIT_COLOURS.values())
    what = "time of the blocks of a step, all layers, before overlap" if blocks else "critical path of one step"
    encoding = {
        "x": vega.number("seconds_", f"{what} [{unit}]", zero=True, stack="zero"),
        "y": vega.names("bar_", None, labels),
        "color": vega.colour("part_", list(b.parts), palette, "block" if blocks else "critical path on"),
        "order": {"field": "order_", "type": "quantitative"},
    }
    layers = [vega.layer("bars", {"type": "bar", "height": {"band": 0.7}}, fields, **encoding)]
    steps = {"bar_": labels, "step_": (factor * b.steps).tolist(), "time_": [quantity(float(s), "s") for s in b.steps]}
    tick = {"type": "tick", "color": vega.INK, "thickness": 2, "height": {"band": 0.9}, "orient": "vertical"}
    layers.append(
        vega.layer(
            "steps",
            tick,
            [("time_", "step time")],
            x=encoding["x"] | {"field": "step_", "stack": None},
            y=encoding["y"],
        )
    )
    bars = f"One bar per {', '.join(b.by)}: its" if b.by else "The"
    few = f" Best {len(labels)} of {b.count} groups." if b.count > len(labels) else ""
    note = f"{bars} feasible configuration with the best {b.name}, best first.{few} Tick: time of a step."
    spec = vega.spec({"bars": table, "steps": steps}, layers, 40 + 34 * len(labels))
    return parts.Chart("Where a step spends its time", f"{b.says}.", [spec], note, marks.fixed(space, b.chosen))


def _distinct(labels):
    """Labels, those that come twice numbered."""
    return [x if labels.count(x) == 1 else f"{x} ({labels[:i].count(x) + 1})" for i, x in enumerate(labels)]
