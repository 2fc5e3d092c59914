"""Parts of a NetCDF file: the arrays of a slab in one `.npz` file, put together at the end."""

import math
import os

import netCDF4
import numpy as np

from ..errors import InputError
from ..options import option
from ..results import files, netcdf
from . import slabs

LEAST_SHARE = 1.0  # of the size of the results: what parts take, which are not compressed
check = files.check_output


def begin(held, cut, job):
    """Begin an output: nothing to do before the first slab."""


def save(held, index, data):
    """Write {variable: (place, values)} of a slab."""
    with held.replacing(f"{index:09d}.npz") as temporary, open(temporary, "wb") as file:
        np.savez(file, **{name: values for name, (_, values) in data.items()})


def complete(held, cut, names, path, job):
    """The NetCDF file of all parts, in the layout of `netcdf.write_netcdf`; holds one part in memory."""
    ds = slabs.header(cut, names, job.command)
    template = slabs.template(cut, job.dtype, names)
    target = os.path.realpath(path)  # a link is followed, not replaced
    with held.writing(), held.temporary("complete") as temporary:
        ds.to_netcdf(temporary, engine="netcdf4", encoding=netcdf.encodings(ds))
        with netCDF4.Dataset(temporary, "a") as file:
            file.set_auto_maskandscale(False)
            first = _part(held, 0)
            for name, variable in template.items():
                _create(file, name, *variable, cut, first[name])
            for index in range(cut.number):
                _copy(file, cut, index, template, _part(held, index))
        files.place(temporary, target, job.force)


def _create(file, name, dims, shape, dtype, attributes, cut, first):
    """A variable of the file; `first` its values in the first slab."""
    flag = dtype.kind == "b"
    for dim, n in zip(dims, shape):
        if dim not in file.dimensions:
            file.createDimension(dim, n)
    piece = tuple(cut.sizes.get(dim, n) for dim, n in zip(dims, shape))
    storage = netcdf.storage(piece, dtype) | {"chunksizes": _chunks(piece, dims, cut)} if math.prod(shape) > 1 else {}
    missing = np.nan if dtype.kind == "f" and np.isnan(first.flat[0]) else None
    variable = file.createVariable(name, np.int8 if flag else dtype, dims, fill_value=missing, **storage)
    variable.setncatts(attributes | ({"dtype": "bool"} if flag else {}))
    variable.set_auto_maskandscale(False)
    if storage:
        variable.set_var_chunk_cache(size=1, nelems=1)  # none: every chunk is written once, whole


def _chunks(piece, dims, cut):
    """Chunks that do not cross the border of two slabs."""
    chunks = list(netcdf.storage(piece, np.dtype("f4"))["chunksizes"])
    for i, dim in enumerate(dims):
        if dim in dict(cut.cuts):
            chunks[i] = max(n for n in range(1, chunks[i] + 1) if piece[i] % n == 0)
    return chunks


def _copy(file, cut, index, template, part):
    """Write one part where it belongs."""
    for name, place in cut.places(index, {name: dims for name, (dims, *_) in template.items()}).items():
        values = part[name]
        file[name][place if place else ...] = values.view(np.int8) if values.dtype.kind == "b" else values


def _part(held, index):
    """{variable: values} of a part; a damaged one is not finished any more."""
    path = held.folder / f"{index:09d}.npz"
    try:
        with np.load(path) as file:
            return dict(file)
    except Exception as error:  # an archive may be damaged in many ways
        held.forget(index)
        again = option("resume", True)
        raise InputError(f"{path}: is damaged ({error}); expected {again}, which evaluates it again") from None
