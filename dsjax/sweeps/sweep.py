"""Evaluate a whole grid into a Dataset or a file: `dsjax sweep` and `dsjax.sweep`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from .. import evaluation, machine
from ..arguments import typed
from ..errors import InputError
from ..results import dataset, files
from ..space import grid, inputs
from ..types import Amount, Dtype, Grid, Named, Path
from . import outputs, slabs

# Above this many points `block_time` (one full grid per block) is computed on request only.
MOST_POINTS_WITH_BLOCKS = 1_000_000
# Above this many points a grid is evaluated in slabs.
MOST_POINTS_IN_ONE_PIECE = 4_000_000


@typed
def sweep(
    source: Grid = "default",
    *,
    axes: Named | None = None,
    fixed: Named | None = None,
    settings: Named | None = None,
    limits: Named | None = None,
    catalogs: Sequence[Path] = (),
    dtype: Dtype = "float64",
    blocks: bool | None = None,
    max_memory: Amount | None = None,
    devices: int | None = None,
    output: Path | None = None,
    resume: bool = False,
    force: bool = False,
    client: Any = None,
) -> xr.Dataset:
    """Evaluate a whole grid and return it as an `xarray.Dataset`.

    `source`: the name of a grid of dsjax's, the path of a grid file, or the same thing as a dict. `axes` {name:
    values} replaces or adds axes, `fixed` {name: value} fixes one, `settings` {"nic.CX7.scale_out_bytes_per_s":
    number} changes catalog rows, `limits` {"min_tps_per_user": 30, "max_ttft": "2 s"} replaces or adds limits of the
    grid's [constraints] (None lifts one). `dtype` "float64" or "float32". `blocks`: keep `block_time` (default: up to a
    million points). `max_memory`: bytes, or text like "4 GB", that the process may hold (default: what is free).
    `devices`: evaluate what is compiled on so many JAX devices of this machine; a CPU has one, or
    JAX_NUM_CPU_DEVICES (a variable of the environment, or `jax_num_cpu_devices` of `jax.config`) before JAX starts.

    `output`, a path ending in .nc or .zarr: every slab of the grid is written when it is finished, so that a grid
    may be larger than the memory; the Dataset returned is read from there when it is used. `resume` goes on where an
    interrupted sweep of the same grid stopped, `force` starts again and overwrites. `client`: the workers of this
    `dask.distributed.Client` evaluate, into a Zarr store. Small grids are NumPy's, large
    ones compiled, whichever is sooner (`dsjax.compiled()` compiles all). Raises `InputError` on bad input, before
    computing.
    """
    if output is None:
        for name, given in (("resume", resume), ("force", force), ("client", client)):
            if given:
                raise InputError(f"{name}: goes with an output; expected output='FILE.nc' or 'FILE.zarr'")
    else:
        files.apart([output], inputs.of_grid(source, axes, fixed, catalogs))
    changes = {"axes": axes, "fixed": fixed, "settings": settings, "limits": limits, "catalogs": catalogs}
    space = grid.load(source, **changes, any_size=machine.disk(output) if output else False)
    command = history(axes, fixed, settings, limits, dtype)
    if output is None:
        return of_space(space, dtype, blocks, command, max_memory, devices)
    write(space, output, dtype, blocks, command, max_memory, devices, resume=resume, force=force, client=client)
    return outputs.opened(output)


def history(axes, fixed, settings, limits, dtype, command="sweep"):
    """A call of Python's, for the history of a dataset."""
    changes = {"axes": axes, "fixed": fixed, "settings": settings, "limits": limits, "dtype": dtype}
    given = ", ".join(f"{name}={value}" for name, value in changes.items() if value is not None)
    return f"dsjax.{command}({given})"


def of_space(space, dtype="float64", blocks=None, command="dsjax", max_memory=None, devices=None, progress=None):
    """Evaluate a resolved space; see `sweep`. `command` goes into the history of the dataset.

    `progress(points)` is called for every slab of a large space.
    """
    dtype, blocks, names = _wanted(space, dtype, blocks)
    room = machine.room(max_memory)
    check_size(space, dtype, blocks, room)
    if space.points <= MOST_POINTS_IN_ONE_PIECE and max_memory is None and devices is None:
        return dataset.to_dataset(space, evaluation.evaluate(space, dtype, names), command)
    cut = slabs.within(space, dtype, names, room - slabs.nbytes(space, dtype, names))
    devices = () if devices is None else slabs.local_devices(devices)
    return dataset.to_dataset(space, slabs.arrays_of(cut, dtype, names, progress, devices), command)


def write(
    space,
    path,
    dtype="float64",
    blocks=None,
    command="dsjax",
    max_memory=None,
    devices=None,
    *,
    resume=False,
    force=False,
    client=None,
    progress=None,
):
    """Evaluate a resolved space into a file, slab by slab; see `sweep`. The counts of `outputs.write`."""
    dtype, blocks, _ = _wanted(space, dtype, blocks)
    outputs.check(path, force, resume)
    devices = () if devices is None else slabs.local_devices(devices)
    job = outputs.Job(dtype, blocks, command, machine.room(max_memory), resume, force, devices)
    return outputs.write(space, path, job, progress, client)


def _wanted(space, dtype, blocks):
    """(dtype, blocks, names of the variables) of a sweep."""
    dtype = checked(dtype)
    blocks = space.points <= MOST_POINTS_WITH_BLOCKS if blocks is None else blocks
    return dtype, blocks, slabs.names_of(space, dtype, blocks)


def checked(dtype):
    """Name of a floating-point type dsjax evaluates in."""
    try:
        dtype = np.dtype(dtype).name
    except TypeError:
        dtype = str(dtype)
    if dtype not in ("float64", "float32"):
        raise InputError(f"dtype: {dtype!r}; expected float64 or float32")
    return dtype


def check_size(space, dtype, blocks, room):
    """Refuse a grid whose result does not fit in `room` bytes of memory, and say what would help."""
    needed = slabs.nbytes(space, dtype, slabs.names_of(space, dtype, blocks))
    if needed > room:
        largest = max(space.sizes, key=space.sizes.get)
        advice = "; float32 halves it" if dtype == "float64" else ""
        raise InputError(
            f"grid: {space.points:,} points need {machine.gigabytes(needed)} and {machine.gigabytes(room)} of "
            f"memory is free; expected a smaller grid: axis {largest} has {space.sizes[largest]:,} values{advice}"
        )


def swept(space, at, of, dtype):
    """Dataset of `at`, a space whose numbers were moved, under the coordinates of `space`, as a search reads it."""
    needed = (of, space.objective, "feasible")
    wanted = [n for n in evaluation.variables(at, dtype) if n in needed or n.startswith("ok_")]
    return dataset.to_dataset(space, evaluation.evaluate(at, dtype, wanted), "dsjax sensitivity")
