"""`dsjax histogram`: how a variable is distributed over the feasible points."""

import functools

import click

from ...formats import heading, scaled, shown
from ...units import number
from .. import completion, steps
from ..common import SCHEDULER_OPTION, STREAM_OPTION, grid_command
from ..help import command
from ..output import echo
from ..tables import records, table

BAR = 40  # characters of the longest bar


@command()
@click.option(
    "--of",
    metavar="VARIABLE",
    shell_complete=completion.names("variables"),
    help="The variable (dsjax names variables; default: the grid's objective).",
)
@click.option("--bins", default="20", show_default=True, help="Ranges of equal width.")
@grid_command(STREAM_OPTION, SCHEDULER_OPTION)
def histogram(request, of, bins):
    """How a variable is distributed over the feasible points.

    \b
    dsjax histogram space.nc
    dsjax histogram --of tpot --bins 10
    dsjax histogram --axis batch=1:1024:1 --axis context=1024:65536:64 --stream --dtype float32
    """
    from ...search import histogram, ranking

    options = {"of": of, "bins": number("--bins", bins, histogram.BINS)}
    asked = request.ask("histogram", any_size=True)
    histogram.variable(asked.space, of)
    held, streamed = (functools.partial(search, **options) for search in (histogram.of_dataset, histogram.of_space))
    found, _ = request.searched(asked, held, streamed, counts=False)
    show(asked.space, found, request.form, request.quiet)
    steps.show(
        request, steps.of("best", request, *(["--objective", ranking.search_for(asked.space, of)] if of else []))
    )


def show(space, found, form, quiet):
    """Print counts per range with bars, and quantiles."""
    from ...space import limits
    from .. import trust

    name, total = found.attrs["of"], int(found["count"].sum())
    edges = list(zip(found["lower"].values.tolist(), found["upper"].values.tolist(), found["count"].values.tolist()))
    quantiles = dict(zip(found["quantile"].values.tolist(), found["value"].values.tolist()))
    error = found["value"].attrs.get("error", 0.0)
    if form != "table":
        rows = [{"lower": low, "upper": high, "count": n} for low, high, n in edges]
        summary = {"title": found.attrs["title"], "of": name, "feasible": total, "limits": space.bounds}
        summary["remarks"] = trust.told_by(found)
        summary["quantiles"] = [{"share": q, "value": x} for q, x in quantiles.items()]
        summary |= {"quantiles_error": error} if error else {}
        records(rows, form, summary)
        return
    if not quiet:
        echo(trust.title(space, f"; {name} of {total:,} feasible points"), *trust.chosen(space), limits.words(space))
    most = max(n for *_, n in edges)
    rows = [
        [shown(name, low), shown(name, high), f"{n:,}", f"{100 * n / total:.1f}", "#" * round(BAR * n / most)]
        for low, high, n in edges
    ]
    echo(table([f"{heading(name)} from", "to", "points", "%", ""], rows))
    texts = [f"{100 * q:g} %: {shown(name, x)}" for q, x in quantiles.items()]
    near = f" (streamed: up to {scaled(name, error):.2g} too high)" if error else ""
    echo(f"Quantiles, {heading(name)}{near}: {', '.join(texts)}")
    for line in [] if quiet else trust.slips(found):
        echo(f"  {line}")
