"""Arrays over named axes -> `xarray.Dataset`; NetCDF, CSV; written to a temporary name and renamed."""

import contextlib
import datetime
import json
import math
import os
import secrets
import stat
import types
from pathlib import Path

import numpy as np
import xarray as xr

from .. import __version__, machine
from ..errors import InputError
from ..formulas.metrics import LIMITS
from ..space import provenance as families
from ..space.space import Space, auxiliary, parameters
from ..specs import fields
from ..specs.records import RATES
from ..specs.variables import FLAGS, VARIABLES

CHUNK = 2**20  # elements of one compressed chunk in a file


def to_dataset(space, arrays, command="dsjax"):
    """Dataset of `evaluate`'s {variable: (dims, array)}, with coordinates, units, CF flags and provenance."""
    coords = coordinates(space)
    data, blocks = variables(space, arrays, coords), block_coordinates(space, arrays)
    ds = xr.Dataset(plain(data), coords=plain(coords | blocks))
    ds.attrs = provenance(space, command)
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
    """Coordinates of the dim `block`: empty where `names` of `evaluate` hold no block."""
    blocks = _blocks(space, names)
    if not blocks:
        return {}
    coords = {"block": ("block", blocks, {"long_name": "block of the model"})}
    if "model" in space.fixed and not any(name.startswith("model_") for name in space.axes):
        fixed = {name.removeprefix("model_"): value for name, value in space.fixed.items()}
        model = types.SimpleNamespace(**(space.rows["model"][space.fixed["model"]] | fixed))
        layers = [float(space.study.blocks[name](model)) for name in blocks]
        meta = {"units": "1", "long_name": "layers that hold the block: block_time / layers is the time in one layer"}
        coords["layers"] = ("block", layers, meta)
    return coords


def _blocks(space, names):
    return [name for name in space.study.blocks if f"block_time/{name}" in names]


def provenance(space, command):
    """Global attributes of a dataset: what it is, how it came to be, and the space to evaluate it again."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "Conventions": "CF-1.11",
        "title": space.title,
        "history": f"{now} {command} (dsjax {__version__})",
        "dsjax_version": __version__,
        "grid": space.text,
        "dsjax_spec": space.to_json(),
    }


def space_of(ds, where="dataset", kind="dataset"):
    """The `Space` a dataset came from; one that dsjax did not write, or that was cut, is an InputError."""
    wanted = f"expected a {kind} that dsjax wrote"
    if "dsjax_spec" not in ds.attrs:
        raise InputError(f"{where}: attribute dsjax_spec: missing; {wanted}")
    try:
        space = Space.from_json(ds.attrs["dsjax_spec"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{where}: attribute dsjax_spec: not readable ({error}); {wanted}") from None
    for axis, n in space.sizes.items():
        if axis not in ds.sizes or ds.sizes[axis] != n:
            found = ds.sizes.get(axis, "no")
            raise InputError(f"{where}: axis {axis} has {found} values, its dsjax_spec {n}; expected the whole {kind}")
    for name in ("feasible", space.objective, *space.axes):
        if name not in ds.variables:
            raise InputError(f"{where}: variable {name}: missing; {wanted}")
    return space


def results_of(ds, where="dataset", kind="dataset"):
    """The `Space` of a dataset that holds the results of a sweep, all of them; any other is an InputError."""
    space = space_of(ds, where, kind)
    wanted = f"expected the results of a sweep, a {kind} that dsjax sweep wrote"
    if not space.axes:
        raise InputError(f"{where}: no axis: one configuration; {wanted}")
    if name := missing(ds, space):
        raise InputError(f"{where}: variable {name}: missing; {wanted}")
    return space


def missing(ds, space):
    """First variable of a sweep that a dataset lacks; "" where it holds the results of one."""
    named = next((name for name in (*space.defined, "bottleneck", "feasible") if name not in ds.variables), "")
    return named or ("" if any(name.startswith("ok_") for name in ds.data_vars) else "ok_<constraint>")


def attributes(name):
    """CF attributes of a variable."""
    if name == "bottleneck":
        return _meta(name) | {"flag_values": np.arange(len(LIMITS), dtype=np.int8), "flag_meanings": " ".join(LIMITS)}
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
    numeric, coords = parameters(space.study), {}
    for name, value in [*space.axes.items(), *space.fixed.items()]:
        dims = (name,) if name in space.axes else ()
        array = np.array(value)
        meta = numeric.get(name)
        attrs = {"units": meta["units"], "long_name": meta["doc"]} if meta else {"long_name": name}
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
    return coords | families.coordinates(space)


def _stack_blocks(space, blocks):
    axes = tuple(axis for axis in space.axes if any(axis in dims for dims, _ in blocks))
    stacked = np.empty((len(blocks), *(space.sizes[axis] for axis in axes)), blocks[0][1].dtype)
    for i, (dims, array) in enumerate(blocks):  # also where no axis reaches a block, and its slot is a number
        stacked[i] = array.reshape([space.sizes[a] if a in dims else 1 for a in axes])
    return ("block", *axes), stacked, _meta("block_time")


def check_output(path, force=False):
    """Refuse an output path that exists (without `force`), is a folder, or cannot be written."""
    path = Path(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
        if os.path.islink(path):
            raise InputError(f"{path}: is a link to nothing; expected a path that can be written") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); expected a writable path") from None
    if mode is not None and stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder; expected the path of a file")
    if mode is not None and not stat.S_ISREG(mode):
        raise InputError(f"{path}: is not a regular file; expected the path of a file")
    if mode is not None and not force:
        raise InputError(f"{path}: exists; expected a new path, or --force to overwrite")
    if not path.parent.is_dir():
        raise InputError(f"{path}: folder {path.parent} does not exist; expected an existing folder")
    if len(os.fsencode(_beside(path).name)) > 255:
        raise InputError(
            f"{path}: the name is too long; expected at most {255 - len(_beside(Path('x')).name) + 1} bytes"
        )
    if not os.access(path.parent, os.W_OK) or (mode is not None and not os.access(path, os.W_OK)):
        raise InputError(f"{path}: cannot be written; expected a writable path")


def _beside(path):
    """A temporary name in the same folder, so that renaming is atomic."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


