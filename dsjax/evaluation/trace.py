"""Trace the scalar function of a space at every choice of its policies, and find what each variable depends on."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..specs.records import Point
from .caches import remembered
from .operands import operand_types, precision, unlifted
from .program import Program


def scalar_of(plan, choice, knots):
    """`function` of the flat operands at one choice of the policies."""

    def at(leaves):
        records, curve, bounds = jax.tree.unflatten(plan.treedef, leaves)
        point = Point(**records, curve=curve[knots])
        return plan.function(plan.step, point, bounds, **dict(itertools.chain(*choice)))

    return at


class Trace(NamedTuple):
    """The scalar function of every choice of the policies, traced once each."""

    program: Program
    slots: dict  # {(index of the choice of each policy): {variable: slot of the program}} of the choices of the space
    sources: dict  # {variable: indices of the operands and, after them, of the policies it can depend on}
    dtypes: dict  # {variable: dtype}


def traced(plan, dtype):
    """`Trace` of a plan, the same for all axes over the same records and policies."""
    return _traced(unlifted(plan), dtype)


@remembered(256)
def _traced(plan, dtype):
    """Results of a policy's functions pass an optimisation barrier together with a token, an input per policy.

    A variable depends on the policy's axis if and only if the token reaches it. Choices outside the space are traced
    for what they depend on, and are not evaluated.
    """
    types = operand_types(plan, dtype)
    trace = Trace(Program(len(types)), {}, {}, {})
    token = jax.ShapeDtypeStruct((), dtype)
    every = [range(len(choices) + len(others)) for _, choices, others in plan.policies]
    chosen = set(itertools.product(*(range(len(choices)) for _, choices, _ in plan.policies)))
    with precision(dtype):
        for picks in itertools.product(*every):
            choice = [(*choices, *others)[i] for i, (_, choices, others) in zip(picks, plan.policies, strict=True)]
            order = []

            def function(leaves, tokens, choice=choice, knots=picks[-1], order=order):
                marked = [[(name, _marked(f, t)) for name, f in c] for c, t in zip(choice, tokens, strict=True)]
                values = scalar_of(plan, marked, knots)(leaves)
                order.extend(values)
                return list(values.values())

            closed, shapes = jax.make_jaxpr(function, return_shape=True)(types, (token,) * len(picks))
            results = dict(zip(order, trace.program.add(closed), strict=True))
            for name, (_, sources) in results.items():
                trace.sources[name] = trace.sources.get(name, 0) | sources
            if picks in chosen:
                trace.slots[picks] = {name: slot for name, (slot, _) in results.items()}
                trace.dtypes.update(zip(order, (shape.dtype for shape in shapes)))
    return trace


def _marked(choice, token):
    """A function, or a record of functions, with a dependence on `token` in every leaf of a result; else unchanged."""
    if isinstance(choice, tuple):
        return type(choice)(*(_marked(each, token) for each in choice))
    if isinstance(choice, type):
        return choice

    def mark(leaf):
        leaf = leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf, token.dtype)
        return jax.lax.optimization_barrier((leaf, token))[0]

    return lambda *args, **kwargs: jax.tree.map(mark, choice(*args, **kwargs))
