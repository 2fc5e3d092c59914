"""Ranked points of a space as a table, as CSV and as JSON."""

import math

import numpy as np

from ..analysis import wider
from ..formats import heading, label, rounded, shown
from ..options import by_reader
from ..reproduction import best_json
from ..results import files
from ..search import ranking
from ..space import limits, plausible, provenance
from ..specs.variables import LIMITS, WORDED
from . import marks, trust
from .output import REFUSED, echo
from .tables import Table, marked, records

ROWS_SHOWN = 40
COST = "cost_per_million_tokens"
METRICS = ("tps_per_user", "tps_per_chip", "tpot", "ttft", "memory_per_chip", "mfu", COST)


def show(space, ranked, counts, form, quiet, objective=None, by=None):
    """The ranked points of a space; as a table with the space before it and the refusals (`counts`) after it.

    `by`: the groups, where they are not those of the grid. What has no feasible point is shown with the reason.
    """
    by = space.by if by is None else tuple(by)
    counts = with_largest_rate(space, counts)
    if form == "table":
        _best_table(space, ranked, counts, quiet, objective, by)
        return
    names = [*space.axes, *(name for name in ranked.data_vars if "block" not in ranked[name].dims)]
    columns = {"rank": ranked["rank"].values}
    columns |= {name: ranked[name].broadcast_like(ranked["rank"]).values for name in names}
    columns |= {name: [WORDED[name][i] for i in columns[name]] for name in WORDED if name in columns}
    counts = {"fixed": space.fixed, "limits": space.bounds, "remarks": plausible.remarks(space), **counts}
    if form == "json":
        ends = [(i, end) for i, several in wider.ends(space, ranked, by, objective).items() for end in several]
        counts |= without(space, ranked, counts, by)
        counts |= {"at_ends": [{"rank": i + 1} | end._asdict() for i, end in ends]}
    records(files.records(columns), form, {"title": space.title, **best_json.of(ranked), **counts}, list(columns))


def with_largest_rate(space, counts):
    """`counts`, with the largest rate that a server of the space takes where what is asked of all of them is more."""
    if counts["feasible"] or not counts["refused"].get("ok_stable"):
        return counts
    from ..analysis.explain_server.largest import largest_rate

    found = largest_rate(space)
    return counts | ({"largest_rate": found} if found else {})


def closing(space, counts):
    """Lines: how many points are feasible, what refuses the others, and the largest rate where all are overloaded."""
    refused = ", ".join(f"{name} {n:,}" for name, n in counts["refused"].items() if n)
    least = "at least " if counts.get("least") else ""  # others were not looked at in full
    feasible = f"{least}{counts['feasible']:,} of {space.points:,} points are feasible"
    yield f"{feasible}; refused by {refused or 'none'} (a point may fail several)"
    if most := counts.get("largest_rate"):
        point = ", ".join(f"{axis} {label(value)}" for axis, value in most["point"].items())
        text = f"the largest rate that fits: {rounded(most['requests_per_s'])} requests/s{f' ({point})' * bool(point)}"
        if "inside" in most:
            why = "max_batch admits" if most["held_by"] == "max_batch" else "the cache holds"
            text += f", {most['inside']:,.0f} inside as {why} no more"
        yield f"{text}; limited most by {most['limited_by']}"


def without(space, ranked, counts, by):
    """{"infeasible_groups": [...], "not_listed": n, "remedies": [...]}: groups, or a space, with no feasible point."""
    from ..analysis import remedies

    if not counts["feasible"]:
        return {"remedies": remedies.nothing_feasible(space)}
    _, rows, more = remedies.empty_beside(space, ranked, by)
    return {"infeasible_groups": rows} | ({"not_listed": more} if more else {}) if rows else {}


