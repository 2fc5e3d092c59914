"""`dsjax sweep`: a whole grid evaluated, ranked and written."""

import sys

import click

from ..common import grid_command
from ..help import command
from ..output import echo
from ..progress import progress
from . import large_sweep
from .large_sweep import LARGE_OPTIONS


@command()
@click.option("-o", "--output", metavar="FILE.nc", help="Write every point to a NetCDF file, or to FILE.zarr.")
@click.option("--csv-all", metavar="FILE.csv", help="Write every point to a CSV file.")
@click.option("--csv-feasible", metavar="FILE.csv", help="Write the feasible points to a CSV file.")
@click.option("--json-best", metavar="FILE.json", help="Write the best point to a JSON file.")
@click.option("--blocks/--no-blocks", default=None, help="Keep block_time (default: up to a million points).")
@click.option("--force", is_flag=True, help="Overwrite existing files; start an interrupted sweep again.")
@grid_command(LARGE_OPTIONS, source="[GRID]")
def sweep(request, output, csv_all, csv_feasible, json_best, blocks, force, devices, resume):
    """A whole grid: the best points, and why others are refused.

    GRID is the path of a grid file or the name of one of dsjax's own (default: "default").

    \b
    dsjax sweep
    dsjax sweep decode_gpu_2025 -o study.nc --csv-feasible feasible.csv
    dsjax sweep --axis batch=8:256:8 --fix nic=CX7 --fix context=8192
    dsjax sweep --set hardware.H20.hbm_bytes="141 GB" --format json
    dsjax sweep --axis context=512:131072:512 --axis batch=1:512:1 --dtype float32 -o large.nc --resume

    A large grid, or one for FILE.zarr, is written while it is evaluated: what is finished is in FILE.parts, and the
    same command with --resume goes on from there.
    """
    from ... import machine
    from ...reproduction import best_json
    from ...results import csv_files, netcdf
    from ...search import ranking
    from ...space import grid
    from ...sweeps import sources
    from .. import ranked, steps

    outputs = [path for path in (output, csv_all, csv_feasible, json_best) if path is not None]
    if outputs:  # else the grid need not be read for its inputs
        request.keep_inputs(outputs)
    for path in outputs:
        large_sweep.check(path, force, path is output, resume)
    space = grid.load(request.source, **request.changes(), any_size=machine.disk(output) if output else False)
    request.say_chosen(space)
    if written := large_sweep.in_parts(space, output, resume, request.scheduler):
        how = (blocks, devices, resume, force, csv_all or csv_feasible)
        ds, found, counts = large_sweep.swept(request, space, output, *how)
    else:
        ds = request.swept(sources.ask(space, "sweep", {"dtype": request.dtype}), blocks, devices).ds
        found, counts = ranking.best(ds), ranking.counted(ds)
    with progress("writing", request.quiet):
        if output is not None and not written:
            netcdf.write_netcdf(ds, output, force)
        if csv_all is not None:
            csv_files.write_csv(ds, csv_all, force=force)
        if csv_feasible is not None:
            csv_files.write_csv(ds, csv_feasible, feasible_only=True, force=force)
        if json_best is not None:
            best_json.write_json(found, json_best, force)
    ranked.show(space, found, counts, request.form, request.quiet)
    if request.form == "table" and not request.quiet:
        for path in outputs:
            echo(f"wrote {path} ({large_sweep.size(path) / 1e6:,.1f} MB)")
    if counts["feasible"]:
        steps.show(request, *(steps.of(name, request, source=output) for name in ("explain", "pareto")))
    sys.exit(0 if counts["feasible"] else 1)