@contextlib.contextmanager
def replacing(path):
    """A temporary path beside `path` that takes its name when the block ends well, and vanishes otherwise."""
    target = Path(os.path.realpath(path))  # a link is followed, not replaced
    temporary = _beside(target)
    try:
        yield temporary
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:  # the NetCDF library raises RuntimeError when a write fails
        reason = getattr(error, "strerror", None) or error
        free = machine.gigabytes(machine.disk(target))
        raise InputError(f"{path}: cannot be written ({reason}; {free} of disk is free); expected room there") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_netcdf(ds, path, force=False):
    """NetCDF-4 file of a dataset: zstd level 1 where the library has it, else zlib 1; written whole or not at all."""
    check_output(path, force)
    # One global list of auxiliary coordinates (which xarray reads back) instead of the same long list on every
    # variable.
    ds = ds.copy()
    for variable in ds.variables.values():
        variable.encoding["coordinates"] = None
    with replacing(path) as temporary:
        ds.to_netcdf(temporary, engine="netcdf4", encoding=encodings(ds))


def encodings(ds):
    """{variable: encoding} of a NetCDF file."""
    encoding = {}
    for name, variable in ds.variables.items():
        if variable.size > 1 and name in ds.data_vars:
            encoding[name] = storage(variable.shape, variable.dtype)
        if variable.dtype.kind == "f" and not np.isnan(variable.values.flat[0]):  # what a phase lacks is NaN
            encoding.setdefault(name, {})["_FillValue"] = None
    return encoding


def storage(shape, dtype):
    """Compression of an array of this shape in a NetCDF file: zstd level 1 where the library has it, else zlib 1."""
    import netCDF4

    filters = (
        {"compression": "zstd", "complevel": 1} if netCDF4.__has_zstandard_support__ else {"zlib": True, "complevel": 1}
    )
    return filters | {"chunksizes": _chunks(shape), "shuffle": dtype.itemsize > 1}


def _chunks(shape):
    """Whole inner dims, outer dims cut so that a chunk has about CHUNK elements."""
    chunks, room = [], CHUNK
    for n in reversed(shape):
        chunks.append(max(1, min(n, room)))
        room //= n
    return tuple(reversed(chunks))


