"""`dsjax plot`: pictures."""

import os
import sys

import click

from ...errors import InputError
from .. import completion
from ..common import QUIET_OPTION, between, grid_command, values_of
from ..help import command
from ..output import echo
from ..progress import progress


@command()
@click.argument("kind", shell_complete=completion.kinds)
@click.option("-o", "--output", required=True, metavar="FILE.png|FILE.svg|FILE.html", help="The picture.")
@click.option("--at", metavar="NAME=VALUE,...|best", help="Only these values of axes, or the best point's.")
@click.option("--x", metavar="NAME", help="Axis or variable across; response, heatmap: also nic.scale_out_bytes_per_s.")
@click.option("--y", metavar="NAME", help="Axis, parameter or variable up; response: one or more, with commas.")
@click.option("--by", metavar="NAMES", help="Groups, separated by commas; '' is one group. Default: the grid's first.")
@click.option("--of", metavar="VARIABLE", help="The best of this variable ('-name': the smallest), or its elasticity.")
@click.option("--until", metavar="TARGET", help="response: mark where '<variable> >= <number>' is met.")
@click.option("--from", "low", metavar="NUMBER", help="Of a parameter of response, heatmap: from this value (a tenth).")
@click.option("--to", "high", metavar="NUMBER", help="Of a parameter of response, heatmap: to this value (ten times).")
@click.option("--wrt", metavar="PARAMETERS", help="tornado: with respect to these, separated by commas.")
@click.option("--blocks", is_flag=True, help="breakdown: the operators, instead of what binds.")
@click.option("--size", default="9x6", show_default=True, metavar="WxH", help="Width and height in inches.")
@click.option("--dpi", type=float, default=150, show_default=True, help="Dots per inch of a PNG.")
@click.option("--force", is_flag=True, help="Overwrite an existing picture.")
@grid_command(output=QUIET_OPTION)
def plot(request, kind, output, at, low, high, size, dpi, force, **given):
    """A picture of a grid or of a file of results: PNG, SVG or HTML.

    \b
    KIND is one of
      pareto     the fronts of two variables, one per group
      heatmap    the best over two axes or parameters, and what refuses the rest
      roofline   a chip's roofline with the operators of one configuration
      breakdown  what the best steps' time is made of
      tornado    what a change of each parameter is worth at one point
      response   variables along an axis or a parameter
      latency    percentiles of TTFT and TPOT of servers against their load, with the knee

    \b
    dsjax plot pareto space.nc -o pareto.png --by hardware
    dsjax plot heatmap space.nc -o heat.svg --x batch --y tp --at hardware=H800
    dsjax plot response space.nc -o batch.png --x batch --y tps_per_user,tps_per_chip
    dsjax plot latency serve -o latency.html --by hardware,engine
    dsjax plot response -o nic.png --x nic.scale_out_bytes_per_s --until "tps_per_chip >= 3000"

    Exit code 1 where no point is feasible.
    """
    from ... import pictures
    from ...space import limits

    options = {name: value for name, value in given.items() if value not in (None, False)}
    options |= {"at": at if at == "best" else values_of("--at", at)} if at else {}
    options |= {"between": ends} if (ends := between(low, high)) else {}
    if "wrt" in options:
        options["wrt"] = options["wrt"].split(",")
    size = _size(size)
    request.keep_inputs([output])
    pictures.check(kind, output, size, dpi, force, options)
    results = request.swept(request.ask("plot", needs="sweep"), blocks=None)
    with progress(f"drawing {kind}", request.quiet):
        _, conclusion = pictures.drawn(kind, results, output, size, dpi, force, options)
    if not request.quiet:
        echo(f"{limits.words(results.space)}\n{conclusion}\nwrote {output} ({os.path.getsize(output) / 1e3:,.0f} kB)")
    # Of a refused point that is the answer to "the best one"; along a parameter others may be feasible.
    sys.exit(0 if "x" in options or isinstance(options.get("at"), dict) or results.ds["feasible"].any() else 1)


def _size(text):
    try:
        return tuple(float(side) for side in text.lower().split("x"))
    except ValueError:
        raise InputError(f"--size {text}: expected WIDTHxHEIGHT in inches, like 9x6") from None
