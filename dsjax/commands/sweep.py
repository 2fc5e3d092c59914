"""Commands that evaluate a grid or read a file of results: sweep, best, explain."""

import functools
import sys
from pathlib import Path

import click

from ..errors import InputError
from . import large_sweep
from .common import (
    GRID_OPTIONS,
    MEMORY_OPTION,
    OUTPUT_OPTIONS,
    SCHEDULER_OPTION,
    STREAM_OPTION,
    compilation_cache,
    is_file,
    progress,
    searched,
    space_of,
    sweep_of,
    values_of,
)
from .large_sweep import LARGE_OPTIONS


@click.command()
@click.argument("grid", default="default")
@click.option("-o", "--output", metavar="FILE.nc", help="Write every point to a NetCDF file, or to FILE.zarr.")
@click.option("--csv-all", metavar="FILE.csv", help="Write every point to a CSV file.")
@click.option("--csv-feasible", metavar="FILE.csv", help="Write the feasible points to a CSV file.")
@click.option("--json-best", metavar="FILE.json", help="Write the best point to a JSON file.")
@click.option("--blocks/--no-blocks", default=None, help="Keep block_time (default: up to a million points).")
@click.option("--force", is_flag=True, help="Overwrite existing files; start an interrupted sweep again.")
@LARGE_OPTIONS
@GRID_OPTIONS
@OUTPUT_OPTIONS
def sweep(
    grid,
    output,
    csv_all,
    csv_feasible,
    json_best,
    blocks,
    force,
    max_memory,
    devices,
    resume,
    scheduler,
    axes,
    fixed,
    settings,
    model,
    catalogs,
    dtype,
    form,
    quiet,
):
    """Evaluate a whole grid, print the best points and why the others are refused.

    GRID is the path of a grid file or the name of one of dsjax's own (default: "default").

    \b
    dsjax sweep
    dsjax sweep decode_gpu_2025 -o study.nc --csv-feasible feasible.csv
    dsjax sweep --axis batch=8:256:8 --fix nic=CX7 --fix context=8192
    dsjax sweep --set hardware.H20.hbm_bytes="141 GB" --format json
    dsjax sweep --axis context=512:131072:512 --axis batch=1:512:1 --dtype float32 -o large.nc --resume

    \b
    A large grid, or one for FILE.zarr, is written while it is evaluated: what is finished is in FILE.parts, and the
    same command with --resume goes on from there.
    """
    from .. import machine
    from ..reproduction import best_json
    from ..results import csv_files, netcdf
    from ..search import ranking
    from . import ranked as report

    outputs = [path for path in (output, csv_all, csv_feasible, json_best) if path is not None]
    for path in outputs:
        large_sweep.check(path, force)
    if len({Path(path).resolve() for path in outputs}) < len(outputs):
        raise InputError(f"{outputs[-1]}: named for two outputs; expected a path of its own for each")
    space = space_of(grid, axes, fixed, settings, model, catalogs, any_size=machine.disk(output) if output else False)
    if written := large_sweep.in_parts(space, output, resume, scheduler):
        how = (max_memory, devices, resume, force, scheduler, csv_all or csv_feasible)
        ds, ranked, counts = large_sweep.swept(space, output, dtype, blocks, quiet, *how)
    else:
        ds = sweep_of(space, dtype, blocks, quiet, max_memory, devices)
        ranked, counts = ranking.best(ds), ranking.counted(ds)
    with progress("writing", quiet):
        if output is not None and not written:
            netcdf.write_netcdf(ds, output, force)
        if csv_all is not None:
            csv_files.write_csv(ds, csv_all, force=force)
        if csv_feasible is not None:
            csv_files.write_csv(ds, csv_feasible, feasible_only=True, force=force)
        if json_best is not None:
            best_json.write_json(ranked, json_best, force)
    report.best(space, ranked, counts, form, quiet)
    if form == "table" and not quiet:
        for path in outputs:
            click.echo(f"wrote {path} ({large_sweep.size(path) / 1e6:,.1f} MB)")
    sys.exit(0 if counts["feasible"] else 1)


