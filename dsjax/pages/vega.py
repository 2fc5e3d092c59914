"""Vega-Lite specifications from columns of numbers and texts, and the script that draws them."""

import contextlib
import functools
import importlib.metadata
import importlib.util

from .. import machine
from ..errors import InputError
from ..results import files
from .text import plain

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name; nothing is fetched
# Okabe and Ito's colours as page.css has them, and those of what is no group: colours follow the scheme of the page.
COLOURS = tuple(f"var:--c{i}" for i in range(1, 9))
INK, FAINT, GREY, REFUSED = "var:--ink", "var:--faint", "var:--grey", "var:--refused"
LIMIT_COLOURS = {"compute": COLOURS[0], "memory": COLOURS[4], "network": COLOURS[2], "latency": COLOURS[3]}


def check():
    """Refuse to draw where the package that has the script is missing, before anything is computed."""
    if importlib.util.find_spec("vl_convert") is None:
        raise InputError("HTML: vl-convert-python is not installed; expected the extra: pip install 'dsjax[report]'")


@functools.cache
def script():
    """The script of Vega, Vega-Lite and vega-embed."""
    check()
    import vl_convert

    folder, _ = machine.cache()  # its user's alone: what is kept there is run by a browser
    place = folder / f"vega-{importlib.metadata.version('vl-convert-python')}.js" if folder else None
    if place is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return place.read_text(encoding="utf-8")
    text = vl_convert.javascript_bundle().replace("</script", "<\\/script")  # 1.3 s
    if place is not None:
        with contextlib.suppress(OSError, InputError):
            files.write_text(place, text, force=True)
    return text


def spec(datasets, layers, height=320, **more):
    """A chart, as wide as the page, of layers over datasets {name: {column: values}}; empty ones are left out."""
    names = {name: packed(columns) for name, columns in datasets.items() if any(map(len, columns.values()))}
    layers = [own for own in layers if own["data"]["name"] in names]
    return {"$schema": SCHEMA, "width": "container", "height": height, "datasets": names, "layer": layers} | more


def layer(data, mark, tooltip=(), **encoding):
    """A layer of marks over a dataset; `tooltip`: [(column, title)]."""
    shown = [{"field": field, "title": title, "type": "nominal"} for field, title in tooltip]
    encoding = encoding | ({"tooltip": shown} if shown else {})
    mark = mark | ({} if shown else {"tooltip": None, "aria": False})
    return {"data": {"name": data}, "mark": mark, "encoding": {k: v for k, v in encoding.items() if v is not None}}


def number(field, title, log=False, zero=False, **more):
    """Encoding of a number along an axis."""
    scale = {"type": "log", "nice": False} if log else {"zero": zero}
    scale |= more.pop("scale", {})
    axis = {"title": title} | ({"format": "~s"} if more.pop("si", False) else {"format": ",~r"})
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis} | more


def names(field, title, order, **more):
    """Encoding of labels along an axis, in this order."""
    return {"field": field, "type": "ordinal", "sort": list(order), "axis": {"title": title}} | more


def colour(field, labels, colours=COLOURS, title=None):
    """Encoding of groups by colour, with a legend."""
    scale = {"domain": list(labels), "range": list(colours)[: len(labels)]}
    return {"field": field, "type": "nominal", "scale": scale, "legend": {"title": title}}


def written(part):
    """A specification with its texts as `text.plain` has them."""
    if isinstance(part, dict):
        return {name: written(x) for name, x in part.items()}
    if isinstance(part, list | tuple):
        return [written(x) for x in part]
    return plain(part) if isinstance(part, str) else part


def packed(columns):
    """{column: {"values": [...], "at": [...]}} where few values come often, else {column: values}."""
    found = {}
    for name, values in columns.items():
        values = list(values)
        distinct = list(dict.fromkeys(values))
        places = {value: i for i, value in enumerate(distinct)}
        few = 2 * len(distinct) < len(values)
        found[name] = {"values": distinct, "at": [places[v] for v in values]} if few else values
    return found
