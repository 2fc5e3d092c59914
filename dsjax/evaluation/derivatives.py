"""Derivatives of a traced function: forward columns or reverse, and an integer continued to real numbers."""

import jax
import jax.numpy as jnp
from jax.extend import core

from . import stages
from .program import dtype_of, inlined, is_literal, results_of, run, value_at


def differentiated(function):
    """Decorator of a function to lift that takes derivatives over a grid: its program is compiled for them."""
    function.stages = stages.DERIVATIVES
    return function


def forward(function, args, of):
    """(values, [d values[of] / d arg for each arg]) of `function(*args)` -> {name: scalar}, in forward mode.

    One column per arg: equations that the tangent of an arg does not reach are left out of its column, not multiplied
    by zero; in a lifted program a tangent stays at the rank of the axes that it meets.
    """
    _, linear, values = jax.linearize(_flat(function, args, of), *args, has_aux=True)
    closed = jax.make_jaxpr(linear)(*args)
    return values, [_column(closed, i) for i in range(len(args))]


def reverse(function, args, of):
    """(values, [d values[of] / d arg for each arg]) as in `forward`, reverse mode: a smaller program at one point."""
    every = tuple(range(len(args)))
    (_, values), gradient = jax.value_and_grad(_flat(function, args, of), argnums=every, has_aux=True)(*args)
    return values, list(gradient)


def _flat(function, args, of):
    """`function`, its nested calls inlined, as (values[of], values)."""
    names = []

    def listed(*args):
        found = function(*args)
        names[:] = found
        return list(found.values())

    inner = core.jaxpr_as_fun(inlined(listed, *args))

    def chosen(*args):
        values = dict(zip(names, inner(*args), strict=True))
        return values[of], values

    return chosen


def continued(function, whole, *args):
    """`at(real, *args)`: `function(whole, *args)` with its integer scalar `whole` continued to a real number.

    The real number stands where the integer turns into a floating-point one, and a ceiling lets real numbers through;
    what stays on integers (parity, divisibility) keeps the integer. The function is traced here, once.
    """
    closed = jax.make_jaxpr(function)(whole, *args)

    def at(real, *args):
        def rule(equation, values):
            name = equation.primitive.name
            if (
                name == "convert_element_type"
                and values[0] is whole
                and jnp.issubdtype(dtype_of(equation), jnp.floating)
            ):
                return [real.astype(dtype_of(equation))]
            return [values[0]] if name == "ceil" else None

        return run(closed, [whole, *args], rule)[0]

    return at


def _column(closed, i):
    """A linear jaxpr of scalars, with one result, at the unit vector i."""
    jaxpr = closed.jaxpr
    known = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    tangents = {jaxpr.invars[i]: jnp.ones((), jaxpr.invars[i].aval.dtype)}
    linear = set(jaxpr.invars)  # variables that depend on a tangent, this one or another
    for equation in jaxpr.eqns:
        operands = [None if is_literal(atom) else atom for atom in equation.invars]
        if not any(atom in linear for atom in operands):
            known.update(
                zip(equation.outvars, results_of(jaxpr, equation, [value_at(known, a) for a in equation.invars]))
            )
            continue
        linear.update(equation.outvars)
        reached = [atom for atom in operands if atom in tangents]
        if not reached:
            continue
        result, only = equation.outvars[0], reached[0]
        if equation.primitive.name in ("add", "add_any") and reached == [only] and only.aval.shape == result.aval.shape:
            tangents[result] = tangents[only]
            continue
        values = [_tangent(atom, linear, tangents, known) for atom in equation.invars]
        tangents.update(zip(equation.outvars, results_of(jaxpr, equation, values)))
    result = jaxpr.outvars[0]
    return _tangent(result, linear, tangents, known)


def _tangent(atom, linear, tangents, known):
    if is_literal(atom):
        return atom.val
    if atom in linear:
        return tangents[atom] if atom in tangents else jnp.zeros(atom.aval.shape, atom.aval.dtype)
    return known[atom]