@click.command()
@click.argument("source", default="default", metavar="GRID|FILE.nc|FILE.zarr")
@click.option(
    "--by",
    metavar="NAMES",
    help="Groups, separated by commas: axes or numbers of their rows; '' is one group. Default: the grid's.",
)
@click.option("--top", type=int, default=1, show_default=True, help="Points kept of every group.")
@click.option(
    "--objective", metavar="VARIABLE", help="Maximize this variable ('-name': minimize) instead of the grid's."
)
@STREAM_OPTION
@MEMORY_OPTION
@SCHEDULER_OPTION
@GRID_OPTIONS
@OUTPUT_OPTIONS
def best(
    source,
    by,
    top,
    objective,
    stream,
    max_memory,
    scheduler,
    axes,
    fixed,
    settings,
    model,
    catalogs,
    dtype,
    form,
    quiet,
):
    """The best feasible points of a grid or of a file, per group.

    Equal values (within 1e-9; 1e-6 in float32) are ordered by the study's rule: largest batch first, then the
    earliest grid position.

    \b
    dsjax best space.nc --by hardware,nic
    dsjax best --by '' --top 10
    dsjax best --objective -step_time --by hardware
    dsjax best --axis context=1024:131072:16 --axis batch=1:1024:1 --stream --dtype float32
    """
    from ..results import dataset, netcdf
    from ..search import ranking, streaming
    from . import ranked as report

    groups = None if by is None else [name for name in by.split(",") if name]
    if is_file(source, stream, max_memory, scheduler, axes, fixed, settings, model, catalogs, dtype):
        ds = netcdf.open_results(source)
        space, counts = dataset.space_of(ds), ranking.counted(ds)
        ranked = ranking.best(ds, by=groups, top=top, objective=objective)
    else:
        space = space_of(source, axes, fixed, settings, model, catalogs, any_size=True)
        ranking.check(space, groups, top, objective)
        ranked, counts = searched(
            space,
            dtype,
            quiet,
            stream,
            max_memory,
            lambda ds: ranking.best(ds, by=groups, top=top, objective=objective),
            functools.partial(streaming.best, by=groups, top=top, objective=objective),
            scheduler=scheduler,
        )
    report.best(space, ranked, counts, form, quiet, objective)
    sys.exit(0 if counts["feasible"] else 1)


@click.command()
@click.argument("source", default="default", metavar="GRID|FILE.nc|FILE.zarr")
@click.option("--of", metavar="VARIABLE", help="The variable (default: the grid's objective).")
@click.option("--bins", default="20", show_default=True, help="Ranges of equal width.")
@STREAM_OPTION
@GRID_OPTIONS
@OUTPUT_OPTIONS
def histogram(source, of, bins, stream, axes, fixed, settings, model, catalogs, dtype, form, quiet):
    """How a variable is distributed over the feasible points: counts per range, and quantiles.

    \b
    dsjax histogram space.nc
    dsjax histogram --of tpot --bins 10
    dsjax histogram --axis batch=1:1024:1 --axis context=1024:65536:64 --stream --dtype float32
    """
    from ..results import netcdf
    from ..search import histogram
    from ..units import number
    from . import histogram as distributions

    options = {"of": of, "bins": number("--bins", bins, histogram.BINS)}
    if is_file(source, stream, axes, fixed, settings, model, catalogs, dtype):
        found = histogram.of_dataset(netcdf.open_netcdf(source), **options)
    else:
        space = space_of(source, axes, fixed, settings, model, catalogs, any_size=True)
        histogram.variable(space, of)
        held = functools.partial(histogram.of_dataset, **options)
        streamed = functools.partial(histogram.of_space, **options)
        found, _ = searched(space, dtype, quiet, stream, None, held, streamed, counts=False)
    distributions.show(found, form, quiet)


@click.command()
@click.argument("source", default="default", metavar="GRID|FILE.nc|FILE.zarr")
@click.option(
    "--at",
    metavar="NAME=VALUE,...",
    help="Values of axes: batch=10,tp=4. The others are those of the best point there.",
)
@GRID_OPTIONS
@OUTPUT_OPTIONS
def explain(source, at, axes, fixed, settings, model, catalogs, dtype, form, quiet):
    """One configuration in full: the best feasible point, of those that --at leaves; refused ones too.

    Where none that --at leaves is feasible, it is the best of those that the fewest constraints refuse.

    Metrics and their arithmetic, every block and what binds it, network, critical path, memory and the largest batch,
    why it is refused, whether TBO would pay, where the numbers come from. --format csv prints the blocks.

    \b
    dsjax explain
    dsjax explain space.nc --at hardware=H20,batch=64
    dsjax explain sg2260e_decode_128 --at nic=one-layer,tp=4,moe_tp=1,batch=10 --format json
    """
    from ..analysis import explain
    from ..results import netcdf
    from . import explain as explained

    chosen = values_of("--at", at)
    if is_file(source, axes, fixed, settings, model, catalogs, dtype):
        result, arguments = explain.of_dataset, (netcdf.open_netcdf(source), chosen)
    else:
        space = space_of(source, axes, fixed, settings, model, catalogs)
        result, arguments = explain.of_space, (space, chosen, dtype or "float64")
    with progress("explaining", quiet), compilation_cache():
        ds = result(*arguments)
    explained.show(ds, form, quiet)
    sys.exit(0 if chosen or ds["feasible"] else 1)
