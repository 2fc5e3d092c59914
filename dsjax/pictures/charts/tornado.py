"""Elasticities of one point, the largest first."""

from ...formats import quantity
from ...pages import parts, vega
from .. import tornado
from . import marks


def chart(results, at="best", of=None, wrt=None):
    """`parts.Chart` of the picture "tornado"."""
    return shown(results.space, tornado.gather(results, at, of, wrt))


def shown(space, e, most=tornado.MOST_BARS):
    """The same of `tornado.Elasticities`."""
    order = e.order[:most]
    names = [str(e.found["parameter"].values[i]) for i in order]
    units = [str(e.found["parameter_units"].values[i]) for i in order]
    sides = [[f"{float(e.found[f'elasticity_{side}'][i]):+.4f}" for i in order] for side in ("below", "above")]
    columns: dict = {
        "parameter_": names,
        "value_": [float(e.values[i]) for i in order],
        "text_": [f"{e.values[i]:+.4f}" for i in order],
        "way_": [_way(e.of, e.values[i]) for i in order],
        "now_": [quantity(float(e.found["parameter_value"][i]), u) for i, u in zip(order, units, strict=True)],
        "less_": sides[0],
        "more_": sides[1],
        "kink_": ["yes" if int(e.found["kink"][i]) else "no" for i in order],
    }
    fields = [("parameter_", "parameter"), ("now_", "present value"), ("text_", f"d ln {e.of} / d ln x")]
    fields += [("less_", "for less of it"), ("more_", "for more of it"), ("kink_", "a kink")]
    up = vega.names("parameter_", None, names)
    ways = [way for way in (_way(e.of, 1), _way(e.of, -1)) if way in columns["way_"]]
    tones = [vega.COLOURS[0 if way == _way(e.of, 1) else 1] for way in ways]
    across = vega.number("value_", [f"change of {e.of} in %", "per 1 % more of the parameter"], zero=True)
    bars = {"type": "bar", "height": {"band": 0.7}}
    colours = vega.colour("way_", ways, tones)
    layers = [vega.layer("bars", bars, fields, x=across, y=up, color=colours)]
    left = len(e.order) - len(order)
    still = len(e.values) - len(e.order)
    note = f"{left} smaller ones are not shown. " * bool(left) + f"{still} have no effect here. " * bool(still)
    spec = vega.spec({"bars": columns}, layers, 30 + 22 * len(order))
    return parts.Chart(f"What moves {e.of}", f"{e.says}.", [spec], note.strip(), marks.fixed(space))


def _way(of, value):
    return f"{'raises' if value > 0 else 'lowers'} {of}"
