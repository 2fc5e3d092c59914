"""Arrays over named axes -> `xarray.Dataset`, with coordinates, units, CF flags and provenance."""

import datetime

import numpy as np
import xarray as xr

from .. import __version__
from ..catalog import reader
from ..formulas.metrics import LIMITS
from ..space import plausible, provenance
from ..space.space import auxiliary, numeric_axes
from ..specs import fields
from ..specs.records import RATES
from ..specs.variables import FLAGS, OUTSIDE, VARIABLES


def to_dataset(space, arrays, command="dsjax"):
    """Dataset of `evaluate`'s {variable: (dims, array)}, with coordinates, units, CF flags and provenance."""
    coords = coordinates(space)
    data, blocks = variables(space, arrays, coords), block_coordinates(space, arrays)
    ds = xr.Dataset(plain(data), coords=plain(coords | blocks))
    ds.attrs = global_attributes(space, command)
    return ds


def plain(found):
    """{name: xarray variable} of {name: (dims, array, attributes)} of NumPy arrays.

    Whether an array is one of dask's is not asked: to ask, xarray imports dask where it is installed, for 0.3 s.
    """
    return {name: xr.Variable(dims, np.asarray(x), attrs, fastpath=True) for name, (dims, x, attrs) in found.items()}


def variables(space, arrays, coords=()):
    """{variable of a dataset: (dims, array, attributes)} of `evaluate`'s arrays, blocks stacked, without `coords`."""
    data = {name: (axes, array, attributes(name)) for name, (axes, array) in arrays.items() if "/" not in name}
    data = {name: value for name, value in data.items() if name not in coords}
    if blocks := _blocks(space, arrays):
        data["block_time"] = _stack_blocks(space, [arrays[f"block_time/{name}"] for name in blocks])
    return data


def block_coordinates(space, names):
    """Coordinates of the dim `block`: {} where none of the variables `names` is the time of a block."""
    blocks = _blocks(space, names)
    if not blocks:
        return {}
    coords = {"block": ("block", blocks, {"long_name": "block of the model"})}
    if "model" in space.fixed and not any(name.startswith("model_") for name in space.axes):
        model = model_of(space)
        layers = [float(space.study.blocks[name](model)) for name in blocks]
        meta = {"units": "1", "long_name": "layers that hold the block: block_time / layers is the time in one layer"}
        coords["layers"] = ("block", layers, meta)
    return coords


def model_of(space):
    """The record of the one model of a space, in Python numbers, fixed fields in place of its row's."""
    found = reader.numbers(space.rows["model"][space.fixed["model"]])
    found |= {name.removeprefix("model_"): value for name, value in space.fixed.items()}
    cls = space.study.records["model"]
    return cls(**{field: found[field] for field in fields.fields_of(cls)})


def _blocks(space, names):
    return [name for name in space.study.blocks if f"block_time/{name}" in names]


def global_attributes(space, command):
    """Global attributes of a dataset: what it is, how it came to be, and the space to evaluate it again."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "Conventions": "CF-1.11",
        "title": space.title,
        "history": f"{now} {command} (dsjax {__version__})",
        "dsjax_version": __version__,
        "grid": space.text,
        "dsjax_spec": space.to_json(),
        **remarks(space),
    }


def remarks(*spaces):
    """{"remarks": a line for each number of the spaces that is likely a slip}; {} where there is none."""
    found = dict.fromkeys(line for space in spaces for line in plausible.remarks(space))
    return {"remarks": "\n".join(found)} if found else {}


def attributes(name):
    """CF attributes of a variable."""
    if name == "bottleneck":
        return _meta(name) | {"flag_values": np.arange(len(LIMITS), dtype=np.int8), "flag_meanings": " ".join(LIMITS)}
    if name == "outside_validity":
        masks = np.array([2**i for i in range(len(OUTSIDE))], dtype=np.int8)
        return _meta(name) | {"flag_masks": masks, "flag_meanings": " ".join(OUTSIDE)}
    if name == "feasible" or name.startswith("ok_"):
        meanings = "infeasible feasible" if name == "feasible" else "refused ok"
        return _meta(name) | {"flag_values": np.array([0, 1], dtype=np.int8), "flag_meanings": meanings}
    return _meta(name)


def _meta(name):
    units, long_name = VARIABLES.get(name, ("1", f"constraint on {name.removeprefix('ok_')} holds"))
    return (
        {"long_name": long_name}
        if name in FLAGS or name.startswith("ok_")
        else {"units": units, "long_name": long_name}
    )


def coordinates(space):
    """Dim coordinates, the numbers of their rows, and scalar coordinates of what is fixed."""
    numeric, coords = numeric_axes(space.study), {}
    for name, value in [*space.axes.items(), *space.fixed.items()]:
        dims = (name,) if name in space.axes else ()
        array = np.array(value)
        meta = numeric.get(name)
        attrs = {"units": meta["units"], **_named(meta["doc"])} if meta else {"long_name": name}
        coords[name] = (dims, array, attrs)
    for record, cls in space.study.records.items():
        for field, meta in fields.fields_of(cls).items():
            name = auxiliary(record, field)
            overridden = name in coords or f"{record}_{field}" in coords
            if record in space.axes and not overridden:
                values = np.array([row[field] for row in space.rows[record].values()])
                attrs = {"units": meta["units"], "long_name": meta["doc"]}
                if field.endswith("_rate"):
                    flags = np.arange(len(RATES), dtype=values.dtype)
                    attrs = {"long_name": meta["doc"], "flag_values": flags, "flag_meanings": " ".join(RATES)}
                coords[name] = ((record,), values, attrs)
    return coords | provenance.coordinates(space)


def _named(doc):
    """What a number is called, short enough to stand beside an axis, and what it means where that is more."""
    name, _, more = doc.partition(": ")
    return {"long_name": name} | ({"description": doc} if more else {})


def _stack_blocks(space, blocks):
    axes = tuple(axis for axis in space.axes if any(axis in dims for dims, _ in blocks))
    stacked = np.empty((len(blocks), *(space.sizes[axis] for axis in axes)), blocks[0][1].dtype)
    for i, (dims, array) in enumerate(blocks):  # also where no axis reaches a block, and its slot is a number
        stacked[i] = array.reshape([space.sizes[a] if a in dims else 1 for a in axes])
    return ("block", *axes), stacked, _meta("block_time")


def variable(dims, values, units, text):
    """A variable with its metadata; without units where it is a text or a flag."""
    return xr.Variable(dims, np.asarray(values), {"units": units, "long_name": text} if units else {"long_name": text})


def over(dim, names, text, **variables):
    """Variables over a dim, and its coordinate."""
    coordinate = xr.Variable(dim, np.array(list(names), dtype=object), {"long_name": text})
    return {dim: coordinate, **{name: variable(dim, *content) for name, content in variables.items()}}
