"""Datasets as NetCDF files, and read back from files and stores."""

from pathlib import Path

import numpy as np
import xarray as xr

from .. import machine, types
from ..errors import InputError
from ..options import option
from ..space.grid import kind_of_results
from .files import apart, check_output, read_from, replacing, zarr_package
from .handle import Results

CHUNK = 2**20  # elements of one compressed chunk in a file


def write_netcdf(ds: xr.Dataset, path: types.Path, force: bool = False) -> None:
    """NetCDF-4 file of a dataset: zstd level 1 where the library has it, else zlib 1; written whole or not at all."""
    apart([path], read_from(ds))
    check_output(path, force)
    # One global list of auxiliary coordinates (which xarray reads back) instead of the same long list on every
    # variable.
    ds = ds.copy()
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
    if kind == "Zarr store":
        zarr_package()
    try:
        with xr.open_dataset(path, engine="zarr" if kind == "Zarr store" else "netcdf4") as ds:
            if ds.nbytes > (free := machine.available_memory()):
                raise InputError(
                    f"{path}: holds {machine.gigabytes(ds.nbytes)} and {machine.gigabytes(free)} of memory is free; "
                    f"expected a smaller one (a grid can be searched without being held: {option('stream', True)})"
                )
            ds = ds.load()
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise InputError(f"{path}: cannot be read ({reason}); expected a {kind} that dsjax wrote") from None
    texts = {name: x for name, x in ds.coords.items() if x.dtype.kind in "OT"}  # of any length, in a store
    return ds.assign_coords({name: x.copy(data=np.array(x.values.tolist(), str)) for name, x in texts.items()})
