"""Sweeps written while they are evaluated: a slab is finished when its arrays and its counts are in `FILE.parts/`.

A NetCDF file is put together from the parts at the end; a Zarr store is written region by region, inside the parts,
and renamed. Either way the output appears complete or not at all, and what was finished survives any interruption.
"""

import contextlib
import dataclasses
import json
import math
import os

import xarray as xr

from .. import __version__, machine
from ..errors import InputError
from ..options import option
from ..results import damage
from ..space.grid import kind_of_results
from . import resume, slabs
from .storage import evaluate_slab, kind_of

POINTS = 2**22  # of one slab: fewer and larger files than are best for evaluating alone


@dataclasses.dataclass(frozen=True)
class Job:
    """How a sweep is written."""

    dtype: str = "float64"
    blocks: bool = False
    command: str = "dsjax"
    room: float = math.inf  # memory that slabs may take [B]
    resume: bool = False
    force: bool = False
    devices: tuple = ()


def check(path, force=False, resume=False):
    """Refuse an output that exists (without `force`) or cannot be written.

    To `resume`, one that exists beside its parts may be what a sweep wrote that was killed before it removed them.
    """
    kind_of(path).check(path, force or (resume and os.path.lexists(f"{os.path.realpath(path)}.parts")))


def write(space, path, job, progress=None, client=None):
    """Evaluate a space into a file, slab by slab; the counts of all of it.

    `progress(points, found=False)` is called for every finished slab, `found` where it was finished before. `client`:
    the workers of a `dask.distributed.Client` evaluate the slabs and write them.
    """
    kind = kind_of(path)
    check(path, job.force, job.resume)
    names = slabs.names_of(space, job.dtype, job.blocks)
    wanted = slabs.within(space, job.dtype, names, job.room, POINTS)
    held = resume.Parts(os.path.realpath(path))
    _check_disk(space, path, slabs.nbytes(space, job.dtype, names), held, kind.LEAST_SHARE)
    with held.started(wanted, job.dtype, names, job.resume, job.force) as cut:
        cut = dataclasses.replace(cut, space=space)
        finished = held.finished()
        advance = progress or (lambda points, found=False: None)
        advance(total(finished)["points"], found=True)
        left = [index for index in range(cut.number) if index not in finished]
        if left or not _is_written(path, space, job, names):
            kind.check(path, job.force)
            with _kept(path, held, cut):
                kind.begin(held, cut, job)
                if client is not None:
                    from . import workers

                    finished |= workers.each(client, held, left, advance)
                else:
                    finished |= evaluate_here(held, cut, names, job, left, advance)
                kind.complete(held, cut, names, path, job)
        held.close()
    return total(finished)  # a folder that is shared may not show yet what others wrote


def _is_written(path, space, job, names):
    """Whether an output is complete already: a sweep may be killed before it removes the parts."""
    if not os.path.lexists(path):
        return False
    try:
        with opened(path) as ds:
            there, version = json.loads(ds.attrs["dsjax_spec"]), ds.attrs["dsjax_version"]
            dtype, blocks = str(ds[space.objective].dtype), "block_time" in ds.variables
    except Exception:  # whatever it is, it is not this output
        return False
    asked = (__version__, job.dtype, any(name.startswith("block_time/") for name in names))
    return (version, dtype, blocks) == asked and not resume.difference(there, json.loads(space.to_json()))


@contextlib.contextmanager
def _kept(path, held, cut):
    """An interrupt says what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        there = f"{len(held.finished())} of {cut.number} slabs are kept in {path}.parts"
        raise KeyboardInterrupt(f"{there}: {option('resume', True)} goes on") from None


def _check_disk(space, path, size, held, share):
    """Refuse results of `size` bytes that cannot fit, though they are compressed to `share` of it."""
    there = sum(p.stat().st_size for p in held.folder.rglob("*") if p.is_file()) if held.folder.is_dir() else 0
    free = machine.disk(path)
    if share * size - there > free:
        raise InputError(
            f"{path}: {space.points:,} points need {machine.gigabytes(share * size - there)} of disk and "
            f"{machine.gigabytes(free)} is free; expected a smaller grid, or a folder with more room"
        )


def evaluate_here(held, cut, names, job, left, advance):
    """{index: counts} of the remaining slabs, `left`, evaluated in this process."""
    found = {}

    def run(index):
        found[index] = evaluate_slab(held, cut, job.dtype, names, index)
        advance(found[index]["points"])

    slabs.each(run, left, job.devices)
    return found


def total(finished):
    """Counts of all slabs together."""
    result: dict = {"points": 0, "feasible": 0, "refused": {}}
    for counts in finished.values():
        for key in ("points", "feasible"):
            result[key] += counts[key]
        for name, n in counts["refused"].items():
            result["refused"][name] = result["refused"].get(name, 0) + n
    return result


def opened(path):
    """The dataset of a file or a store, read when it is used."""
    if kind_of_results(path) == "Zarr store":
        damage.check_store(path)
        return xr.open_zarr(path, chunks=None, decode_times=False)
    return xr.open_dataset(path, engine="netcdf4", cache=False, decode_times=False)
