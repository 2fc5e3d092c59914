"""Servers at every point of a space: tables of their steps by the core model, then the equations of queues.

A table has the times of steps at some loads, for every layout and every law of lengths of the space, evaluated like any
other grid. The equations of a server then take arrays of points, NumPy's or, of many points, compiled, piece by piece.
"""

import numpy as np

from ...serving.instances import steps, study
from ...specs.variables import MEASURES, WORDED, undefined
from ..operands import positions
from . import pieces, tables
from .laws import LENGTHS
from .points import HIDDEN, LAYOUT, OF_REQUESTS, Points, layouts_of
from .pools import LINK, Pairs, link_of


def variables(space, dtype="float64"):
    """{variable: (dims, dtype)} of all that `evaluate` can return of a space of servers."""
    over, dtype, hidden = tuple(space.axes), np.dtype(dtype), {LENGTHS, tables.LOADS}
    found = {name: over for name in (*MEASURES, *WORDED) if name not in undefined(space.phases)}
    masks = {f"ok_{name}": over for name in space.study.constraints}
    for pool, layouts in _layouts(space).items():
        of_steps = {
            name: dims for name, (dims, _) in layouts.over(steps.decode_at(), tables.DECODE, dtype.name).items()
        }
        found |= {} if pool else {name: of_steps[name] for name in LAYOUT}
        own = {f"ok_{pool}{name}": of_steps[f"ok_{name}"] for name in study.OF_STEPS}
        masks |= {name: over if hidden & set(dims) else dims for name, dims in own.items()}
    masks |= {f"ok_{key.split('_', 1)[1]}": over for key in space.bounds} | {"feasible": over}
    kinds = dict.fromkeys(found, dtype) | dict.fromkeys(WORDED, np.dtype("int8")) | dict.fromkeys(masks, np.dtype(bool))
    return {name: (dims, kinds[name]) for name, dims in (found | masks).items()}


def _layouts(space):
    """{what a pool's names begin with: its layouts}; one of "" of a space without pools."""
    pools = {f"{name}_": pool for name, pool in space.pools.items()} or {"": space}
    return {prefix: layouts_of(pool, prefix=prefix) for prefix, pool in pools.items()}


def servers_at(space, names, varied=None, samples=None):
    """`Points` of a space, or of two pools `Pairs`, to be evaluated at some of them; or samples of the one it has."""
    return (Pairs if space.study.pools else Points)(space, names, varied, samples)


def shares_tables(space):
    """Whether the points of a space share few enough tables that these are held."""
    return pieces.shares({axis: n for axis, n in space.sizes.items() if axis not in OF_REQUESTS})


def evaluate(space, dtype="float64", names=None, compiled=None):
    """{variable: (dims, array)} over a space of servers, as `lift.evaluate`."""
    known = variables(space, dtype)
    names = tuple(name for name in known if name not in space.unknown_variables) if names is None else tuple(names)
    servers = servers_at(space, names)
    found, own = servers.arrays(compiled), {name: dims for name, (dims, _) in servers.of_layouts.items()}

    def along(name, dims, dtype):
        if own.get(name, dims) != dims:  # other choices of a policy depend on more axes
            placed = found[name][tuple(slice(None) if axis in own[name] else None for axis in dims)]
            return np.broadcast_to(placed, [space.sizes[axis] for axis in dims]).astype(dtype)
        return found[name].astype(dtype, copy=False)

    return {name: (known[name][0], along(name, *known[name])) for name in names}


def pays(space, times):
    """Whether `times` evaluations of such a space are sooner by a compiled program."""
    return times * space.points >= pieces.COMPILED


def numbers(space):
    """{(record, field): number} of every operand of a space of one server."""
    found = {}
    for prefix, layouts in _layouts(space).items():
        how, leaves = layouts.plan(steps.decode_at(), tables.DECODE)
        for (record, field), position in positions(how).items():
            if record in ("workload", "deployment") or prefix == "" or record == "model":
                key = record, field if record == "workload" or tables.is_shared(record) else prefix + field
            else:
                key = prefix + record, field
            found[key] = leaves[position]
    own = {("workload", name): np.float64(x) for name, x in space.fixed.items() if name in HIDDEN and _is_number(x)}
    if space.study.pools:
        own |= {(LINK, field): np.float64(x) for field, x in link_of(space).items()}
    return {key: x for key, x in found.items() if key[1] not in (*HIDDEN, "context", "context_cv")} | own


def _is_number(x):
    return isinstance(x, int | float) and not isinstance(x, bool)


def samples(space, values, n, names):
    """{variable: value in each of `n` samples} of a space of one server; `values` {(record, field): numbers}."""
    found = servers_at(space, names, values, n).arrays()
    return {name: np.broadcast_to(x, (n,)) for name, x in found.items()}


def request_stages(space):
    """{stage of a mean request: seconds} of a space of one server; they add up to `latency_mean`."""
    stages = study.STAGES_OF_POOLS if space.study.pools else study.STAGES
    found = servers_at(space, tuple(f"request/{name}" for name in stages)).arrays()
    return {name: found[f"request/{name}"].item() for name in stages}


def server_memory(space):
    """{part of the memory of a chip: bytes} of a space of one server, and `inside`: requests that its cache holds.

    `held` weights and the engine's own, `activations`, `cache` of the requests inside, `prefixes`, `positions` all that
    the cache of requests has room for.
    """
    parts = ("held", "activations", "cache", "prefixes", "positions", "inside")
    found = servers_at(space, tuple(f"memory/{name}" for name in parts)).arrays()
    return {name: found[f"memory/{name}"].item() for name in parts}
