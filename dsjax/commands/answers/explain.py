"""`dsjax explain`: one configuration in full."""

import sys

import click

from ..common import GRID_OPTIONS, OUTPUT_OPTIONS, compilation_cache, is_file, progress, space_of, values_of


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
    """One configuration in full: the best feasible point, or any other; refused ones too.

    It is the best of the points that --at leaves; where none of them is feasible, the best of those that the fewest
    constraints refuse.

    Metrics and their arithmetic, every block and what binds it, network, critical path, memory and the largest batch,
    why it is refused, whether TBO would pay, where the numbers come from. --format csv prints the blocks.

    \b
    dsjax explain
    dsjax explain space.nc --at hardware=H20,batch=64
    dsjax explain sg2260e_decode_128 --at nic=one-layer,tp=4,moe_tp=1,batch=10 --format json
    """
    from ...analysis import explain
    from ...results import netcdf
    from . import explain_tables

    chosen = values_of("--at", at)
    if is_file(source, axes, fixed, settings, model, catalogs, dtype):
        result, arguments = explain.of_dataset, (netcdf.open_netcdf(source), chosen)
    else:
        space = space_of(source, axes, fixed, settings, model, catalogs)
        result, arguments = explain.of_space, (space, chosen, dtype or "float64")
    with progress("explaining", quiet), compilation_cache():
        ds = result(*arguments)
    explain_tables.show(ds, form, quiet)
    sys.exit(0 if chosen or ds["feasible"] else 1)
