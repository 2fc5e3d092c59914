"""`dsjax best`: the best feasible points of a grid or of a file, per group."""

import functools
import sys

import click

from .. import completion
from ..common import MEMORY_OPTION, SCHEDULER_OPTION, STREAM_OPTION, grid_command, names_of
from ..help import command


@command()
@click.option(
    "--by",
    metavar="NAMES",
    help="Groups, separated by commas: axes or numbers of their rows; '' is one group. Default: the grid's.",
)
@click.option("--top", type=int, default=1, show_default=True, help="Points kept of every group.")
@click.option(
    "--objective",
    metavar="VARIABLE",
    shell_complete=completion.names("variables"),
    help="Maximize this variable ('-name': minimize) instead of the grid's (dsjax names variables).",
)
@grid_command(STREAM_OPTION, MEMORY_OPTION, SCHEDULER_OPTION)
def best(request, by, top, objective):
    """The best feasible points of a grid or of a file, per group.

    Equal values (within 1e-9; 1e-6 in float32) are ordered by the study's rule: largest batch first, then the
    earliest grid position.

    \b
    dsjax best space.nc --by hardware,nic
    dsjax best --by '' --top 10
    dsjax best --objective -step_time --by hardware
    dsjax best --axis context=1024:131072:16 --axis batch=1:1024:1 --stream --dtype float32
    """
    from ...search import ranking, streaming
    from .. import ranked, steps

    asked, options = request.ask("best", any_size=True), {"by": names_of(by), "top": top, "objective": objective}
    ranking.check(asked.space, **options)
    held, streamed = (functools.partial(search, **options) for search in (ranking.best, streaming.best))
    found, counts = request.searched(asked, held, streamed)
    groups = options["by"] if asked.there is None else ()
    ranked.show(asked.space, found, counts, request.form, request.quiet, objective, groups)
    if counts["feasible"]:
        point = {axis: found[axis].broadcast_like(found["rank"]).values[0] for axis in asked.space.axes}
        at = point if objective else None
        steps.show(request, *(steps.of(name, request, at=at) for name in ("explain", "sensitivity")))
    sys.exit(0 if counts["feasible"] else 1)
