"""Why a space, or a group of its points, has no feasible point, and which other values would be feasible."""

import dataclasses
import math

import numpy as np

from .. import evaluation
from ..catalog import reader
from ..formats import label, quantity
from ..options import entry, together
from ..results import dataset
from ..space.space import group_names, numeric_axes
from ..specs.variables import VARIABLES
from . import refusals

LOOKED_AT = 4096  # points of a space, about, of which the one that the fewest constraints refuse is taken
GROUPS = 12  # without a feasible point that are told one by one
STEPS = 3  # changes made one after the other
ALTERNATIVES = 3  # that are told
SIZES = sorted({0} | {2**i for i in range(15)} | {3 * 2**i for i in range(8)} | {72, 144, 320})
LENGTHS = ("context", "isl", "osl", "chunk_tokens", "max_prefill_tokens")
TRIED = 16  # sizes of one name
BESIDE = 256  # points of the other axes, about, beside which values of one are tried
KEPT = ("model", "curve", "phase", "transfer_nic")  # what is asked about, and no choice


def nothing_feasible(space, dtype="float64"):
    """Sentences on a space without a feasible point: the nearest point, why it is refused, what would be feasible."""
    one, values = _nearest(space, dtype)
    point = ", ".join(f"{axis} {label(one.fixed[axis])}" for axis in space.axes)
    lines = [f"nearest to a feasible one: {point}"]
    for mask in (name for name, ok in values.items() if name.startswith("ok_") and not ok):
        lines.append(f"{mask}: {_why(one, values, mask.removeprefix('ok_'))}{_reached(space, mask, dtype)}")
    refused = [name for name, ok in values.items() if name.startswith("ok_") and not ok]
    return [*lines, *_changes(space, refused, dtype)]


def empty_beside(space, ranked, by):
    """(names in `by` that make groups, rows, how many more): `empty_groups` of those that no ranked point is of."""
    varies = group_names(space.study, space.axes)
    by = [name for name in by if name in varies and name in ranked.coords]
    if not by:
        return by, [], 0
    columns = (np.broadcast_to(ranked[name].values, ranked.sizes["rank"]).tolist() for name in by)
    return by, *empty_groups(space, by, {*zip(*columns, strict=True)})


def empty_groups(space, by, found, dtype="float64"):
    """([{name in `by`: label, ..., "why": text}], how many more) of groups without a point; `found`: those with one.

    Why: the constraints that refuse all of the group, else those that refuse most of it; of a large group, values of
    its longest axes are left out.
    """
    coords = {name: x for name, x in dataset.coordinates(space).items() if name in by}
    axes = [axis for axis in space.axes if any(axis in dims for dims, *_ in coords.values())]
    labels, codes = [], np.zeros([space.sizes[axis] for axis in axes], np.int64)  # of the group of every point
    for name in by:
        dims, values = coords[name][0], np.asarray(coords[name][1])
        own, places = np.unique(values, return_inverse=True)
        places = places.reshape(values.shape).transpose([dims.index(axis) for axis in axes if axis in dims])
        labels.append(own.tolist())
        codes = codes * len(own) + places.reshape([space.sizes[axis] if axis in dims else 1 for axis in axes])
    sizes = tuple(map(len, labels))
    known = [{x: i for i, x in enumerate(own)} for own in labels]
    there = [[at.get(x, -1) for at, x in zip(known, key, strict=True)] for key in found]
    there = [key for key in there if -1 not in key]
    there = np.ravel_multi_index(np.array(there, int).reshape(-1, len(by)).T, sizes)
    every, first = np.unique(codes, return_index=True)
    every = every[np.argsort(first)]  # in the order of the grid
    empty = every[~np.isin(every, there)]
    told = empty[:GROUPS]
    places = [np.unique(some) for some in np.nonzero(np.isin(codes, told))]
    part = {axis: tuple(space.axes[axis][i] for i in some) for axis, some in zip(axes, places, strict=True)}
    part = _thinned(space.with_axes(space.axes | part), kept=axes)
    others = tuple(i for i, axis in enumerate(part.axes) if axis not in axes)
    refused = {name: 1.0 - ok.mean(axis=others) for name, ok in _masks(part, dtype).items()} if len(told) else {}
    codes, rows = codes[np.ix_(*places)], []
    for code in told.tolist():
        shares = {name: share[codes == code].mean() for name, share in refused.items()}
        most = sorted((name for name in shares if shares[name]), key=lambda name: -shares[name])
        whole = [name for name in most if shares[name] == 1.0]
        key = [own[i] for own, i in zip(labels, np.unravel_index(code, sizes), strict=True)]
        rows.append(dict(zip(by, key, strict=True)) | {"why": ", ".join(whole or most[:2])})
    return rows, len(empty) - len(told)


