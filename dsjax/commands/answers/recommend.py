"""`dsjax recommend`: the fewest chips for a demand."""

import sys

import click

from .. import steps
from ..common import LENGTHS, PERCENTILE, grid_command
from ..help import command
from ..progress import progress


@command()
@click.option("--prefill", default="prefill", show_default=True, metavar="GRID", help="Grid of the prefill pool.")
@click.option("--requests-per-s", metavar="R", help="Demand: requests per second, at random.")
@click.option("--concurrency", metavar="USERS", help="Or: users, each of whom asks again when the answer is there.")
@LENGTHS
@click.option(
    "--min-tps-per-user",
    metavar="RATE",
    help="Least tokens per second of a user, for the grid's own; its slo_margin is kept.",
)
@click.option("--max-tpot", metavar="TIME", help='Or: longest time per output token, 0.05 or "50 ms".')
@click.option("--max-ttft", metavar="TIME", help="Longest time to the first token, for the grid's own.")
@PERCENTILE
@click.option("--aggregated/--no-aggregated", default=True, help="Instances that do both, too, or pools alone.")
@click.option("--mixed", is_flag=True, help="Pools of different hardware, too.")
@click.option("--spare", default=0, show_default=True, metavar="N", help="Instances of each pool that stand by.")
@click.option("--max-chips", metavar="N", help="Chips of a fleet, at most.")
@grid_command(source="[GRID]")
def recommend(request, prefill, percentile, aggregated, mixed, spare, **asked):
    """The fewest chips for a demand, in one or in two pools.

    Whole instances, with queues and percentiles counted, aggregated ones beside the two pools. GRID is the grid of the
    decode pool; its layouts are those of aggregated instances too, which compute prompts and decode. Of every hardware
    and NIC the fleet with the fewest chips is taken, of equals the fastest for a user. Prints the best aggregated and
    the best disaggregated fleet of each, what binds it, and the arithmetic of the smallest and of the cheapest one,
    line by line. --axis and --fix go to the grid that names the axis, to both where none does, or to the requests
    (isl_cv, cached_fraction, ...).

    \b
    dsjax recommend --requests-per-s 10 --isl 4096 --osl 1024
    dsjax recommend --concurrency 5000 --isl 2000 --osl 500 --max-tpot "50 ms" --max-ttft 1 --percentile 99
    dsjax recommend --requests-per-s 10 --isl 4096 --osl 1024 --set hardware.H20.usd_per_hour=1.2 --spare 1
    """
    from ...analysis.fleet import fleets
    from ...analysis.fleet import recommend as of
    from . import recommend_tables

    how = {"percentile": percentile, "aggregated": aggregated, "mixed": mixed, "spare": spare}
    spaces, question = of.spaces_of(request.source, prefill, asked, request.changes(), **how)
    request.say_chosen(next(iter(spaces.values())))
    with progress("looking for fleets", request.quiet):
        ds = fleets.of_spaces(spaces, question, command="dsjax recommend")
    recommend_tables.show(ds, request.form, request.quiet)
    if ds.sizes["rank"]:
        steps.show(request, *recommend_tables.after(ds, request.model or "DeepSeek-V3"))
    sys.exit(0 if ds.sizes["rank"] else 1)
