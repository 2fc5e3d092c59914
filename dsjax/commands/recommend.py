"""Commands that weigh one thing against another: pareto, recommend."""

import functools
import sys

import click

from .common import (
    GRID_OPTIONS,
    MEMORY_OPTION,
    OUTPUT_OPTIONS,
    SCHEDULER_OPTION,
    STREAM_OPTION,
    changes_of,
    compilation_cache,
    is_file,
    progress,
    searched,
    space_of,
)


@click.command()
@click.argument("source", default="default", metavar="GRID|FILE.nc|FILE.zarr")
@click.option("--x", default="tps_per_user", show_default=True, metavar="VARIABLE", help="'-name': less is better.")
@click.option("--y", default="tps_per_chip", show_default=True, metavar="VARIABLE", help="'+name': more is better.")
@click.option("--by", default="", metavar="NAMES", help="One front for each value: axes or numbers of their rows.")
@STREAM_OPTION
@MEMORY_OPTION
@SCHEDULER_OPTION
@GRID_OPTIONS
@OUTPUT_OPTIONS
def pareto(source, x, y, by, stream, max_memory, scheduler, axes, fixed, settings, model, catalogs, dtype, form, quiet):
    """The Pareto front of two variables: the points that no other feasible point beats in both.

    Rates and utilisation are better larger; times, memory, chips and costs smaller. Points equal in both (within
    1e-9; 1e-6 in float32) are one, picked by the study's rule: largest batch first, then the earliest grid position.

    \b
    dsjax pareto                                     throughput per user against throughput per chip
    dsjax pareto space.nc --by hardware
    dsjax pareto --x tpot --y cost_per_million_tokens --set hardware.H20.usd_per_hour=1.2
    """
    from ..results import dataset, netcdf
    from ..search import pareto, ranking, streaming
    from . import recommend_tables

    groups = [name for name in by.split(",") if name]
    if is_file(source, stream, max_memory, scheduler, axes, fixed, settings, model, catalogs, dtype):
        ds = netcdf.open_results(source)
        space, counts, found = dataset.space_of(ds), ranking.counted(ds), pareto.of_dataset(ds, x, y, groups)
    else:
        space = space_of(source, axes, fixed, settings, model, catalogs, any_size=True)
        pareto.check(space, x, y, groups)
        found, counts = searched(
            space,
            dtype,
            quiet,
            stream,
            max_memory,
            lambda ds: pareto.of_dataset(ds, x, y, groups),
            functools.partial(streaming.pareto, x=x, y=y, by=groups),
            scheduler=scheduler,
        )
    recommend_tables.front(space, found, counts, form, quiet)
    sys.exit(0 if counts["feasible"] else 1)


@click.command()
@click.argument("grid", default="default")
@click.option("--prefill", default="prefill", show_default=True, metavar="GRID", help="Grid of the prefill pool.")
@click.option("--requests-per-s", metavar="R", help="Demand: requests per second.")
@click.option("--concurrency", metavar="USERS", help="Or: users who are being answered at once.")
@click.option("--isl", metavar="TOKENS", help="Tokens of a prompt (input sequence length).")
@click.option("--osl", metavar="TOKENS", help="Tokens of an answer (output sequence length).")
@click.option(
    "--min-tps-per-user",
    metavar="RATE",
    help="Least tokens per second of a user, for the grid's own; its slo_margin is kept.",
)
@click.option("--max-tpot", metavar="TIME", help='Or: longest time per output token, 0.05 or "50 ms".')
@click.option("--max-ttft", metavar="TIME", help="Longest time to the first token, for the grid's own.")
@GRID_OPTIONS
@OUTPUT_OPTIONS
def recommend(grid, prefill, axes, fixed, settings, model, catalogs, dtype, form, quiet, **asked):
    """The fewest chips for a demand: pools of decode and of prefill, sized apart.

    GRID is the grid of the decode pool. Every pool is a number of whole instances of one configuration; the one with
    the fewest chips is taken, of equals the fastest for a user. Prints a fleet for every hardware and NIC, and the
    arithmetic of the smallest and of the cheapest one, line by line. --axis and --fix go to the grid that names the
    axis, to both where none does.

    \b
    dsjax recommend --requests-per-s 10 --isl 4096 --osl 1024
    dsjax recommend --concurrency 5000 --isl 2000 --osl 500 --max-tpot "50 ms" --max-ttft 1
    dsjax recommend --requests-per-s 10 --isl 4096 --osl 1024 --set hardware.H20.usd_per_hour=1.2
    """
    from ..analysis import demand, recommend
    from . import recommend_tables

    changes = changes_of(axes, fixed, settings, model, catalogs)
    spaces = demand.spaces_of(grid, prefill, asked, changes)
    points = sum(space.points for space in spaces)
    with progress(f"evaluating {points:,} points", quiet), compilation_cache():
        ds = recommend.of_spaces(*spaces, asked, dtype or "float64")
    recommend_tables.fleets(ds, form, quiet)
    sys.exit(0 if ds.sizes["rank"] else 1)
