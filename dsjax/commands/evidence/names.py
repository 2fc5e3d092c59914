"""`dsjax names`: what a user may write, with unit and meaning."""

import click

from .. import completion
from ..common import OUTPUT_OPTIONS
from ..help import command
from ..output import echo
from ..tables import records, table


@command()
@click.argument(
    "kind",
    metavar="axes|variables|limits|parameters",
    shell_complete=completion.listed("axes", "variables", "limits", "parameters"),
)
@click.argument("words", nargs=-1, metavar="[WORD]...")
@OUTPUT_OPTIONS
def names(kind, words, form, quiet):
    """Names of axes, variables, limits, parameters: unit, meaning.

    Words keep the names that have all of them. Axes are what --axis and --fix take, variables what --of, --objective,
    --x and --y take, limits what --limit takes, parameters what --set, --vary, --wrt and --error take. Numbers of a row
    of a catalog are axes too, listed where words are given: dsjax names axes hardware.

    \b
    dsjax names axes
    dsjax names variables ttft
    dsjax names limits p99
    dsjax names parameters bandwidth
    """
    from ...space import listing

    rows = listing.names(kind, words)
    if form != "table":
        records(rows, form)
        return
    left = [] if words else [row for row in rows if row.get("of_row")]
    shown = [row for row in rows if row not in left]
    columns = [name for name in shown[0] if name != "of_row" and any(row[name] for row in shown)]
    echo(table(columns, [[row[name] for name in columns] for row in shown]))
    if left and not quiet:
        echo(f"  and {len(left)} numbers of rows of the catalogs: dsjax names axes WORD")
    if kind == "limits" and not quiet:
        echo("  and min_ and max_ of numeric axes and of numbers of the rows: max_batch, min_hardware_hbm_bytes")
