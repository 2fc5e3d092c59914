"""`dsjax pareto`: what no other point beats in two variables."""

import functools
import sys

import click

from ...formats import axis_label, heading, label, shown
from ...specs.variables import LIMITS, WORDED
from .. import marks, steps
from ..common import MEMORY_OPTION, SCHEDULER_OPTION, STREAM_OPTION, grid_command, names_of
from ..help import command
from ..output import REFUSED, echo
from ..tables import Table, marked, records


@command()
@click.option(
    "--x",
    metavar="VARIABLE",
    help="'-name': less is better.  [default: tps_per_user, ttft of prompts, step_time of both]",
)
@click.option("--y", default="tps_per_chip", show_default=True, metavar="VARIABLE", help="'+name': more is better.")
@click.option("--by", default="", metavar="NAMES", help="One front for each value: axes or numbers of their rows.")
@grid_command(STREAM_OPTION, MEMORY_OPTION, SCHEDULER_OPTION)
def pareto(request, x, y, by):
    """The front of two variables: what no other point beats in both.

    Rates and utilisation are better larger; times, memory, chips and costs smaller. Points equal in both (within
    1e-9; 1e-6 in float32) are one, picked by the study's rule: largest batch first, then the earliest grid position.

    \b
    dsjax pareto                                     throughput per user against throughput per chip
    dsjax pareto space.nc --by hardware
    dsjax pareto --x tpot --y cost_per_million_tokens --set hardware.H20.usd_per_hour=1.2
    """
    from ...search import pareto, streaming

    asked, options = request.ask("pareto", any_size=True), {"x": x, "y": y, "by": names_of(by)}
    pareto.check(asked.space, **options)
    held, streamed = (functools.partial(search, **options) for search in (pareto.of_dataset, streaming.pareto))
    found, counts = request.searched(asked, held, streamed)
    _show(asked.space, found, counts, request.form, request.quiet)
    if counts["feasible"]:
        sides = ["--x", x or pareto.across(asked.space), "--y", y, *(["--by", by] if by else [])]
        steps.show(request, steps.of("plot pareto", request, *sides, "-o", "pareto.png"))
    sys.exit(0 if counts["feasible"] else 1)


def _show(space, found, counts, form, quiet):
    """The points of Pareto fronts, group by group; `counts` of the space as `ranking.counted` has them."""
    from ...results import files
    from ...search import ranking
    from ...space import limits, provenance
    from .. import ranked, trust

    counts = ranked.with_largest_rate(space, counts)
    x, y = found.attrs["pareto_x"], found.attrs["pareto_y"]
    by = [name for name in found.attrs["pareto_by"].split(",") if name]
    if form != "table":
        names = [*space.axes, *(name for name in found.data_vars if "block" not in found[name].dims)]
        columns = {name: found[name].broadcast_like(found["rank"]).values for name in ("rank", *names)}
        columns |= {name: [WORDED[name][i] for i in columns[name]] for name in WORDED if name in columns}
        summary = {
            "title": space.title,
            "x": x,
            "y": y,
            "by": by,
            "fixed": space.fixed,
            "limits": space.bounds,
            "remarks": trust.told_by(found),
            **counts,
        }
        records(files.records(columns), form, summary, list(columns))
        return
    axes = [*by, *(axis for axis in space.axes if axis not in by)]
    shows = [x, y, *(name for name in (ranked.COST,) if name in space.defined and name not in (x, y))]
    texts = {name: [shown(name, x) for x in found[name].values.tolist()] for name in shows}
    if ranked.COST in shows:
        texts[ranked.COST] = ranked.costs(space, found, found.sizes["rank"])
    unmeasured = ranking.unmeasured(found)
    texts[y], lines = marked(texts[y], unmeasured, provenance.UNMEASURED), []
    for i in range(found.sizes["rank"]):
        point = found.isel(rank=i)
        labels, numbers = [axis_label(point, axis) for axis in axes], [texts[name][i] for name in shows]
        lines.append([str(i + 1), *labels, *numbers, str(point["ties"].item()), LIMITS[int(point["bottleneck"])]])
    outside = found["outside_validity"].values.tolist() if "outside_validity" in found else []
    beside = marks.column(outside, concerned := marks.concerned(space.bounds, shows))
    lines = [[*line, mark] for line, mark in zip(lines, beside, strict=True)] if beside else lines
    if not quiet:
        sides = [f"{name} ({_SIDES[found.attrs[f'pareto_{side}_sense']]})" for side, name in (("x", x), ("y", y))]
        echo(trust.title(space, f"; front of {' and '.join(sides)}"), *trust.chosen(space), limits.words(space))
    if lines:
        names = [*axes, *shows, "equal", "bound by"]
        heads = ["", *axes, *map(heading, shows), "equal", "bound by", *([""] if beside else [])]
        at, least = names.index, ["equal", "bound by", *shows[2:], *(axis for axis in reversed(axes) if axis not in by)]
        constant = [1 + at(axis) for axis in axes]
        echo(Table(heads, lines, constant=constant, least=[1 + at(name) for name in least]))
        if any(unmeasured):
            echo(f"  {provenance.UNMEASURED_NOTE}")
        for line in marks.remarks(outside, concerned):
            echo(f"  {line}")
    if not quiet:
        for line in _ends(found, by, x, y):
            echo(line)
        lacking = ranked.without(space, found, counts, by)
        for group in lacking.get("infeasible_groups", []):
            named = ", ".join(f"{name} {label(group[name], found[name].attrs.get('units', '1'))}" for name in by)
            echo(f"{named}: no feasible point: {group['why']}", colour=REFUSED)
        for line in [*ranked.closing(space, counts), *(f"  {line}" for line in lacking.get("remedies", []))]:
            echo(line)
        for line in trust.footer(space, shows):
            echo(f"  {line}")


_SIDES = {1: "more is better", -1: "less is better"}


def _ends(found, by, x, y):
    """One line per front: its points, its two ends."""
    columns = [found[name].broadcast_like(found["rank"]).values.tolist() for name in by]
    groups = list(zip(*columns)) if columns else [()] * found.sizes["rank"]
    for group in dict.fromkeys(groups):
        members = [i for i, other in enumerate(groups) if other == group]
        ends = [
            ", ".join(f"{heading(name)} {shown(name, float(found[name][i]))}" for name in (x, y))
            for i in (members[0], members[-1])
        ]
        named = ", ".join(
            f"{name} {label(value, found[name].attrs.get('units', '1'))}" for name, value in zip(by, group)
        )
        n = f"{len(members):,} point{'s' if len(members) > 1 else ''}"
        yield f"{named + ': ' if named else ''}{n}, from {ends[0]} to {ends[1]}"
