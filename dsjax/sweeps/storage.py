"""Kinds of output, the module that writes each, and the task that evaluates and stores one slab."""

import dataclasses
import importlib

import numpy as np

from ..errors import InputError
from ..results import dataset
from ..space.grid import RESULTS, kind_of_results
from . import slabs

KINDS = {"NetCDF file": "netcdf_parts", "Zarr store": "zarr_store"}


def kind_of(path):
    """The module that writes this kind of file."""
    kind = kind_of_results(path)
    if not kind:
        raise InputError(f"{path}: unknown kind of output; expected a name ending in {' or '.join(RESULTS)}")
    return importlib.import_module(f".{KINDS[kind]}", __package__)


def evaluate_slab(held, cut, dtype, names, index):
    """Evaluate one slab, write its arrays, then its counts, which are returned."""
    arrays = slabs.evaluated(cut, index, dtype, names)
    counts = counts_of(cut, index, arrays)
    own = dataclasses.replace(cut.space, axes=cut.axes_of(index))
    data = {n: (dims, x) for n, (dims, x, _) in dataset.variables(own, arrays, cut.coordinates).items()}
    held.check()
    with held.writing():
        kind_of(str(held.folder).removesuffix(".parts")).save(held, index, cut.placed(index, data))
    held.finish(index, counts)
    return counts


def counts_of(cut, index, arrays):
    """{"points", "feasible", "refused": {mask: points}} of a slab."""
    points = cut.points_of(index)

    def true(name):
        mask = arrays[name][1]
        return int(np.count_nonzero(mask)) * (points // mask.size)

    refused = {name: points - true(name) for name in arrays if name.startswith("ok_")}
    return {"points": points, "feasible": true("feasible"), "refused": refused}
