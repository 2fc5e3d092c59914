"""Points of a space: the one that is named, the best one, and what is left of a dataset that was cut."""

import dataclasses

import numpy as np

from ..analysis import neighbours
from ..errors import InputError, unknown
from ..results import dataset
from ..space.parameters import chosen
from ..space.space import Space, only, with_rows_in_use
from ..sweeps import sources
from . import ranking


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
    return with_rows_in_use(dataclasses.replace(space, axes=axes)), dtype, whole


def at_values(ds, named):
    """The results at these values {axis: value} of some axes, which keep their dims."""
    space = dataset.space_of(ds)
    places = {axis: [space.axes[axis].index(value)] for axis, value in named.items()}
    axes = {axis: (named[axis],) if axis in named else values for axis, values in space.axes.items()}
    ds = ds.isel(places)
    return ds.assign_attrs(dsjax_spec=dataclasses.replace(space, axes=axes).to_json())


def best(ds, objective=None, at=None):
    """{axis: value} of the best feasible point, or of the best among those that the fewest constraints refuse.

    `objective` as in `search.best`. `at` {axis: value}: the best of the points with these values.
    """
    ds = at_values(ds, at) if at else ds
    space = dataset.space_of(ds)
    _, name, sense = ranking.check(space, (), 1, objective)
    found = ranking.best(ds, by=(), objective=objective)
    if found.sizes["rank"]:
        return {axis: found[axis].values[0].item() for axis in space.axes}
    masks = [mask for mask in ds.data_vars if mask.startswith("ok_")]
    refusals = sum(np.where(dataset.in_grid_order(ds, mask), 0, 1) for mask in masks)
    values = -sense * dataset.in_grid_order(ds, name)
    shape = tuple(space.sizes.values())
    keys = [np.broadcast_to(array, shape).ravel() for array in (values, refusals)]
    where = np.unravel_index(np.lexsort(keys)[0], shape)
    return {axis: values[i] for (axis, values), i in zip(space.axes.items(), where)}


def resolved(source, command, options):
    """(`Space`, dtype, Dataset of the whole space or None) of what a question is asked of."""
    if sources.is_results(source):
        if options:
            raise InputError(f"{command}: {', '.join(options)} change a grid; expected a grid, not results")
        ds = source if hasattr(source, "data_vars") else dataset.open_netcdf(source)
        space, dtype, whole = left(ds, command)
        return space, dtype, ds if whole and "rank" not in ds.dims else None
    return sources.space_of(source, command, options)


def point_of(space, at, dtype="float64", ds=None, objective=None):
    """The space of one point: the best one of those that `at` {axis: value} leaves."""
    if isinstance(at, str) and at != "best":
        raise InputError(f"at: {at!r}; expected 'best' or {{axis: value}}")
    named = chosen(space, {} if isinstance(at, str) else at)
    named |= {axis: values[0] for axis, values in space.axes.items() if len(values) == 1}
    if named.keys() < space.axes.keys():
        found = neighbours.swept(space, space, space.objective, dtype) if ds is None else ds
        named = best(found, objective, named)
    return only(space, named)
