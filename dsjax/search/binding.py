"""Binding constraints of an optimum: each alone refuses a better point."""

import numpy as np

from .ranking import TOLERANCE


def improvements(results, name, sense, best):
    """{"ok_<constraint>": best value of `name` without it} of the constraints that alone refuse a better point.

    `best` is the value now times `sense` (-inf where nothing is feasible). A point that two constraints refuse is
    counted for neither.
    """
    group = np.zeros(results.space.points, np.int8)
    found = by_group(results, name, sense, group, np.array([best]))
    return {mask: sense * float(values[0]) for mask, values in found.items() if values[0] > -np.inf}


def by_group(results, name, sense, group, best):
    """{"ok_<constraint>": value per group}: the best of the points that it alone refuses, times `sense`.

    `group` is the group of every point, flat; `best` per group, times `sense`. -inf where the constraint keeps no
    better point away.
    """
    masks = {mask: results.in_grid_order(mask) for mask in results.masks}
    failures = np.zeros(results.shape, np.int8)
    for ok in masks.values():
        failures += ~ok
    values = np.broadcast_to(results.in_grid_order(name), results.shape)
    tolerance = TOLERANCE[str(values.dtype)]
    found = {}
    for mask, ok in masks.items():
        alone = np.flatnonzero((failures == 1) & ~ok & ~np.isnan(values))
        top = np.full(len(best), -np.inf)
        np.maximum.at(top, group[alone], sense * values.ravel()[alone])
        margin = np.where(np.isfinite(best), tolerance * np.abs(best), 0.0)
        found[mask] = np.where(top > best + margin, top, -np.inf)
    return found
