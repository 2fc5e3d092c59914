"""What charts share: texts of points for hover, lines of limits, the words above and below a chart."""

import numpy as np

from ...formats import label, quantity
from ...pages import vega
from ...search import ranking
from ...specs.variables import WORDED
from .. import canvas, selection

# Beside what a chart shows, on hover, where the space has it.
BESIDE = ("tps_per_user", "tps_per_chip", "tpot_p90", "ttft_p90", "tpot", "ttft", "memory_per_chip")
BESIDE += ("cost_per_million_tokens", "utilisation", "bottleneck", "outside_validity")
LINE = {"type": "rule", "strokeDash": [6, 4], "strokeWidth": 1.3, "color": vega.GREY}


def hovers(ds, space, flat, names=()):
    """({column: texts}, [(column, title)]) of points at flat indices: axes that vary, variables `names`, the usual."""
    at = dict(zip(space.axes, np.unravel_index(np.asarray(flat, int), tuple(space.sizes.values()))))
    n = len(flat)
    columns = {}
    for axis, places in at.items():
        if space.sizes[axis] > 1:
            units = ds[axis].attrs.get("units", "1")
            texts = [label(value, units) for value in space.axes[axis]]
            columns[axis] = [texts[i] for i in places]
    for name in dict.fromkeys([*names, *(name for name in BESIDE if name in ds)]):
        columns[name] = texts_of(name, ds[name].attrs, ranking.values_at(ds, name, at, n))
    if "outside_validity" in columns and not any(columns["outside_validity"]):
        del columns["outside_validity"]
    return columns, [(name, name) for name in columns]


def texts_of(name, attrs, values):
    """Values of a variable as a reader writes them, with their unit; flags in words."""
    if name in WORDED:
        return [WORDED[name][int(v)].replace("_", " ") for v in values]
    units = attrs.get("units", "1")
    return [quantity(float(v), units) for v in values]


def flat_of(space, ranked):
    """Flat indices of points over rank."""
    at = []
    for axis, values in space.axes.items():
        place = {value: i for i, value in enumerate(values)}
        at.append([place[v] for v in np.broadcast_to(ranked[axis].values, ranked.sizes["rank"]).tolist()])
    return np.ravel_multi_index(at, tuple(space.sizes.values()))


def limits(data, side, units, factor, found):
    """(datasets, layers) of lines of the limits [(value, words)] on the variable along `side`, "x" or "y"."""
    if not found:
        return {}, []
    name = f"{data}_{side}"
    columns = {"at": [factor * value for value, _ in found], "limit": [words for _, words in found]}
    encoding = {side: {"field": "at", "type": "quantitative"}}
    return {name: columns}, [vega.layer(name, LINE, [("limit", "limit")], **encoding)]


def scaled(ds, name, largest):
    """(factor, title of an axis) in the unit in which a variable of this size reads best."""
    factor, unit = canvas.scale(ds[name].attrs.get("units", "1"), largest)
    return factor, canvas.label(name, ds[name].attrs, unit, 2).split("\n")


def wide(values):
    """Whether positive values span more than a factor of 30: a logarithmic axis."""
    values = [v for v in values if np.isfinite(v)]
    return bool(values) and min(values) > 0.0 and max(values) > 30.0 * min(values)


def fixed(space, chosen=()):
    """What does not vary, as a sentence."""
    return f"{selection.fixed(space, chosen)}."


def dots(data, columns, mark, fields, state, met, **where):
    """(datasets, layers) of points: full where the column `state` is `met`, hollow where it is not."""
    datasets, layers = {}, []
    for kind, own in (("full", mark | {"filled": True}), ("hollow", mark | {"filled": False, "strokeWidth": 1.3})):
        kept = [i for i, x in enumerate(columns[state]) if (x == met) == (kind == "full")]
        datasets[f"{data}_{kind}"] = {name: [values[i] for i in kept] for name, values in columns.items()}
        layers.append(vega.layer(f"{data}_{kind}", own | {"opacity": 1}, fields, **where))
    return datasets, layers
