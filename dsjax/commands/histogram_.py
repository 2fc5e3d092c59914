"""`dsjax histogram`."""

import functools

import click

from .common import GRID_OPTIONS, OUTPUT_OPTIONS, STREAM_OPTION, is_file, searched, space_of


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