def _thinned(space, most=LOOKED_AT, kept=()):
    """A space with values left out along its longest axes, the first and the last kept, so that few points are left."""
    sizes = dict(space.sizes)
    while math.prod(sizes.values()) > most and any(sizes[axis] > 1 for axis in sizes if axis not in kept):
        longest = max((axis for axis in sizes if axis not in kept), key=lambda axis: sizes[axis])
        sizes[longest] = max(sizes[longest] // 2, 1)
    axes = {}
    for axis, values in space.axes.items():
        places = dict.fromkeys(np.linspace(0, len(values) - 1, sizes[axis]).round().astype(int).tolist())
        axes[axis] = tuple(values[i] for i in places)
    return space.with_axes(axes)


def _masks(space, dtype):
    """{mask: its values, over the axes of a space} of every constraint, and `feasible`."""
    names = [name for name in evaluation.variables(space, dtype) if name.startswith("ok_")]
    return {name: _full(space, found) for name, found in evaluation.evaluate(space, dtype, names).items()}


def _full(space, found):
    """An array over some axes as one over all of them."""
    dims, array = found
    shape = [space.sizes[axis] if axis in dims else 1 for axis in space.axes]
    return np.broadcast_to(np.asarray(array).reshape(shape), tuple(space.sizes.values()))


def _nearest(space, dtype):
    """(space of the point that the fewest constraints refuse, of these the nearest to its limits, its numbers)."""
    few = _thinned(space, LOOKED_AT // 32 if space.study.requests else LOOKED_AT)
    refusals_of = sum((~ok).astype(float) for ok in _masks(few, dtype).values())
    away = _away(few, dtype)
    refusals_of = refusals_of + away / (1.0 + away)  # less than another refusal
    where = np.unravel_index(int(np.argmin(refusals_of)), refusals_of.shape)
    one = few.only({axis: values[i] for (axis, values), i in zip(few.axes.items(), where, strict=True)})
    return one, {name: np.asarray(x).item() for name, (_, x) in evaluation.evaluate(one, dtype).items()}


def _away(space, dtype):
    """How far points are from the limits that they break: the sum of |ln(value / limit)|, over the axes of a space."""
    found = np.zeros(tuple(space.sizes.values()))
    known = evaluation.variables(space, dtype)
    limits = {key: x for key, x in space.bounds.items() if isinstance(x, int | float) and x > 0.0}
    limits = {key: x for key, x in limits.items() if key.partition("_")[2] in known}
    names = tuple({key.partition("_")[2]: None for key in limits})
    values = evaluation.evaluate(space, dtype, names) if names else {}
    for key, limit in limits.items():
        side, _, name = key.partition("_")
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log(_full(space, values[name]) / limit) * (1.0 if side == "max" else -1.0)
        found = found + np.nan_to_num(np.maximum(ratio, 0.0), nan=1e3, posinf=1e3)
    return found


def _why(one, values, mask):
    try:
        return refusals.why(one, values, mask)
    except KeyError:  # a sentence that needs more than a sweep of servers has
        return "refused"


def _reached(space, mask, dtype):
    """Of a limit: what the points reach that nothing else refuses."""
    name = mask.removeprefix("ok_")
    sides = [side for side in ("min", "max") if f"{side}_{name}" in space.bounds]
    if len(sides) != 1 or name not in VARIABLES:
        return ""
    few = _thinned(space, LOOKED_AT // 32 if space.study.requests else LOOKED_AT)
    masks = _masks(few, dtype)
    left = np.logical_and.reduce([ok for other, ok in masks.items() if other != mask] or [np.ones((), bool)])
    values = _full(few, evaluation.evaluate(few, dtype, (name,))[name])[
        np.broadcast_to(left, tuple(few.sizes.values()))
    ]
    values = values[~np.isnan(values)]
    if not len(values):
        return ""
    best = values.max() if sides[0] == "min" else values.min()
    return (
        f"; {quantity(float(best), VARIABLES[name][0], 4)} is the {'most' if sides[0] == 'min' else 'least'} there is"
    )


def _changes(space, refused, dtype):
    """Sentences: values of one name that some points would be feasible with, else of a few names together.

    `refused`: the masks that refuse the nearest point; only names that these depend on are tried, axes of the grid
    before what is fixed.
    """
    rows = {record: {**_catalog(space, record), **space.rows[record]} for record in space.study.kinds}
    server = bool(space.study.requests)  # whose points take longer
    few, done = _thinned(space, BESIDE // 32 if server else BESIDE), {}
    names = [name for name in (space.axes if server else (*space.axes, *space.fixed)) if name not in KEPT]
    others = {name: _values(space, name) for name in names}
    axes = {**few.axes, **{name: (space.fixed[name],) for name in names if others[name] and name in space.fixed}}
    fixed = {name: value for name, value in space.fixed.items() if name not in axes}
    while len(done) < (1 if server else STEPS):
        every = dataclasses.replace(space, axes=axes, fixed=fixed)
        dims = evaluation.variables(every, dtype)
        names = [name for name in axes if others.get(name) and any(name in dims[mask][0] for mask in refused)]
        found = []
        for name in names:
            moved = dataclasses.replace(every, axes=axes | {name: others[name]}, rows=rows).with_rows_in_use()
            masks = _masks(moved, dtype)
            found.append((name, *_fewest(space, moved, masks, name)))
        left = min((n for *_, n in found), default=math.inf)
        best = [(name, value) for name, value, n in found if n == left]
        if not best or left >= len(refused) - len(done):
            return []
        if not left:
            own = [x for x in best if x[0] in space.axes] or best
            texts = [together(_option(space, *x) for x in (done | {name: value}).items()) for name, value in own]
            return [f"some are feasible with {', or with '.join(texts[:ALTERNATIVES])}"]
        name, value = next((x for x in best if x[0] in space.axes), best[0])
        done[name], axes = value, axes | {name: (value,)}
        others.pop(name)
        rows_of = dataclasses.replace(every, axes=axes, rows=rows).with_rows_in_use()
        space = dataclasses.replace(space, rows=rows_of.rows)
    return []


def _fewest(space, moved, masks, name):
    """(value of `name` whose best point the fewest constraints refuse, nearest to those that there are; how many)."""
    left = sum((~ok).astype(int) for ok in masks.values())
    place = [*moved.axes].index(name)
    least = left.min(axis=tuple(i for i in range(left.ndim) if i != place))
    values, present = moved.axes[name], space.labels(name)
    far = [i if isinstance(x, str) else min(_distance(x, y) for y in present) for i, x in enumerate(values)]
    best = min(range(len(values)), key=lambda i: (least[i], far[i]))
    return values[best], int(least[best])


def _distance(x, y):
    return abs(math.log((x + 0.5) / (y + 0.5)))


def _option(space, name, value):
    return entry("axes" if name in space.axes else "fixed", name, label(value))


def _catalog(space, name):
    """Rows of a catalog that a label may be: of a step of the core model alone, for studies have rows of their own."""
    steps = space.study.general and not space.study.requests
    return reader.load()[space.study.kinds[name]] if steps and name != "model" else {}


def _values(space, name):
    """Other values of a name: rows of its catalog, its choices, or sizes."""
    present = space.labels(name)
    if name in space.study.kinds:
        return tuple(row for row in _catalog(space, name) if row not in present)
    if name in space.study.policies:
        return tuple(choice for choice in space.study.policies[name].choices if choice not in present)
    meta, accepted = numeric_axes(space.study)[name], space.study.data["accepts"].get(name)
    if not meta["integer"]:
        return tuple(min(present) / 2**i for i in range(1, 8)) if name in LENGTHS else ()
    own = {*SIZES, *(x // 2 for x in present), *(2 * x for x in present)}
    pool = next((f"{pool}_" for pool in space.study.pools if name.startswith(f"{pool}_")), "")
    cards = math.prod(max(space.labels(pool + size)[0] or 1, 1) for size in ("moe_tp", "pp"))
    if name == f"{pool}ep" and (chips := space.labels(f"{pool}chips")[0]):
        own |= {max(chips // cards, 1)}
    if name == f"{pool}chips" and (ep := space.labels(f"{pool}ep")[0]):
        own |= {ep * cards}
    good = {x for x in own if meta["low"] <= x <= (meta["high"] or max(SIZES)) and x not in present}
    near = sorted(good & set(accepted) if accepted else good, key=lambda x: min(_distance(x, y) for y in present))
    return tuple(sorted(near[:TRIED]))
