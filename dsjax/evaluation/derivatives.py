"""Derivatives of a traced function: forward columns; integers relaxed to real numbers."""

import jax
import jax.numpy as jnp

from .program import _dtype, _read, is_literal, results_of


def columns(function, args):
    """(function(*args), aux, [d function / d arg for each arg]) in forward mode.

    `function` returns (scalar, aux). One column per arg: equations that the tangent of an arg does not reach are left
    out of its column, not multiplied by zero.
    """
    value, linear, aux = jax.linearize(function, *args, has_aux=True)
    closed = jax.make_jaxpr(linear)(*args)
    return value, aux, [_column(closed, i) for i in range(len(args))]


def continuous(whole, real):
    """Rule of `run`: the integer `whole` becomes the real number `real` where it turns into a floating-point one,
    and a ceiling lets real numbers through.

    What stays on integers (parity, divisibility) keeps the integer.
    """

    def rule(equation, values):
        name = equation.primitive.name
        if name == "convert_element_type" and values[0] is whole and jnp.issubdtype(_dtype(equation), jnp.floating):
            return [real.astype(_dtype(equation))]
        return [values[0]] if name == "ceil" else None

    return rule


def _column(closed, i):
    """A linear jaxpr of scalars, with one result, at the unit vector i."""
    jaxpr = closed.jaxpr
    known = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    tangents = {jaxpr.invars[i]: jnp.ones((), jaxpr.invars[i].aval.dtype)}
    linear = set(jaxpr.invars)  # variables that depend on a tangent, this one or another
    for equation in jaxpr.eqns:
        operands = [None if is_literal(atom) else atom for atom in equation.invars]
        if not any(atom in linear for atom in operands):
            known.update(zip(equation.outvars, results_of(jaxpr, equation, [_read(known, a) for a in equation.invars])))
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
