"""Evaluate a scalar function at every point of a space.

The leaves of a `Point` are scalars or vary along exactly one axis. One nested `vmap` per axis keeps every
intermediate, and every result, at the rank of the axes it depends on. Policies (pipeline, curve) are arguments of the
scalar function: each choice is traced on its own (`trace`), what the traces share is lifted once, and the results are
stacked along the policy's axis. Compiled programs (`stages`) are keyed by structure; numbers are operands. Where a
process asks once for few points, NumPy evaluates the same equations instead (`numpy_programs`).
"""

import collections
import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..formulas.point import evaluate_point
from . import numpy_programs, stages
from .caches import remembered
from .dims import layout
from .operands import Plan, operand_types, plan, precision
from .trace import traced
from .trace_cache import outline


class Results(NamedTuple):
    """The wanted variables of a plan's trace, and how the choices of policies are stacked."""

    plan: Plan
    over: dict  # {variable: its axes}
    wanted: dict  # {(choices, variable): slot}, of a variable that a policy does not reach its first choice only
    axes: tuple  # that are lifted

    @classmethod
    def of(cls, plan, dtype, names, slots):
        variables = layout(plan, dtype)
        over = {name: variables[name][0] for name in names}
        wanted = {
            (picks, name): slots[picks][name]
            for picks in slots
            for name in names
            if all(i == 0 or axis in over[name] for i, (axis, _, _) in zip(picks, plan.policies, strict=True))
        }
        return cls(plan, over, wanted, tuple(axis for axis in plan.axes if axis in plan.leaf_axes))

    def stacked(self, values, stack):
        """{variable: array} of the values of `wanted`: every policy's axis at its place among the variable's dims."""
        found = dict(zip(self.wanted, values, strict=True))
        return {name: self._stacked(found, name, (), stack) for name in self.over}

    def _stacked(self, found, name, picks, stack):
        position, over = len(picks), self.over[name]
        if position == len(self.plan.policies):
            return found[picks, name]
        axis, choices, _ = self.plan.policies[position]
        if axis not in over:
            return self._stacked(found, name, (*picks, 0), stack)
        later = [a for a, _, _ in self.plan.policies[:position]]
        parts = [self._stacked(found, name, (*picks, i), stack) for i in range(len(choices))]
        return stack(parts, axis=[a for a in over if a not in later].index(axis))


@remembered(64)
def _compiled(plan, dtype, names, shapes):
    """Compiled: flat operands of these shapes -> {variable: array over its own dims}, for the variables in `names`."""
    trace = traced(plan, dtype)
    results, program = Results.of(plan, dtype, names, trace.slots), trace.program

    def function(leaves):
        return program.run(leaves, results.wanted.values())

    for axis in reversed(results.axes):
        in_axes = [0 if leaf == axis else None for leaf in plan.leaf_axes]
        out_axes = [0 if axis in results.over[name] else None for _, name in results.wanted]
        function = jax.vmap(function, in_axes=(in_axes,), out_axes=out_axes)

    def run(leaves):
        return results.stacked(function(leaves), jnp.stack)

    types = [t.update(shape=shape) for t, shape in zip(operand_types(plan, dtype), shapes, strict=True)]
    choices = math.prod(len(choices) for axis, choices, _ in plan.policies if axis)
    return stages.compiled(run, types, choices, getattr(plan.function, "stages", stages.VALUES))


@remembered(64)
def _interpreted(plan, dtype, names):
    """`_compiled` without a compiler: NumPy, for operands of any length; None where an equation is unknown to it."""
    known = outline(plan, dtype)
    results = Results.of(plan, dtype, names, known.slots)
    program = numpy_programs.prepared(known.program, tuple(results.wanted.values()), len(results.axes))
    if program is None:
        return None

    def run(leaves):
        pairs = zip(leaves, plan.leaf_axes, strict=True)
        arrays = program([numpy_programs.lifted(leaf, axis, results.axes) for leaf, axis in pairs])
        sizes = {axis: len(leaf) for leaf, axis in zip(leaves, plan.leaf_axes, strict=True) if axis}
        values = [
            numpy_programs.over(array, results.axes, results.over[name], sizes)
            for (_, name), array in zip(results.wanted, arrays, strict=True)
        ]
        return results.stacked(values, np.stack)

    return run


