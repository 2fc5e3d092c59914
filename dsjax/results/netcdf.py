"""Datasets as NetCDF files, and read back from files and stores."""

import math
import os
import stat
from pathlib import Path

import numpy as np
import xarray as xr

from .. import machine, types
from ..arguments import typed
from ..errors import InputError
from ..options import option
from ..space.grid import kind_of_results
from . import damage, patience
from .files import apart, check_output, read_from, replacing, zarr_package
from .handle import Results, space_of

MOST = 2**24  # elements that a variable may have at one point of the axes
CHUNK = 2**20  # elements of one compressed chunk in a file


@typed
def write_netcdf(ds: xr.Dataset, path: types.Path, force: bool = False) -> None:
    """NetCDF-4 file of a dataset: zstd level 1 where the library has it, else zlib 1; written whole or not at all."""
    apart([path], read_from(ds))
    check_output(path, force)
    # One global list of auxiliary coordinates (which xarray reads back) instead of the same long list on every
    # variable.
    ds = ds.copy()
    try:
        ds.load()  # what its file has is read here: the output is not to blame for it
    except Exception as error:  # each library has its own words
        where, reason = [*read_from(ds), "dataset"][0], _reason(error)
        raise InputError(f"{where}: cannot be read ({reason}); expected a dataset whose values can be read") from None
    for variable in ds.variables.values():
        variable.encoding["coordinates"] = None
    with replacing(path, force) as temporary:
        ds.to_netcdf(temporary, engine="netcdf4", encoding=encodings(ds))


def encodings(ds):
    """{variable: encoding} of a NetCDF file."""
    encoding = {}
    for name, variable in ds.variables.items():
        if variable.size > 1 and name in ds.data_vars:
            encoding[name] = storage(variable.shape, variable.dtype)
        if variable.dtype.kind == "f" and not np.isnan(variable.values.ravel()[:1]).any():  # what a phase lacks is NaN
            encoding.setdefault(name, {})["_FillValue"] = None
    return encoding


def storage(shape, dtype):
    """Compression (zstd level 1 where the library has it, else zlib 1) and checksums of an array in a NetCDF file."""
    import netCDF4

    filters = (
        {"compression": "zstd", "complevel": 1} if netCDF4.__has_zstandard_support__ else {"zlib": True, "complevel": 1}
    )
    return filters | {"chunksizes": _chunks(shape), "shuffle": dtype.itemsize > 1, "fletcher32": True}


def _chunks(shape):
    """Whole inner dims, outer dims cut so that a chunk has about CHUNK elements."""
    chunks, room = [], CHUNK
    for n in reversed(shape):
        chunks.append(max(1, min(n, room)))
        room //= n
    return tuple(reversed(chunks))


@typed
def open_netcdf(path: types.Path) -> xr.Dataset:
    """The dataset in a file, or in a Zarr store, that dsjax wrote; anything else is an InputError."""
    ds = read(path)
    results = Results.of(ds, str(path), kind_of_results(path) or "NetCDF file", first=True)
    for name in ("feasible", results.space.objective):
        results.variable(name)
    return ds


def read(path):
    """The dataset in a file or a Zarr store, whoever wrote it."""
    path = Path(path)
    kind = kind_of_results(path) or "NetCDF file"
    expected = f"expected a {kind} that dsjax wrote"
    if kind == "Zarr store":
        zarr_package()
    try:
        _regular(path, kind, expected)
        if kind == "Zarr store":
            damage.check_store(path)
        with patience.of(path, os.path.getsize(path), expected):
            _check_header(path, kind)
            ds = _opened(path, kind)
        with ds, patience.of(path, ds.nbytes, expected):
            damage.load(ds, path)
        texts = {name: x for name, x in ds.coords.items() if x.dtype.kind in "OT"}  # of any length, in a store
        return ds.assign_coords({name: x.copy(data=np.array(x.values.tolist(), str)) for name, x in texts.items()})
    except InputError:
        raise
    except Exception as error:  # a file may be damaged in many ways, and each library has its own words for them
        raise InputError(f"{path}: cannot be read ({_reason(error)}); {expected}") from None


def _reason(error):
    """Why a library failed, in a line."""
    return getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__


def _regular(path, kind, expected):
    """Refuse what is neither a file nor a store: a pipe would never end."""
    mode = os.stat(path).st_mode
    if kind == "Zarr store" and not stat.S_ISDIR(mode):
        raise InputError(f"{path}: is no folder; {expected}")
    if kind != "Zarr store" and not stat.S_ISREG(mode):
        raise InputError(f"{path}: is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}; {expected}")


def _opened(path, kind, **how):
    """Nothing in results is a date, whatever the units of a variable say."""
    return xr.open_dataset(path, engine="zarr" if kind == "Zarr store" else "netcdf4", decode_times=False, **how)


def _check_header(path, kind):
    """Refuse what dsjax did not write, or what does not fit in memory, before any variable is read.

    Results are as large as their axes; what is compressed may be far larger than its file.
    """
    with _opened(path, kind, decode_cf=False, create_default_indexes=False) as ds:
        sizes = space_of(ds, str(path), kind).sizes
        for name, variable in ds.variables.items():
            others = [n for dim, n in variable.sizes.items() if n > sizes.get(dim, 0)]
            if math.prod(others) > MOST:
                raise InputError(
                    f"{path}: variable {name}: {variable.size:,} values over {', '.join(map(str, variable.dims))}; "
                    "expected axes of its dsjax_spec"
                )
        if ds.nbytes > (free := machine.available_memory()):
            raise InputError(
                f"{path}: holds {machine.gigabytes(ds.nbytes)} and {machine.gigabytes(free)} of memory is free; "
                f"expected a smaller one (a grid can be searched without being held: {option('stream', True)})"
            )
