"""Which points a picture shows: restricted to chosen values, best of every group, refused by which constraint."""

import numpy as np

from ..errors import InputError, NothingFeasible, unknown
from ..search import point, ranking
from ..space import parameters
from ..specs.variables import SENSE
from . import canvas

MOST_GROUPS = 8  # as many as there are colours


def restricted(results, at, shown=(), by=()):
    """(results with only the chosen points feasible, {axis: value} chosen, mask of the chosen points).

    `at` "best": the best point's values of all axes but those that are `shown` or make the groups.
    """
    space = results.space
    if at == "best":
        named = {axis: value for axis, value in point.best(results).items() if axis not in (*shown, *by)}
    else:
        named = parameters.chosen(space, at)
    if both := [axis for axis in named if axis in shown]:
        raise InputError(f"at: {both[0]}: is an axis of the picture; expected another one")
    shape = results.shape
    mask = np.ones((1,) * len(shape), bool) if results.there is None else results.there
    for position, (axis, values) in enumerate(space.axes.items()):
        if axis in named:
            picked = np.array([value == named[axis] for value in values])
            mask = mask & picked.reshape([-1 if i == position else 1 for i in range(len(shape))])
    mask = np.broadcast_to(mask, shape)
    if named:
        results = results.with_feasible(results.in_grid_order("feasible") & mask)
    return results, named, mask


def variable(space, name, what="of"):
    """A variable that every phase of the space defines, or an InputError with the nearest name."""
    if name not in space.defined:
        raise unknown(what, "variable of this phase", name, space.defined)
    return name


def objective(space, of):
    """The objective as `ranking.best` takes it; "tpot" alone asks for the smallest."""
    if of is None or str(of).startswith("-"):
        return of
    variable(space, of)
    if of == space.objective:
        return None
    return f"-{of}" if SENSE.get(of, 1) < 0 else of


def axis_of(space, name, what):
    """A name that is an axis of the space, or an InputError with the nearest one."""
    if name not in space.axes:
        raise unknown(what, "axis", name, space.axes)
    return name


def groups(space, by):
    """What tells the groups apart: as given, or the first of the grid's own groups."""
    if by is None:
        return tuple(name for name in space.by if name in space.axes and space.sizes[name] > 1)[:1]
    return ranking.check(space, by)[0]


def labels(ranked, by):
    """The group of every ranked point, as the text of a legend."""
    columns = [ranked[name].broadcast_like(ranked["rank"]).values.tolist() for name in by]
    named = [
        [canvas.text(v) if isinstance(v, str) else f"{name} {canvas.text(v)}" for v in c]
        for name, c in zip(by, columns)
    ]
    return [", ".join(parts) for parts in zip(*named)] if by else ["all points"] * ranked.sizes["rank"]


def leaders(results, by, mask, of=None):
    """(groups to show, groups there are): the best MOST_GROUPS of them by the objective, in the order of the grid."""
    space, ranked = results.space, ranking.best(results, by=by, objective=of)
    if not ranked.sizes["rank"]:
        raise nothing(results, mask)
    named = labels(ranked, by)
    columns = {name: ranked[name].broadcast_like(ranked["rank"]).values.tolist() for name in by}
    kept = [(place(space, {name: columns[name][i] for name in by}), named[i]) for i in range(len(named))][:MOST_GROUPS]
    return [label for _, label in sorted(kept)], len(named)


def place(space, group):
    """Where a group comes in the order of the grid, as a key to sort by."""
    return [space.axes[name].index(value) if name in space.axes else value for name, value in group.items()]


def nothing(results, mask):
    """The error that says why there is nothing to show: the constraints that refuse most of the points in `mask`."""
    counts = {name: int((refused & mask).sum()) for name, refused in refusing(results).items()}
    most = sorted(counts.items(), key=lambda item: -item[1])
    refused = ", ".join(f"{name} {n:,}" for name, n in most if n) or "none, but the variable is unknown there"
    points = int(np.count_nonzero(mask))
    return NothingFeasible(f"plot: no feasible point to show (of {points:,} points refused by {refused})")


def refusing(results):
    """{constraint: mask of the points it refuses}, in grid order."""
    return {name: ~results.in_grid_order(name) for name in results.masks}


