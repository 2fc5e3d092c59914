"""Commands that weigh one thing against another: pareto, recommend."""

import sys

import click

from .common import (
    GRID_OPTIONS,
    OUTPUT_OPTIONS,
    changes_of,
    compilation_cache,
    progress,
)


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
