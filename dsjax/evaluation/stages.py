"""Compile a program in stages: equations of small results first, those of full rank last.

XLA fuses cheap operations into the full-rank loops that use them, and so repeats, at every point of a grid, work that
depends on a few axes only. Compiled stages keep it apart: the equations of a jaxpr whose results are small are
evaluated first, those that lack an axis or two next, and only what is large is left for the last. Values that formulas
stack (kernels, micro-batches) are large; for derivatives they do not count as such where only slices are used.
"""

import functools
import math
from typing import NamedTuple

import jax
from jax.extend import core

from . import program


class Stages(NamedTuple):
    """Where a program is split into stages. Other stages may change the last bits of results."""

    # A result larger than the first share of the largest one belongs to a later stage than the first, and so on.
    shares: tuple
    # True: the largest result is that of one choice of the policies, and a stacked intermediate of which only slices
    # are used does not push its users to a later stage.
    apart: bool


VALUES = Stages((0.15, 0.6), False)
DERIVATIVES = Stages((0.3, 0.6), True)
# Below this many elements in the largest result one stage is as fast, and compiles sooner.
WORTHWHILE = 2**16


def compiled(function, operands, choices=1, stages=VALUES):
    """`function(operands)` compiled for these shapes, in one stage or in several, which differ in the last bits.

    `choices`: results that the largest one is stacked of.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(operands)
    largest = max(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    largest /= choices if stages.apart else 1
    limits = [share * largest for share in stages.shares] if largest >= WORTHWHILE else []
    return staged(closed, shapes, limits, stages.apart)


def staged(closed, shapes, limits, apart=False):
    """A traced function compiled in stages: one per limit of the size of results [element], one for all larger ones."""
    given, left = [*closed.jaxpr.constvars, *closed.jaxpr.invars], list(closed.jaxpr.eqns)
    stages = []
    for limit in limits:
        small, left = _split(left, closed.jaxpr.outvars if apart else None, limit)
        crossing = _used(left, closed.jaxpr.outvars, defined_by=small)
        stages.append(_stage(closed.jaxpr, small, given, crossing))
        given = [*given, *crossing]
    stages.append(_stage(closed.jaxpr, left, given, closed.jaxpr.outvars))

    def run(operands):
        *pieces, compose = stages
        values = [*closed.consts, *jax.tree.leaves(operands)]
        for stage in pieces:
            values += stage(*values)
        return jax.tree.unflatten(jax.tree.structure(shapes), compose(*values))

    return run


@functools.cache
def _options():
    """Compiler options: XLA's older code generator for CPU compiles this code twice as fast, and it runs as fast;
    vectors of 512 bits, where the CPU has them, save up to a fifth of a streamed search."""
    if jax.default_backend() != "cpu":
        return None
    options = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_prefer_vector_width": 512}
    return {name: value for name, value in options.items() if _known({name: value})} or None


def _known(options):
    """Whether this jaxlib has these compiler options."""
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _stage(jaxpr, equations, given, wanted):
    """Compiled function of the variables `given` that evaluates `equations` and returns the variables `wanted`."""
    names = jaxpr.debug_info.with_unknown_names()
    part = jaxpr.replace(constvars=[], invars=given, outvars=wanted, eqns=equations, debug_info=names)
    return jax.jit(core.jaxpr_as_fun(core.ClosedJaxpr(part, [])), compiler_options=_options())


def _split(equations, results, limit):
    """(equations of small results, all others); an equation that reads a result of the others belongs to the others."""
    stacked = set() if results is None else _stacked(equations, results, limit)
    small, large, late = [], [], set()
    for equation in equations:
        big = _size(equation) > limit and not stacked.issuperset(equation.outvars)
        if big or any(atom in late for atom in equation.invars if not program.is_literal(atom)):
            large.append(equation)
            late.update(equation.outvars)
        else:
            small.append(equation)
    return small, large


def _size(equation):
    return max(math.prod(var.aval.shape) for var in equation.outvars)


def _stacked(equations, results, limit):
    """Stacked variables: more than `limit` elements, of which only slices of up to `limit` elements are used."""
    whole = {atom for atom in results if not program.is_literal(atom)}  # variables of which more is used
    found = set()
    for equation in reversed(equations):
        if _size(equation) > limit and whole.isdisjoint(equation.outvars):
            found.update(equation.outvars)
        elif equation.primitive.name != "slice" or _size(equation) > limit:
            whole.update(atom for atom in equation.invars if not program.is_literal(atom))
    return found


def _used(equations, results, defined_by):
    """Variables that `defined_by` defines and that `equations` or `results` use, in a fixed order."""
    defined = {var for equation in defined_by for var in equation.outvars}
    atoms = [*(atom for equation in equations for atom in equation.invars), *results]
    return list(dict.fromkeys(atom for atom in atoms if not program.is_literal(atom) and atom in defined))