def asked(space):
    """Constraints that the grid asks for: all others are what is impossible."""
    return tuple(dict.fromkeys(f"ok_{key.partition('_')[2]}" for key in space.bounds))


def refused_by_bounds(results):
    """Mask of the points that nothing refuses but what the grid asks for."""
    space, masks = results.space, refusing(results)
    refused = {True: np.zeros((), bool), False: np.zeros((), bool)}
    for name, mask in masks.items():
        refused[name in asked(space)] = refused[name in asked(space)] | mask
    return np.broadcast_to(refused[True] & ~refused[False], results.shape)


def bounds(space, name, units):
    """[(value, words)] of the constraints that bound a variable by one number."""
    found = []
    for side, sign in (("min", "≥"), ("max", "≤")):
        value = space.bounds.get(f"{side}_{name}")
        if isinstance(value, int | float):
            found.append((value, f"SLO: {name} {sign} {canvas.quantity(units, value)}"))
    return found


def configuration(point, names):
    """A point's values of some axes as text: CX7, tp 1, batch 128."""
    values = [(name, point[name].values.item()) for name in names]
    return ", ".join(_named(name, value) for name, value in values)


def _named(name, value):
    return canvas.text(value) if isinstance(value, str) else f"{name} {canvas.text(value)}"


SAID = ("model", "phase", "context", "isl", "osl")  # in any case


def fixed(space, chosen=(), whole=False):
    """Axes and values that do not vary in a picture, as one line; what is left at its default only if `whole`."""
    defaults = space.study.data.get("defaults", {})
    own = {name: x for name, x in space.fixed.items() if whole or name in SAID or defaults.get(name) != x}
    values = own | {axis: of[0] for axis, of in space.axes.items() if len(of) == 1} | dict(chosen)
    return "Fixed: " + ", ".join(f"{name}\N{NO-BREAK SPACE}{canvas.text(value)}" for name, value in values.items())


def present(space, axis):
    """[(value, row)] that the rows in use have now of a number that is an axis: `hardware_hbm_bytes_per_s`."""
    for record, rows in space.rows.items():
        field = axis.removeprefix(f"{record}_")
        if axis.startswith(f"{record}_"):
            return [(row[field], name) for name, row in rows.items() if isinstance(row.get(field), int | float)]
    return []


def amount(ds, name, value):
    """A value of a variable in words: 8,547 tokens/s per chip; time of a step 86.7 ms."""
    units, words = ds[name].attrs.get("units", "1"), str(ds[name].attrs.get("long_name", name)).partition(":")[0]
    return (
        f"{canvas.text(float(f'{value:.4g}'))} {words}"
        if units == "token/s"
        else f"{words} {canvas.quantity(units, value)}"
    )


OPERATORS = {  # of a step
    "core": "attention over the cache",
    "routed, shared, dense": "experts and FFNs",
    "q_a, q_b, kv_a, kv_b, o": "projections of attention",
    "all_reduce, dispatch, combine": "network",
    "pointwise": "norms and other elementwise work",
    "head": "logits",
    "mtp": "draft module",
}


def operators(names):
    """What the names of operators mean, in one line."""
    found = []
    for of, meaning in OPERATORS.items():
        there = [name for name in of.split(", ") if name in names]
        found += [f"{', '.join(there)}: {meaning}"] if there else []
    return "; ".join(found)


def band(ds, group):
    """+- of the kernels' curve on the chip of a group, as a share of times; 0 where it is not known or not one."""
    if "curve_uncertainty" not in ds.coords:
        return 0.0
    known = ds["curve_uncertainty"]
    known = known.sel({dim: group[dim] for dim in known.dims if dim in group})
    return float(known) if known.ndim == 0 and np.isfinite(known) else 0.0


def bands(shares):
    """Errors of several groups in words; empty where none is known."""
    ends = [f"{100 * share:.0f}" for share in sorted(filter(None, shares))]
    return f"+-{' to '.join(dict.fromkeys((ends[0], ends[-1])))} % of the kernels' times" if ends else ""


def free(space, shown):
    """Axes of more than one value that a picture does not show: the best is taken over them."""
    return [axis for axis, n in space.sizes.items() if n > 1 and axis not in shown]
