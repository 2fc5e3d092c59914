"""Points of a space: the one that is named, the best one, and what is left of a dataset that was cut."""

import numpy as np

from ..errors import InputError
from ..results import dataset
from ..space.parameters import chosen
from ..sweeps import sweep
from ..sweeps.sources import at_values
from . import ranking


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


def point_of(space, at, dtype="float64", ds=None, objective=None):
    """The space of one point: the best one of those that `at` {axis: value} leaves."""
    if isinstance(at, str) and at != "best":
        raise InputError(f"at: {at!r}; expected 'best' or {{axis: value}}")
    named = chosen(space, {} if isinstance(at, str) else at)
    named |= {axis: values[0] for axis, values in space.axes.items() if len(values) == 1}
    if named.keys() < space.axes.keys():
        found = sweep.swept(space, space, space.objective, dtype) if ds is None else ds
        named = best(found, objective, named)
    return space.only(named)
