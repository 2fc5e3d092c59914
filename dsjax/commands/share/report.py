"""`dsjax report`: a space as one HTML page."""

import os
import sys

import click

from ..common import QUIET_OPTION, command_line, grid_command
from ..help import command
from ..output import echo
from ..progress import progress


@command()
@click.option("-o", "--output", required=True, metavar="FILE.html", help="The page.")
@click.option("--force", is_flag=True, help="Overwrite an existing page.")
@grid_command(output=QUIET_OPTION)
def report(request, output, force):
    """A grid or a file of results as one HTML page.

    The question and the best point in words; the Pareto front and a map of what refuses the rest, values on hover; the
    best point in full; what would help; memory; every number that the answer reads, with its source; how accurate such
    answers were. Tables sort. The page fetches nothing.

    \b
    dsjax report space.nc -o report.html
    dsjax report --fix context=8192 --limit min_tps_per_user=30 -o report.html
    dsjax report serve -o servers.html

    Exit code 1 where no point is feasible: the page says why.
    """
    from ...pages import sheet
    from ...reporting import report as made

    request.keep_inputs([output])
    sheet.check(output, force)
    results = request.swept(request.ask("report", needs="sweep"))
    with progress("writing the report", request.quiet):
        page = made.page(results, command_line())
        sheet.write(page, output, force)
    if not request.quiet:
        echo(made.conclusion(page), f"wrote {output} ({os.path.getsize(output) / 1e3:,.0f} kB)")
    sys.exit(0 if results.ds["feasible"].any() else 1)
