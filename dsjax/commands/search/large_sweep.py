"""`dsjax sweep` of a grid that is written while it is evaluated: its options, and the sweep itself."""

import contextlib
import os
import shlex
from pathlib import Path

import click

from ...errors import InputError
from ..common import MEMORY_OPTION, command_line, options_of
from ..process import split_cpu
from ..progress import progress

# Above this many points a NetCDF file is written in parts while the grid is evaluated.
MOST_POINTS_AT_ONCE = 30_000_000

LARGE_OPTIONS = options_of(
    MEMORY_OPTION,
    click.option("--devices", type=int, metavar="N", help="Evaluate on N JAX devices of this machine."),
    click.option("--resume", is_flag=True, help="Go on where an interrupted sweep with the same -o stopped."),
    click.option(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        help="Evaluate on the workers of a dask scheduler, which share the folder of -o.",
    ),
)


def in_parts(space, output, resume, scheduler):
    """Whether the output is written slab by slab, into `OUTPUT.parts` first."""
    if output is None:
        if resume or scheduler:
            option = "--resume" if resume else "--scheduler"
            raise InputError(f"{option}: goes with an output; expected -o FILE.nc or -o FILE.zarr")
        return False
    begun = os.path.lexists(f"{os.path.realpath(output)}.parts")
    return begun or resume or scheduler or is_store(output) or space.points > MOST_POINTS_AT_ONCE


def is_store(path):
    """Whether a path names a Zarr store."""
    from ...space.grid import kind_of_results

    return kind_of_results(path) == "Zarr store"


def check(path, force, results, resume):
    """Refuse a file that cannot be written: one of `results`, or one of text."""
    from ...results import files
    from ...sweeps import outputs

    if not results:
        files.check_text(path, force)
        return
    if not is_store(path):
        files.check_output(path, force or resume)
    outputs.check(path, force, resume)


def swept(request, space, output, blocks, devices, resume, force, csv):
    """(Dataset or None where it is too large to hold, best points, counts) of a grid written to a file.

    `csv`: a file of lines that is asked for too, which needs the Dataset.
    """
    from ... import machine
    from ...results import netcdf
    from ...search import ranking, streaming
    from ...sweeps import scheduler, slabs, sweep

    dtype, command, most, address = request.dtype or "float64", command_line(), request.max_memory, request.scheduler
    names = slabs.names_of(space, dtype, False)
    holds = 2 * slabs.nbytes(space, dtype, names) <= machine.room(most)
    if csv and not holds:
        raise InputError(f"{csv}: {space.points:,} points do not fit in memory; expected {output} alone")
    connected = scheduler.connected(address) if address else contextlib.nullcontext()
    split_cpu(devices)
    with connected as client:
        with progress(f"evaluating {space.points:,} points", request.quiet, space.points) as advance:
            how = {"resume": resume, "force": force, "client": client, "progress": advance}
            counts = sweep.write(space, output, dtype, blocks, command, most, devices, **how)
        with _complete(output), progress(f"ranking {space.points:,} points", request.quiet):
            if not holds:
                return None, streaming.best(space, dtype=dtype, command=command), counts
            ds = netcdf.read(output)  # parts may have been damaged, by others
            return ds, ranking.best(ds), counts


@contextlib.contextmanager
def _complete(output):
    """An interrupt says that the output is written."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{output} is complete: dsjax best {shlex.quote(str(output))} ranks it") from None


def size(path):
    """Bytes of a file, or of all files of a store."""
    files = [path] if os.path.isfile(path) else [p for p in Path(path).rglob("*") if p.is_file()]
    return sum(os.path.getsize(file) for file in files)
