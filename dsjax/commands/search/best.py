"""`dsjax best`: the best feasible points of a grid or of a file, per group."""

import functools
import sys

import click

from ..common import (
    GRID_OPTIONS,
    MEMORY_OPTION,
    OUTPUT_OPTIONS,
    SCHEDULER_OPTION,
    STREAM_OPTION,
    is_file,
    searched,
    space_of,
)


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
    from ...results import dataset, netcdf
    from ...search import ranking, streaming
    from .. import ranked as report

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
