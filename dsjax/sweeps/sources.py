"""What a question is asked of: a Dataset, a file that dsjax wrote, or a grid."""

import dataclasses

import numpy as np

from ..errors import InputError, unknown
from ..results import dataset, files, netcdf
from ..space import grid, inputs
from ..space.space import Space
from . import sources, sweep

OF_GRID = ("axes", "fixed", "settings", "catalogs", "dtype")  # options of `sweep` that change a grid


def is_results(source):
    """Whether `source` holds results (a Dataset, or the path of a file), and not a grid."""
    return hasattr(source, "data_vars") or str(source).lower().rstrip("/").endswith((".nc", ".zarr"))


def files_of(source, axes=None, fixed=None, catalogs=()):
    """Paths that a Dataset, a file of results, or a grid with its options is read from, those that are known."""
    if hasattr(source, "data_vars"):
        return files.read_from(source)
    return [source] if is_results(source) else inputs.of_grid(source, axes, fixed, catalogs)


def space_of(source, command, options):
    """(`Space`, dtype, Dataset or None where it has not been evaluated) of a Dataset, a file, or a grid.

    `options` are those of `sweep` without `blocks`, for a grid only; `command` names the caller in errors.
    """
    if is_results(source):
        if options:
            raise InputError(f"{command}: {', '.join(options)} change a grid; expected a grid, not results")
        ds = source if hasattr(source, "data_vars") else netcdf.open_netcdf(source)
        space = dataset.space_of(ds, command)
        return space, str(ds[space.objective].dtype), ds
    for name in options:
        if name not in OF_GRID:
            raise unknown(command, "option", name, OF_GRID)
    changes = {name: options[name] for name in OF_GRID if name in options and name != "dtype"}
    return grid.load(source, **changes), options.get("dtype") or "float64", None


def dataset_of(source, command, options):
    """Dataset of a Dataset, a file, or a grid, which is evaluated (see `space_of`)."""
    space, dtype, ds = space_of(source, command, options)
    if ds is not None:
        dataset.results_of(ds, command if hasattr(source, "data_vars") else str(source))
    return sweep.of_space(space, dtype, blocks=False, command=f"dsjax.{command}") if ds is None else ds


def left(ds, where):
    """(space, dtype, whole) of a Dataset of `sweep` or `best`: the space its coordinates leave of `dsjax_spec`.

    `whole`: it holds the results of the whole space, nothing was cut. A dataset over `rank` is taken at its
    first one. `where` names the caller in errors.
    """
    if "rank" in ds.dims:
        if ds.sizes["rank"] == 0:
            raise InputError(f"{where}: no ranked point is left; expected a dataset with one")
        ds = ds.isel(rank=0)
    try:
        space = Space.from_json(ds.attrs["dsjax_spec"])
    except (ValueError, KeyError, TypeError, AttributeError):
        space = dataset.space_of(ds)  # raises, with the reason
    missing = [axis for axis in space.axes if axis not in ds.coords]
    if missing:
        raise InputError(f"{where}: coordinate {missing[0]}: missing; expected a dataset that dsjax made")
    axes = {axis: tuple(np.atleast_1d(ds[axis].values).tolist()) for axis in space.axes}
    whole = axes == space.axes and not dataset.missing(ds, space)
    for axis, values in axes.items():
        for value in values:
            if value not in space.axes[axis]:
                raise unknown(where, f"value of axis {axis}", value, space.axes[axis])
    dtype = str(ds[space.objective].dtype) if space.objective in ds else "float64"
    return space.with_axes(axes), dtype, whole


def at_values(ds, named):
    """The results at these values {axis: value} of some axes, which keep their dims."""
    space = dataset.space_of(ds)
    places = {axis: [space.axes[axis].index(value)] for axis, value in named.items()}
    axes = {axis: (named[axis],) if axis in named else values for axis, values in space.axes.items()}
    ds = ds.isel(places)
    return ds.assign_attrs(dsjax_spec=dataclasses.replace(space, axes=axes).to_json())


def resolved(source, command, options):
    """(`Space`, dtype, Dataset of the whole space or None) of what a question is asked of."""
    if sources.is_results(source):
        if options:
            raise InputError(f"{command}: {', '.join(options)} change a grid; expected a grid, not results")
        ds = source if hasattr(source, "data_vars") else netcdf.open_netcdf(source)
        space, dtype, whole = left(ds, command)
        return space, dtype, ds if whole and "rank" not in ds.dims else None
    return sources.space_of(source, command, options)
