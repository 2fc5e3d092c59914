"""`dsjax explain`: one configuration in full."""

import sys

import click

from .. import steps
from ..common import grid_command, values_of
from ..help import command
from ..progress import progress


@command()
@click.option(
    "--at",
    metavar="NAME=VALUE,...",
    help="Values of axes: batch=10,tp=4. The others are those of the best point there.",
)
@grid_command()
def explain(request, at):
    """One configuration in full: the best one, or any other.

    It is the best of the points that --at leaves; where none of them is feasible, the best of those that the fewest
    constraints refuse.

    Metrics and their arithmetic, every block and what binds it, network, critical path, memory and the largest batch,
    why it is refused, whether TBO would pay, where the numbers come from. --format csv prints the blocks.

    Of a server (phase "serve"): where the time of a request goes, percentiles, what limits the rate, memory. --format
    csv prints the stages of a request.

    \b
    dsjax explain
    dsjax explain space.nc --at hardware=H20,batch=64
    dsjax explain sg2260e_decode_128 --at nic=one-layer,tp=4,moe_tp=1,batch=10 --format json
    """
    from ...analysis import explain
    from . import explain_server_tables, explain_tables

    chosen = values_of("--at", at)
    asked = request.ask("explain", needs="space")
    with progress("explaining", request.quiet):
        ds = explain.explain(asked, chosen)
    if asked.space.study.requests:
        explain_server_tables.show(ds, request, asked)
    else:
        explain_tables.show(ds, request.form, request.quiet)
        picture = steps.of("plot roofline", request, "-o", "roofline.png", at=chosen)
        steps.show(request, steps.of("sensitivity", request, at=chosen), picture)
    sys.exit(0 if chosen or ds["feasible"] else 1)
