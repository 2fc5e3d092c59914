"""One point of a space: the best of all, or the best of those that `at` names."""

import numpy as np

from ..errors import InputError
from ..results.handle import Results
from ..space.parameters import chosen
from . import ranking


def best(results, objective=None, at=None):
    """{axis: value} of the best feasible point, or of the best among those that the fewest constraints refuse.

    `objective` as in `ranking.best`. `at` {axis: value}: the best of the points with these values.
    """
    results = Results.of(results)
    results = results.at(at) if at else results
    space = results.space
    _, name, sense = ranking.check(space, (), 1, objective)
    found = ranking.best(results, by=(), objective=objective)
    if found.sizes["rank"]:
        return {axis: found[axis].values[0].item() for axis in space.axes}
    if not results.points:
        raise InputError(f"at: {at}: is no point of the {results.kind}; expected one that is there")
    absent = np.array(False) if results.there is None else ~results.there
    refusals = sum(np.where(results.in_grid_order(mask), 0, 1) for mask in results.masks)
    values = -sense * results.in_grid_order(name)
    keys = [np.broadcast_to(array, results.shape).ravel() for array in (values, refusals, absent)]
    where = np.unravel_index(np.lexsort(keys)[0], results.shape)
    return {axis: values[i] for (axis, values), i in zip(space.axes.items(), where)}


def point_of(space, at, swept, objective=None):
    """The space of one point: the best one of those that `at` {axis: value} leaves; `swept()` is the space's `Results`.

    `objective` as in `ranking.best`.
    """
    named = chosen(space, at)
    named |= {axis: values[0] for axis, values in space.axes.items() if len(values) == 1}
    if named.keys() < space.axes.keys():
        named = best(swept(), objective, named)
    return space.only(named)
