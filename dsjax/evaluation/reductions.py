"""Maxima and counts of a scalar function over blocks of points that are never held, for streamed searches.

One compiled program reduces a slab of blocks: the pieces of the model at their own rank, the full rank only inside
the loop that reduces it. Sums are regrouped for speed (`reassociate`), so a value is that of `evaluate` up to rounding.
"""

import collections
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.interpreters import partial_eval

from . import program, reassociate, stages
from .caches import remembered
from .operands import operand_types, plan, precision
from .trace import scalar_of, traced

SHARES = (0.002, 0.15)  # of a slab: results up to these sizes are evaluated before the loops over all points


def reduction(space, function, sizes, kept, inner, dtype="float32"):
    """`run(window)` -> [(index of the choice of each policy that is an axis, array over `kept`), ...] of one slab.

    `window` {axis: slice of the space} of a slab with axes of these `sizes` {axis: length}, those of the policies left
    out; it is reduced over the axes `inner`, the innermost loop last. Of a `function` that gives `value` and `ok`: the
    largest value where it is ok and not NaN, -inf where there is none; of one that gives a mask as `value` alone: the
    number of points where it holds.
    """
    how, leaves = plan(space, function)
    leaves = [leaf if leaf.dtype == np.int32 else leaf.astype(dtype) for leaf in leaves]

    def run(window):
        part = [np.asarray(leaf[window[axis]] if axis in window else leaf) for leaf, axis in zip(leaves, how.leaf_axes)]
        # The last window of a long axis may be shorter than the others.
        lengths = sizes | {axis: len(leaf) for leaf, axis in zip(part, how.leaf_axes, strict=True) if axis in window}
        with precision(dtype):
            run_slab = _compiled(how, dtype, tuple(lengths.items()), tuple(kept), tuple(inner))
            return [(picks, np.asarray(reduced)) for picks, reduced in run_slab(part)]

    return run


def equations_along(space, dtype="float32"):
    """{axis: equations whose results can depend on it} of a space's program: what an axis costs."""
    return _equations_along(plan(space)[0], dtype)


@remembered(32)
def _equations_along(plan, dtype):
    program, found = traced(plan, dtype).program, collections.Counter()
    axes = dict.fromkeys(program.constants, frozenset())
    axes |= {i: frozenset([axis] if axis else []) for i, axis in enumerate(plan.leaf_axes)}
    for node in program.nodes:
        support = frozenset().union(*(axes[slot] for slot in node.inputs))
        axes.update(dict.fromkeys(node.outputs, support))
        found.update(support)
    return found


@remembered(32)
def _compiled(plan, dtype, lengths, kept, inner):
    """Compiled: operands of one slab -> [(index of the choice of each policy that is an axis, array), ...]."""
    sizes = dict(lengths)
    types = [
        t.update(shape=(sizes[axis],) if axis else ())
        for t, axis in zip(operand_types(plan, dtype), plan.leaf_axes, strict=True)
    ]
    picks = list(itertools.product(*(range(len(choices)) for _, choices, _ in plan.policies)))

    def run(leaves):
        return [_reduced(plan, dtype, sizes, kept, inner, pick, leaves) for pick in picks]

    limits = [share * math.prod(sizes.values()) for share in SHARES]
    compiled = stages.staged(*jax.make_jaxpr(run, return_shape=True)(types), limits)
    places = [tuple(i for i, (axis, _, _) in zip(pick, plan.policies, strict=True) if axis) for pick in picks]
    return lambda leaves: zip(places, compiled(leaves), strict=True)


def _reduced(plan, dtype, sizes, kept, inner, pick, leaves):
    """Over `kept`: the largest value of a point that is ok, or the number of points where a mask holds."""
    choice = [choices[i] for (_, choices, _), i in zip(plan.policies, pick, strict=True)]
    scalar, types = scalar_of(plan, choice, pick[-1]), operand_types(plan, dtype)
    shape = [sizes[axis] for axis in kept]
    # XLA has loops of their own for maxima of arrays of few dims.
    kept, inner = ([axis for axis in axes if sizes[axis] > 1] for axes in (kept, inner))
    leaves = [jnp.reshape(x, ()) if sizes.get(a) == 1 else x for x, a in zip(leaves, plan.leaf_axes, strict=True)]

    def flat(*operands):
        return list(scalar(list(operands)).values())

    closed = program.inlined(flat, *types)
    used, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True)
    supports = [frozenset([axis]) if sizes.get(axis, 1) > 1 else frozenset() for axis in plan.leaf_axes]
    function = reassociate.regrouped(core.ClosedJaxpr(used, closed.consts), supports, sizes)

    def lifted(leaves):
        value, *ok = function(*leaves)
        return jnp.where(ok[0] & ~jnp.isnan(value), value, -jnp.inf) if ok else value

    for axis in reversed(kept + inner):
        lifted = jax.vmap(lifted, in_axes=([0 if leaf == axis else None for leaf in plan.leaf_axes],))
    found, inside = lifted(leaves), tuple(range(len(kept), len(kept + inner)))
    return (found.sum(inside, dtype="int32") if found.dtype == bool else jnp.max(found, inside)).reshape(shape)
