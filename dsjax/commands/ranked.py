"""Ranked points of a space as a table, as CSV and as JSON."""

import click
import numpy as np

from ..formats import heading, label, shown
from ..reproduction import best_json
from ..results import files
from ..space import provenance
from ..specs.variables import LIMITS, WORDED
from . import marks
from .tables import records, table

ROWS_SHOWN = 40
METRICS = ("tps_per_user", "tps_per_chip", "tpot", "ttft", "memory_per_chip", "mfu", "cost_per_million_tokens")


def show(space, ranked, counts, form, quiet, objective=None):
    """The ranked points of a space; as a table with the space before it and the refusals (`counts`) after it."""
    if form == "table":
        _best_table(space, ranked, counts, quiet, (objective or space.objective).removeprefix("-"))
        return
    names = [*space.axes, *(name for name in ranked.data_vars if "block" not in ranked[name].dims)]
    columns = {"rank": ranked["rank"].values}
    columns |= {name: ranked[name].broadcast_like(ranked["rank"]).values for name in names}
    columns |= {name: [WORDED[name][i] for i in columns[name]] for name in WORDED if name in columns}
    counts = {"fixed": space.fixed, **counts}
    records(files.records(columns), form, {"title": space.title, **best_json.of(ranked), **counts}, list(columns))


def _best_table(space, ranked, counts, quiet, objective):
    metrics = [name for name in METRICS if name in space.defined]
    metrics += [objective] if objective not in metrics else []
    columns = [[label(x, ranked[axis].attrs.get("units", "1")) for x in _shown(ranked, axis)] for axis in space.axes]
    columns += [[shown(name, float(x)) for x in _shown(ranked, name)] for name in metrics]
    columns += [[LIMITS[i] for i in _shown(ranked, "bottleneck")]]
    outside = _shown(ranked, "outside_validity") if "outside_validity" in ranked else []
    names = marks.concerned(space.bounds, metrics)
    marked = marks.column(outside, names)
    columns += [marked] if marked else []
    rows = [[str(i), *row] for i, row in enumerate(zip(*columns, strict=True), 1)]
    if not quiet:
        axes = " x ".join(f"{n} {name}" for name, n in space.sizes.items())
        units = {name: ranked[name].attrs.get("units", "1") for name in space.fixed}
        fixed = ", ".join(f"{name} {label(value, units[name])}" for name, value in space.fixed.items())
        click.echo(f"{space.title}: {axes} = {space.points:,} points ({fixed})")
    if rows:
        click.echo(table(["", *space.axes, *map(heading, metrics), "bound by", *([""] if marked else [])], rows))
        for line in marks.remarks(outside, names):
            click.echo(f"  {line}")
    if not quiet:
        if ranked.sizes["rank"] > ROWS_SHOWN:
            click.echo(f"  ... {ranked.sizes['rank'] - ROWS_SHOWN:,} more: --format csv prints them all")
        refused = ", ".join(f"{name} {n:,}" for name, n in counts["refused"].items() if n)
        least = "at least " if counts.get("least") else ""  # others were not looked at in full
        feasible = f"{least}{counts['feasible']:,} of {space.points:,} points are feasible"
        click.echo(f"{feasible}; refused by {refused or 'none'} (a point may fail several)")
        for line in provenance.remarks(space, metrics):
            click.echo(f"  {line}")


def _shown(ranked, name):
    """Values of a variable at the ranked points that are shown."""
    return np.broadcast_to(ranked[name].values, ranked.sizes["rank"])[:ROWS_SHOWN].tolist()
