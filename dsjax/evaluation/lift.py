"""Evaluate a scalar function at every point of a space.

The leaves of a `Point` are scalars or vary along exactly one axis. The function is recorded once for every choice of
the policies (`traces`); what the choices share is evaluated once, every intermediate has the rank of the axes it
depends on, and the results are stacked along the policies' axes (`assembly`). Small grids, and the small part of large
ones, are NumPy's; compiled programs take the rest where they pay (`choice`). Numbers are operands: programs are kept
by structure.
"""

import dataclasses
import math

import numpy as np

from ..formulas.point import evaluate_point
from . import choice, servers
from .assembly import layout
from .flat import assembled, evaluated
from .operands import plan, positions


def evaluate(space, dtype="float64", names=None, function=evaluate_point, compiled=None):
    """{variable: (dims, array)} over a space, each array only over the dims its variable can depend on.

    `dtype` "float64" or "float32"; `names` the variables wanted (all, without those that a number unknown at every
    point makes NaN); `function` another scalar function to lift, same signature as `evaluate_point`, defined once at
    module level so that its trace is found again. `compiled`: True or False; None what is sooner (`choice`).
    """
    if space.study.requests:
        return servers.evaluate(space, dtype, names, compiled)
    how, leaves = plan(space, function)
    variables = layout(how, dtype)
    names = known(space, variables) if names is None else tuple(names)
    arrays = evaluated(how, dtype, names, leaves, compiled)
    return {name: (variables[name][0], arrays[name]) for name in names}


def pays(space, dtype, names, times):
    """Whether `times` evaluations of such a space are sooner by a compiled program: from sizes alone."""
    if space.study.requests:
        return servers.pays(space, times)
    how, leaves = plan(space)
    return choice.pays(assembled(how, dtype, tuple(names), leaves), times)


def known(space, names):
    """`names` without the variables that need a number which is unknown at every point of the space."""
    without = space.unknown_variables
    return tuple(name for name in names if name not in without)


def variables(space, dtype="float64"):
    """{variable: (dims, dtype)} of all that `evaluate` can return of a space, without evaluating."""
    if space.study.requests:
        return servers.variables(space, dtype)
    return layout(plan(space)[0], dtype)


def nbytes(space, dtype="float64"):
    """{variable: bytes} of what `evaluate` returns, without evaluating."""
    sizes, found = space.sizes, variables(space, dtype)
    return {name: math.prod(sizes[a] for a in found[name][0]) * found[name][1].itemsize for name in known(space, found)}


MOST = 20_000  # points of servers in one piece, where a list of them is asked for


def at(space, points, names, dtype="float64"):
    """{variable: its values at `points`} of a space; a point {axis: value} may have numbers that its axis lacks.

    Records and policies stay those of the space, so that its trace is found again. Servers are evaluated at all
    combinations of the values that points have, these being few where the points are alike.
    """
    named = {axis: values for axis, values in space.axes.items() if isinstance(values[0], str)}
    axes = {axis: named.get(axis) or tuple(dict.fromkeys(p[axis] for p in points)) for axis in space.axes}
    wide = space.with_axes(axes)
    index = {axis: np.array([values.index(p[axis]) for p in points], int) for axis, values in axes.items()}
    if space.study.requests:
        if wide.points > MOST and len(points) > 1:
            half = len(points) // 2
            parts = [at(space, some, names, dtype) for some in (points[:half], points[half:])]
            return {name: np.concatenate([part[name] for part in parts]) for name in names}
        found = servers.evaluate(wide, dtype, names)
        return {name: array[tuple(index[axis] for axis in dims)] for name, (dims, array) in found.items()}
    how, leaves = plan(wide)
    leaves = [leaf if axis is None else np.asarray(leaf)[index[axis]] for leaf, axis in zip(leaves, how.leaf_axes)]
    chosen = [axis for axis, _, _ in how.policies if axis]
    tags = tuple(axis and "point" for axis in how.leaf_axes)
    how = dataclasses.replace(how, axes=("point", *chosen), leaf_axes=tags)
    index["point"] = np.arange(len(points))
    dims, arrays = layout(how, dtype), evaluated(how, dtype, tuple(names), leaves)
    picked = {name: arrays[name][tuple(index[axis] for axis in dims[name][0])] for name in names}
    return {name: np.broadcast_to(array, len(points)) for name, array in picked.items()}


CHUNK = 2**12  # samples evaluated at once: they stay in the caches of a core


def numbers(space):
    """{(record, field): number} of every operand of a space of one point; of its curve the record is "curve"."""
    if space.study.requests:
        return servers.numbers(space)
    how, leaves = plan(space)
    return {key: leaves[position] for key, position in positions(how).items()}


def samples(space, values, n, names):
    """{variable: float64 value in each of `n` samples} of a space of one point, for the variables in `names`.

    `values` {(record, field): n numbers} of the operands that vary (see `numbers`).
    """
    if space.study.requests:
        return servers.samples(space, values, n, names)
    how, leaves = plan(space)
    return _sampled(how, leaves, _by_position(how, leaves, values), n, names)


def points(spaces, values, function=evaluate_point):
    """[{variable: its value in each sample}] of spaces of one point, those of one structure evaluated at once.

    `values` [{(record, field): numbers}] of each: the operands that vary, in as many samples as there are numbers (one
    without any). `function` as in `evaluate`.
    """
    plans = [plan(space, function) for space in spaces]
    groups: dict = {}
    for i, (how, _) in enumerate(plans):
        groups.setdefault(how, []).append(i)
    found: list = [None] * len(spaces)
    for how, members in groups.items():
        counts = [len(next(iter(values[i].values()), (0,))) for i in members]
        tables = []
        for i, n in zip(members, counts, strict=True):
            leaves, varied = plans[i][1], _by_position(how, plans[i][1], values[i])
            tables.append([np.broadcast_to(varied.get(k, leaf), n) for k, leaf in enumerate(leaves)])
        columns = [np.concatenate(parts) for parts in zip(*tables, strict=True)]
        varied = {k: column for k, column in enumerate(columns) if (column != column[0]).any()}
        wanted = {i: known(spaces[i], layout(how, "float64")) for i in members}
        names = tuple(dict.fromkeys(name for each in wanted.values() for name in each))
        result = _sampled(how, [column[0] for column in columns], varied, len(columns[0]), names)
        for i, end, n in zip(members, np.cumsum(counts), counts, strict=True):
            found[i] = {name: result[name][end - n : end] for name in wanted[i]}
    return found


def _by_position(how, leaves, values):
    """{position of an operand: numbers} of {(record, field): numbers}."""
    own = positions(how)
    return {own[key]: np.asarray(array, leaves[own[key]].dtype) for key, array in values.items()}


def _sampled(how, leaves, varied, n, names):
    """{variable: value in each of `n` samples} of flat operands; `varied` {position: numbers}."""
    tags = tuple("sample" if i in varied else None for i in range(len(leaves)))
    how = dataclasses.replace(how, axes=("sample",), leaf_axes=tags)
    found: dict = {name: [] for name in names}
    for first in range(0, max(n, 1), CHUNK):
        part = [varied[i][first : first + CHUNK] if i in varied else leaf for i, leaf in enumerate(leaves)]
        for name, array in evaluated(how, "float64", tuple(names), part).items():
            found[name].append(np.broadcast_to(array, (min(CHUNK, n - first),)))
    return {name: np.concatenate(chunks) for name, chunks in found.items()}