def _best_table(space, ranked, counts, quiet, objective, by):
    metrics, of = [name for name in METRICS if name in space.defined], (objective or space.objective).removeprefix("-")
    metrics += [of] if of not in metrics else []
    ends = wider.ends(space, ranked, by, objective)
    columns = {axis: _labels(space, ranked, axis, ends) for axis in space.axes}
    columns |= {name: costs(space, ranked) if name == COST else _numbers(ranked, name) for name in metrics}
    unmeasured = ranking.unmeasured(ranked)[:ROWS_SHOWN]
    columns[of] = marked(columns[of], unmeasured, provenance.UNMEASURED)
    columns["bound by"] = [LIMITS[i] for i in _shown(ranked, "bottleneck")]
    outside = _shown(ranked, "outside_validity") if "outside_validity" in ranked else []
    names = marks.concerned(space.bounds, metrics)
    if beside := marks.column(outside, names):
        columns[""] = beside
    rows = [[str(i), *row] for i, row in enumerate(zip(*columns.values(), strict=True), 1)]
    lacking = {} if quiet and not rows else without(space, ranked, counts, by)
    if not quiet:
        echo(
            trust.title(space),
            *trust.chosen(space),
            limits.words(space),
            *(ranking.worst_first(space, objective) if rows else ()),
        )
    if rows:
        heads = ["", *(name if name in (*space.axes, "bound by", "") else heading(name) for name in columns)]
        echo(Table(heads, rows, **_layout(space, [*columns], of, ends), best=_bests(ranked, of, objective, space)))
        if any(unmeasured):
            echo(f"  {provenance.UNMEASURED_NOTE}")
        for line in [*marks.remarks(outside, names), *wider.sentences(space, ends)]:
            echo(f"  {line}")
    for line in _nothing_in(space, ranked, lacking):
        echo(line, colour=REFUSED)
    if not quiet:
        if ranked.sizes["rank"] > ROWS_SHOWN:
            them = by_reader("--format csv prints", ".dsjax.best() has")
            echo(f"  ... {ranked.sizes['rank'] - ROWS_SHOWN:,} more: {them} them all")
        echo(*closing(space, counts))
        for line in [*lacking.get("remedies", []), *trust.footer(space, metrics)]:
            echo(f"  {line}")


# Columns that are left out first: what follows from others, then what a reader can do without.
_LEAST = ("mfu", "memory_per_chip", "tpot", "ttft", "pipeline", "bound by", "mtp", "tps_per_user", COST)


def _layout(space, names, of, ends):
    """Which columns of a ranked table are said once where all rows agree, and which are left out first."""
    at = {name: i for i, name in enumerate(names, 1)}
    least = [name for name in _LEAST if name in at and name != of]
    others = [axis for axis in reversed(space.axes) if axis not in least]
    marked = {end.axis for several in ends.values() for end in several}
    constant = tuple(at[axis] for axis in space.axes if axis not in marked)
    return {"constant": constant, "least": tuple(at[x] for x in [*least, *others])}


def _bests(ranked, of, objective, space):
    """The rows whose value of the objective is the best of all."""
    values = np.array(_shown(ranked, of), float)
    if not len(values):
        return ()
    least = (objective or space.objective).startswith("-")
    return (int((values.argmin if least else values.argmax)()),)


def _nothing_in(space, ranked, lacking):
    """Lines: groups without a feasible point, those of one reason together."""
    reasons: dict = {}
    for group in lacking.get("infeasible_groups", []):
        values = {name: label(x, _units(ranked, name)) for name, x in group.items() if name != "why"}
        reasons.setdefault((group["why"], tuple(values)), []).append(tuple(values.values()))
    for (why, names), groups in reasons.items():
        several = [dict.fromkeys(column) for column in zip(*groups, strict=True)]
        if math.prod(map(len, several)) == len(groups):
            said = ", ".join(f"{name} {' | '.join(own)}" for name, own in zip(names, several, strict=True))
        else:
            said = "; ".join(", ".join(map(" ".join, zip(names, own, strict=True))) for own in groups)
        yield f"  no feasible point: {said}: {why}"
    if more := lacking.get("not_listed"):
        yield f"  and {more:,} more groups without a feasible point"


def costs(space, ranked, rows=ROWS_SHOWN):
    """Cost at the first points, marked where the price of a chip is of another source than most."""
    unlike, texts = {*provenance.unlike(provenance.prices(space))}, _numbers(ranked, COST, rows)
    names = [name for name in provenance.CHIPS if name in ranked.coords]
    chips = zip(*(_shown(ranked, name, rows) for name in names), strict=True) if names else [()] * len(texts)
    return marked(texts, [bool(unlike.intersection(own)) for own in chips])


def _numbers(ranked, name, rows=ROWS_SHOWN):
    return [shown(name, float(x)) for x in _shown(ranked, name, rows)]


def _labels(space, ranked, axis, ends):
    """Values of an axis, those marked beyond which a better one is."""
    texts = [label(x, _units(ranked, axis)) for x in _shown(ranked, axis)]
    own = {i: end.mark for i, several in ends.items() for end in several if end.axis == axis}
    return [text + own.get(i, " ") for i, text in enumerate(texts)] if own else texts


def _units(ranked, axis):
    return ranked[axis].attrs.get("units", "1")


def _shown(ranked, name, rows=ROWS_SHOWN):
    """Values of a variable at the first points."""
    return np.broadcast_to(ranked[name].values, ranked.sizes["rank"])[:rows].tolist()
