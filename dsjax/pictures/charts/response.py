"""Variables of the best configuration along one axis, or along a number that is moved."""

from ...formats import quantity
from ...pages import parts, vega
from .. import response, selection
from . import marks


def chart(results, at=None, x=None, y=None, by=None, of=None, until=None, between=None):
    """`parts.Chart` of the picture "response": one specification per variable."""
    r = response.gather(results, at, x, y, by, of, until, between)
    specs = [_panel(results.ds, results.space, r, name) for name in r.names]
    return parts.Chart(f"Along {r.x}", f"{r.says}.", specs, r.over, marks.fixed(results.space, r.chosen))


def _panel(ds, space, r, name):
    units = ds[name].attrs["units"]
    every = [v for curve in r.shown.values() for v in curve.values[name]]
    factor, title = marks.scaled(ds, name, max(every))
    log = min(every) > 0.0 and max(every) > 50.0 * min(every)
    columns: dict = {key: [] for key in ("x_", "y_", "group_", "at_", "value_", "state_")}
    for label, curve in r.shown.items():
        places = r.line.places(curve.x) if r.line.kind != "names" else curve.x
        for place, x, value, ok in zip(places, curve.x, curve.values[name], curve.feasible, strict=True):
            state = "feasible" if ok else "refused by what the grid asks for"
            row = (place, factor * float(value), label, r.line.text(x), quantity(float(value), units), state)
            for key, cell in zip(columns, row, strict=True):
                columns[key].append(cell)
    if r.line.kind == "names":
        across = vega.names("x_", r.line.words, r.line.values)
    else:
        across = vega.number("x_", r.line.words, log=r.line.kind == "log", zero=False)
    up = vega.number("y_", title, log=log, zero=not log)
    fields = [("group_", "group"), ("at_", r.x), ("value_", name), ("state_", "")]
    grouped = vega.colour("group_", list(r.shown), title=", ".join(r.by) or None)
    where = {"x": across, "y": up, "color": grouped}
    between = [vega.layer("line", {"type": "line", "strokeWidth": 2}, **where)] if r.line.kind != "names" else []
    dot = {"type": "point", "size": 45}
    datasets, dots = marks.dots("dots", columns, dot, fields, "state_", "feasible", **where)
    datasets, layers = datasets | {"line": columns}, [*between, *dots]
    low, high = min(every), max(every)
    found = [(v, words) for v, words in selection.bounds(space, name, units) if low <= v <= high]
    if r.question is not None and r.question.variable == name:
        found.append((r.question.bound, f"target: {name} = {quantity(r.question.bound, units)}"))
        places = [x for of in r.where.values() for x in of]
        if places and r.line.kind != "names":
            crossed = {"x_": r.line.places(places), "met_": [f"{r.met}: {r.line.text(x)}" for x in places]}
            datasets["met"] = crossed
            layers.append(vega.layer("met", marks.LINE | {"strokeDash": [2, 2]}, [("met_", r.x)], x=across))
    more, lines = marks.limits("limits", "y", units, factor, found)
    return vega.spec(datasets | more, layers + lines, 260 if len(r.names) > 1 else 340)
