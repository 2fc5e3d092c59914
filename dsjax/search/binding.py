"""Which constraints hold an optimum back: those that alone refuse a better point."""

import numpy as np

from ..results import dataset
from .ranking import TOLERANCE


def improvements(ds, name, sense, best):
    """{"ok_<constraint>": best value of `name` without it} of the constraints that alone refuse a better point.

    `best` is the value now times `sense` (-inf where nothing is feasible). A point that two constraints refuse is
    counted for neither.
    """
    group = np.zeros(dataset.space_of(ds).points, np.int8)
    found = by_group(ds, name, sense, group, np.array([best]))
    return {mask: sense * float(values[0]) for mask, values in found.items() if values[0] > -np.inf}


def by_group(ds, name, sense, group, best):
    """{"ok_<constraint>": value per group}: the best of the points that it alone refuses, times `sense`.

    `group` is the group of every point, flat; `best` per group, times `sense`. -inf where the constraint keeps no
    better point away.
    """
    shape = tuple(dataset.space_of(ds).sizes.values())
    masks = {mask: dataset.in_grid_order(ds, mask) for mask in ds.data_vars if mask.startswith("ok_")}
    failures = np.zeros(shape, np.int8)
    for ok in masks.values():
        failures += ~ok.astype(bool)
    values = np.broadcast_to(dataset.in_grid_order(ds, name), shape)
    tolerance = TOLERANCE[str(ds[name].dtype)]
    found = {}
    for mask, ok in masks.items():
        alone = np.flatnonzero((failures == 1) & ~ok.astype(bool) & ~np.isnan(values))
        top = np.full(len(best), -np.inf)
        np.maximum.at(top, group[alone], sense * values.ravel()[alone])
        margin = np.where(np.isfinite(best), tolerance * np.abs(best), 0.0)
        found[mask] = np.where(top > best + margin, top, -np.inf)
    return found