def open_netcdf(path):
    """The dataset in a file, or in a Zarr store, that dsjax wrote; anything else is an InputError."""
    path = Path(path)
    kind = kind_of(path)
    if kind == "Zarr store":
        from . import files

        files.zarr_package()
    try:
        with xr.open_dataset(path, engine="zarr" if kind == "Zarr store" else "netcdf4") as ds:
            if ds.nbytes > (free := machine.available_memory()):
                raise InputError(
                    f"{path}: holds {machine.gigabytes(ds.nbytes)} and {machine.gigabytes(free)} of memory is free; "
                    "expected a smaller one (a grid can be searched without being held: --stream)"
                )
            ds = ds.load()
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise InputError(f"{path}: cannot be read ({reason}); expected a {kind} that dsjax wrote") from None
    space_of(ds, str(path), kind)
    texts = {name: x for name, x in ds.coords.items() if x.dtype.kind in "OT"}  # of any length, in a store
    return ds.assign_coords({name: x.copy(data=np.array(x.values.tolist(), str)) for name, x in texts.items()})


def kind_of(path):
    """What the name of a path says that results are in."""
    return "Zarr store" if Path(path).suffix.lower() == ".zarr" else "NetCDF file"


def open_results(path):
    """The dataset in a file that holds the results of a sweep; anything else is an InputError."""
    ds = open_netcdf(path)
    results_of(ds, str(path), kind_of(path))
    return ds


def columns(ds, flat):
    """{name: values} of the points with flat indices `flat` of the grid: its dims, then every variable over them."""
    space = space_of(ds)
    where = dict(zip(space.axes, np.unravel_index(flat, tuple(space.sizes.values()))))
    result = {axis: ds[axis].values[index] for axis, index in where.items()}
    result |= {name: np.broadcast_to(np.array(value), len(flat)) for name, value in space.fixed.items()}
    for name, variable in ds.data_vars.items():
        if "block" not in variable.dims:
            values = variable.values[tuple(where[axis] for axis in variable.dims)]
            values = np.broadcast_to(values, len(flat))
            result[name] = np.array(LIMITS, dtype=object)[values] if name == "bottleneck" else values
    return result


def write_csv(ds, path, feasible_only=False, force=False):
    """CSV of all points or of the feasible ones, one line each, in the order of the grid."""
    import pandas as pd

    check_output(path, force)
    points = space_of(ds).points
    feasible = np.broadcast_to(in_grid_order(ds, "feasible"), tuple(space_of(ds).sizes.values())).ravel()
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        for start in range(0, points, CHUNK):
            flat = np.arange(start, min(start + CHUNK, points))
            if feasible_only:
                flat = flat[feasible[flat]]
            frame = pd.DataFrame(columns(ds, flat))
            flags = {name: frame[name].astype(int) for name in frame if frame[name].dtype == bool}
            frame.assign(**flags).to_csv(file, index=False, header=start == 0)


def in_grid_order(ds, name):
    """A variable's values with length-1 dims for the axes it lacks: broadcasts over the grid."""
    sizes = space_of(ds).sizes
    variable = ds.variables[name]  # not ds[name]: that transposes its coordinates too
    variable = variable.transpose(*(axis for axis in sizes if axis in variable.dims))
    return variable.values.reshape([sizes[axis] if axis in variable.dims else 1 for axis in sizes])


def records(ds_columns):
    """Columns -> a list of plain dicts, for JSON."""
    names = list(ds_columns)
    rows = zip(*(np.asarray(ds_columns[name]).tolist() for name in names))
    return [
        {n: (None if isinstance(v, float) and not math.isfinite(v) else v) for n, v in zip(names, row)} for row in rows
    ]


def to_json(value):
    """JSON text of plain values."""
    return json.dumps(value, indent=2, allow_nan=False)


def variable(dims, values, units, text):
    """A variable with its metadata; without units where it is a text or a flag."""
    return xr.Variable(dims, np.asarray(values), {"units": units, "long_name": text} if units else {"long_name": text})


def over(dim, names, text, **variables):
    """Variables over a dim, and its coordinate."""
    coordinate = xr.Variable(dim, np.array(list(names), dtype=object), {"long_name": text})
    return {dim: coordinate, **{name: variable(dim, *content) for name, content in variables.items()}}