def evaluate(space, dtype="float64", names=None, function=evaluate_point, interpret=None):
    """{variable: (dims, array)} over a space, each array only over the dims its variable can depend on.

    `dtype` "float64" or "float32"; `names` the variables wanted (all, without those that a number unknown at every
    point makes NaN); `function` another scalar function to lift, same signature as `evaluate_point`, defined once at
    module level so that its compiled program is found again. `interpret`: True with NumPy (compiled nevertheless where
    it has an equation unknown there), False compiled, None compiled but inside `interpreting()`, which takes what is
    sooner: a compiled program costs seconds once and a millisecond each time after.
    """
    how, leaves = plan(space, function)
    variables = layout(how, dtype)
    names = known(space, variables) if names is None else tuple(names)
    leaves = [np.asarray(leaf, np.int32 if leaf.dtype == np.int32 else dtype) for leaf in leaves]
    if interpret is None:
        interpret = _sooner(space, how, dtype, names)
    run = _interpreted(how, dtype, names) if interpret else None
    if run is None:
        with precision(dtype):
            shapes = tuple(leaf.shape for leaf in leaves)
            arrays = jax.device_get(_compiled(how, dtype, names, shapes)(leaves))
    else:
        arrays = run(leaves)
    return {name: (variables[name][0], arrays[name]) for name in names}


_soon = contextvars.ContextVar("interpreting", default=None)
TRIES = 64  # evaluations of one program after which a process has asked often enough to compile it


@contextlib.contextmanager
def interpreting() -> Iterator[None]:
    """Small grids are evaluated by NumPy inside, without compiling: for a process that asks once, as the command line.

    The results are those of the compiled program within a few units in the last place.
    """
    before = _soon.set(collections.Counter())
    try:
        yield
    finally:
        _soon.reset(before)


def _sooner(space, how, dtype, names):
    """Whether NumPy is done before a compiler: for few points, and not for the hundredth time."""
    asked, sizes, variables = _soon.get(), space.sizes, layout(how, dtype)
    if asked is None:
        return False
    asked[how, dtype, names] += 1
    largest = max((math.prod(sizes[a] for a in variables[n][0]) for n in names), default=0)
    return largest < numpy_programs.SMALL and asked[how, dtype, names] <= TRIES


def known(space, names):
    """`names` without the variables that need a number which is unknown at every point of the space."""
    without = space.unknown_variables
    return tuple(name for name in names if name not in without)


def variables(space, dtype="float64"):
    """{variable: (dims, dtype)} of all that `evaluate` can return of a space, without evaluating."""
    return layout(plan(space)[0], dtype)


def nbytes(space, dtype="float64"):
    """{variable: bytes} of what `evaluate` returns, without evaluating."""
    sizes, found = space.sizes, variables(space, dtype)
    return {name: math.prod(sizes[a] for a in found[name][0]) * found[name][1].itemsize for name in known(space, found)}


CHUNK = 2**10  # samples evaluated at once: one compiled program for any number of them


def numbers(space):
    """{(record, field): number} of every operand of a space of one point; of its curve the record is "curve"."""
    how, leaves = plan(space)
    return {key: leaves[position] for key, position in _positions(how).items()}


def samples(space, values, n, names, interpret=False):
    """{variable: float64 value in each of `n` samples} of a space of one point, for the variables in `names`.

    `values` {(record, field): n numbers} of the operands that vary (see `numbers`). One compiled program serves any
    number of samples; `interpret`: NumPy instead, for a few.
    """
    how, leaves = plan(space)
    how = dataclasses.replace(how, axes=("sample",), leaf_axes=("sample",) * len(leaves))
    positions = _positions(how)
    leaves = [np.broadcast_to(leaf, n) for leaf in leaves]
    for key, array in values.items():
        leaves[positions[key]] = np.asarray(array, leaves[positions[key]].dtype)
    if interpret and (run := _interpreted(how, "float64", tuple(names))):
        return {name: np.broadcast_to(array, (n,)) for name, array in run(leaves).items()}
    leaves = [np.pad(leaf, (0, -n % CHUNK), mode="edge") for leaf in leaves]
    chunks = []
    with precision("float64"):
        run = _compiled(how, "float64", tuple(names), ((CHUNK,),) * len(leaves))
        for i in range(0, n, CHUNK):
            chunks.append(jax.device_get(run([leaf[i : i + CHUNK] for leaf in leaves])))
    found = {name: [np.broadcast_to(chunk[name], (CHUNK,)) for chunk in chunks] for name in names}
    return {name: np.concatenate(arrays)[:n] for name, arrays in found.items()}


def _positions(how):
    """{(record, field): position of its operand} of a plan of one curve."""
    records, curves, _ = jax.tree.unflatten(how.treedef, range(how.treedef.num_leaves))
    named = [*records.items(), *(("curve", record) for record in curves if dataclasses.is_dataclass(record))]
    return {(name, x.name): getattr(record, x.name) for name, record in named for x in dataclasses.fields(record)}
