"""Traced scalar programs: nested calls inlined, traces of several choices of policies merged into one.

A scalar formula is traced once; derivatives then work on its few hundred equations. What does not depend on an input
is not touched for it: in a lifted program its tangent stays at the rank of the axes that it meets.
"""

import functools
import operator
from typing import NamedTuple

import jax
import numpy as np
from jax.extend import core

from . import numpy_programs

_CALLS = ("jit", "pjit", "closed_call")
_INLINED = (*_CALLS, "custom_jvp_call")  # where a program is only evaluated


def inlined(function, *args):
    """ClosedJaxpr of `function(*args)` without nested calls."""
    closed = jax.make_jaxpr(function)(*args)
    return jax.make_jaxpr(lambda *args: run(closed, args))(*args)


def run(closed, args, rule=None):
    """[results] of a ClosedJaxpr at these arrays, nested calls inlined.

    `rule(equation, values)` may give the results of an equation in its place (a list), or None.
    """
    return _run(closed.jaxpr, closed.consts, args, rule=rule)


def is_literal(atom):
    """Whether an operand of an equation is a number, not a variable."""
    return hasattr(atom, "val")


def dtype_of(equation):
    """Type of the first result of an equation."""
    return equation.outvars[0].aval.dtype


def value_at(environment, atom):
    """Value of a literal, or of a variable in an environment {variable: value}."""
    return atom.val if is_literal(atom) else environment[atom]


def _run(jaxpr, consts, args, rule=None):
    environment = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    for equation in jaxpr.eqns:
        values = [value_at(environment, atom) for atom in equation.invars]
        results = rule(equation, values) if rule else None
        if results is None:
            results = results_of(jaxpr, equation, values, rule)
        environment.update(zip(equation.outvars, results, strict=True))
    return [value_at(environment, atom) for atom in jaxpr.outvars]


def results_of(jaxpr, equation, values, rule=None):
    """Results of one equation at these operands; nested calls are inlined."""
    if equation.primitive.name in _CALLS:
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        return _run(inner.jaxpr, inner.consts, values, rule)
    given = {atom: value for atom, value in zip(equation.invars, values) if not is_literal(atom)}
    names = jaxpr.debug_info.with_unknown_names()
    one = jaxpr.replace(
        constvars=[], invars=list(given), outvars=list(equation.outvars), eqns=[equation], debug_info=names
    )
    return core.jaxpr_as_fun(core.ClosedJaxpr(one, []))(*given.values())


class Node(NamedTuple):
    """One equation of a `Program`: what it computes, from which slots, into which."""

    equation: object
    inputs: tuple
    outputs: tuple
    jaxpr: object  # that holds the equation


class Program:
    """Traces of functions of the same operands as one list of equations over numbered slots.

    Nested calls are inlined, optimization barriers are dropped, and no equation is written twice: what two traces
    share is there once. Slots 0 to n - 1 are the operands.
    """

    def __init__(self, n):
        self.operands, self.slots, self.constants, self.nodes, self._known = n, n, {}, [], {}

    def add(self, closed):
        """[(slot, indices of the inputs it can depend on, as the bits of an integer) of each result] of a trace.

        The inputs beyond the operands must go into optimization barriers only: marks that leave no equation.
        """
        slots = [*range(self.operands), *([None] * (len(closed.jaxpr.invars) - self.operands))]
        return self._inline(closed, [(slot, 1 << i) for i, slot in enumerate(slots)])

    def _inline(self, closed, given):
        jaxpr = closed.jaxpr
        constants = ((self._constant(np.asarray(value)), 0) for value in closed.consts)
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *given], strict=True))

        def read(atom):
            return (self._constant(np.asarray(atom.val, atom.aval.dtype)), 0) if is_literal(atom) else known[atom]

        for equation in jaxpr.eqns:
            inputs, name = [read(atom) for atom in equation.invars], equation.primitive.name
            if name in _INLINED:
                inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
                results = self._inline(inner, inputs)
            else:
                sources = functools.reduce(operator.or_, (mask for _, mask in inputs), 0)
                slots = [slot for slot, _ in inputs]
                if name != "optimization_barrier":
                    slots = self._equation(jaxpr, equation, tuple(slots))
                results = [(slot, sources) for slot in slots]
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _constant(self, value):
        key = (value.dtype, value.shape, value.tobytes())
        if key not in self._known:
            self.constants[self.slots] = value
            self._known[key] = self.slots
            self.slots += 1
        return self._known[key]

    def _equation(self, jaxpr, equation, inputs):
        try:
            key = (equation.primitive, inputs, tuple(sorted(equation.params.items())))
            known = self._known.get(key)
        except TypeError:  # a parameter without a hash
            key, known = len(self.nodes), None
        if known is None:
            n = len(equation.outvars)
            known = self._known[key] = tuple(range(self.slots, self.slots + n))
            self.nodes.append(Node(equation, inputs, known, jaxpr))
            self.slots += n
        return known

    def needed(self, wanted):
        """The nodes that the slots `wanted` need, in order."""
        return numpy_programs.needed(self.nodes, wanted)

    def run(self, leaves, wanted):
        """[values of the slots `wanted`] at these operands, by JAX: to be traced and lifted."""
        values = dict(enumerate(leaves)) | self.constants
        for node in self.needed(wanted):
            inputs = [values[slot] for slot in node.inputs]
            values.update(zip(node.outputs, bound(node, inputs), strict=True))
        return [values[slot] for slot in wanted]


def bound(node, values):
    """[results] of a node at these operands."""
    primitive, params = node.equation.primitive, node.equation.params
    if any(isinstance(value, core.Jaxpr | core.ClosedJaxpr) or callable(value) for value in params.values()):
        return results_of(node.jaxpr, node.equation, values)  # a loop, a branch
    result = primitive.bind(*values, **params)
    return result if primitive.multiple_results else [result]
