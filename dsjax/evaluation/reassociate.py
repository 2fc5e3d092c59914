"""Reassociate sums of a scalar program: add terms that share axes before they are broadcast.

The time of a step is a sum of terms, most of which depend on a few axes. Added in the order of the formulas, every
partial sum is taken at every point of the grid. Here terms of the same axes are added first, selects of one condition
become one, and a value is divided by once. Values that the formulas stack (micro-batches, kernels) are taken apart, so
that the innermost loop runs along an axis of the grid. Results change by rounding only. Streamed searches alone use it.
"""

import dataclasses
import functools
import math
import operator

import jax
import jax.numpy as jnp
import numpy as np

from . import numpy_primitives, program

SMALL = 32  # values at fewer than the largest number of points divided by this cost next to nothing
MOST_PARTS = 64  # of a value that is taken apart


def regrouped(closed, supports, sizes):
    """Function (operands -> results) of an inlined scalar jaxpr, its sums rearranged.

    `supports`: the axes every operand varies along, as frozensets; `sizes` {axis: length}.
    """
    largest = math.prod(sizes.values())

    def size(support):
        return math.prod(sizes[axis] for axis in support)

    def run(*operands):
        known = {}
        for var, x in zip(closed.jaxpr.constvars, closed.consts, strict=True):
            known[var] = _Value(jnp.asarray(x), frozenset())
        known |= {var: _Value(x, s) for var, x, s in zip(closed.jaxpr.invars, operands, supports, strict=True)}
        inverses, parts = {}, {}

        def evaluated(equation, values):
            """Value of an equation whose operands and result are scalars of the formulas, or arrays of theirs."""
            support = frozenset().union(*(value.support for value in values))
            result = None
            if SMALL * size(support) > largest:
                result = _rearranged(equation, values, size, inverses)
            if result is None:
                (x,) = program.results_of(closed.jaxpr, equation, [value.array(size) for value in values])
                result = _Value(x, support)
            return result

        for equation in closed.jaxpr.eqns:
            values = [_read(a, known) for a in equation.invars]
            support = frozenset().union(*(value.support for value in values))
            results = None
            if SMALL * size(support) > largest or any(isinstance(value, _Parts) for value in values):
                results = _apart(equation, values, size, parts, evaluated)
            if results is None and len(equation.outvars) == 1:
                results = [evaluated(equation, values)]
            if results is None:
                arrays = program.results_of(closed.jaxpr, equation, [value.array(size) for value in values])
                results = [_Value(x, support) for x in arrays]
            known.update(zip(equation.outvars, results, strict=True))
        return [jnp.asarray(a.val) if program.is_literal(a) else known[a].array(size) for a in closed.jaxpr.outvars]

    return run


def _read(atom, known):
    return _Value(jnp.asarray(atom.val, atom.aval.dtype), frozenset()) if program.is_literal(atom) else known[atom]


@dataclasses.dataclass(frozen=True, eq=False)
class _Value:
    """An array and the axes it varies along."""

    x: object
    support: frozenset

    def array(self, size):
        del size
        return self.x

    def terms(self):
        return {self.support: self.x}, {}


@dataclasses.dataclass(frozen=True, eq=False)
class _Sum:
    """A sum not taken yet: {axes: term} and {condition: (its _Value, if true, if false)}."""

    plain: dict
    picks: dict
    cache: dict = dataclasses.field(default_factory=dict)

    @property
    def support(self):
        branches = [part.support for pick in self.picks.values() for part in pick]
        return frozenset().union(*self.plain, *branches)

    def terms(self):
        return self.plain, self.picks

    def array(self, size):
        """The sum: small terms first, each into the smallest one that varies along all of its axes."""
        if "x" not in self.cache:
            terms = [(support, x) for support, x in self.plain.items()]
            for condition, true, false in self.picks.values():
                support = condition.support | true.support | false.support
                terms.append((support, jnp.where(condition.x, true.array(size), false.array(size))))
            while len(terms) > 1:
                terms.sort(key=lambda term: size(term[0]))
                (support, x), *others = terms
                i = min(range(len(others)), key=lambda i: size(others[i][0] | support))
                terms = [*others[:i], (others[i][0] | support, others[i][1] + x), *others[i + 1 :]]
            self.cache["x"] = terms[0][1]
        return self.cache["x"]


def _rearranged(equation, values, size, inverses):
    """The result of an equation of many points as a sum not taken yet, or None where it is an ordinary one."""
    name = equation.primitive.name
    if not jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating):
        return None
    if name in ("add", "add_any"):
        return _added(*values)
    if name == "sub":
        return _added(values[0], _scaled(values[1], operator.neg))
    if name == "mul":
        for one, other in (values, values[::-1]):
            if isinstance(one, _Sum) and isinstance(other, _Value) and not other.support:
                return _scaled(one, functools.partial(operator.mul, other.x))
    if name == "select_n" and len(values) == 3 and isinstance(values[0], _Value):
        condition, false, true = values
        return _Sum({}, {id(condition.x): (condition, true, false)})
    if name == "div" and values[1].support - values[0].support:
        below = values[1].array(size)
        if id(below) not in inverses:
            inverses[id(below)] = (1.0 / below, below)  # `below` is kept, so that its id stays its own
        inverse = inverses[id(below)][0]
        return _Value(values[0].array(size) * inverse, values[0].support | values[1].support)
    return None


def _added(one, other):
    plain, picks = (dict(terms) for terms in one.terms())
    more, more_picks = other.terms()
    for support, x in more.items():
        plain[support] = plain[support] + x if support in plain else x
    for key, (condition, true, false) in more_picks.items():
        if key in picks:
            _, first, second = picks[key]
            picks[key] = (condition, _added(first, true), _added(second, false))
        else:
            picks[key] = (condition, true, false)
    return _Sum(plain, picks)


def _scaled(value, function):
    if isinstance(value, _Value):
        return _Value(function(value.x), value.support)
    picks = {k: (p, _scaled(a, function), _scaled(b, function)) for k, (p, a, b) in value.picks.items()}
    return _Sum({support: function(x) for support, x in value.plain.items()}, picks)


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """An array of values not put together: of the shape that it has in the formulas."""

    items: np.ndarray  # of _Value and _Sum, each a scalar of the formulas
    cache: dict = dataclasses.field(default_factory=dict)

    @property
    def support(self):
        return frozenset().union(*(item.support for item in self.items.flat))

    def array(self, size):
        if "x" not in self.cache:
            self.cache["x"] = jnp.stack([item.array(size) for item in self.items.flat]).reshape(self.items.shape)
        return self.cache["x"]


def _apart(equation, values, size, known, evaluated):
    """[result] of an equation of stacked values as `_Parts`; None where it has none, or is not known here."""
    shapes = [atom.aval.shape for atom in (*equation.invars, *equation.outvars)]
    name, result = equation.primitive.name, equation.outvars[0].aval
    if not any(shapes) or max(map(math.prod, shapes)) > MOST_PARTS or len(equation.outvars) > 1:
        return None
    if name not in _MOVED and name not in numpy_primitives.ELEMENTWISE:
        return None
    operands = [_parts(value, atom.aval.shape, size, known) for value, atom in zip(values, equation.invars)]
    if name in _MOVED:
        items = _MOVED[name](equation.params, result.shape, operands)
    else:
        items = np.empty(result.shape, object)
        for index, each in zip(np.ndindex(result.shape), zip(*(x.flat for x in np.broadcast_arrays(*operands)))):
            items[index] = evaluated(equation, list(each))
    return [_Parts(items) if result.shape else items.item()]


def _parts(value, shape, size, known):
    """Array of the parts of a value; `known` {id: (value, parts)} keeps them one and the same."""
    if isinstance(value, _Parts):
        return value.items
    if id(value) not in known:
        items = np.empty(shape, object)
        if not shape:
            items[()] = value
        for index in np.ndindex(shape) if shape else ():
            part = jax.lax.slice(value.array(size), index, [i + 1 for i in index])
            items[index] = _Value(jax.lax.squeeze(part, range(len(shape))), value.support)
        known[id(value)] = value, items
    return known[id(value)][1]


def _window(params, shape, operands):
    steps = params["strides"] or (1,) * len(shape)
    return operands[0][tuple(map(slice, params["start_indices"], params["limit_indices"], steps))]


def _spread(params, shape, operands):
    kept = [1] * len(shape)
    for dim, n in zip(params["broadcast_dimensions"], operands[0].shape, strict=True):
        kept[dim] = n
    return np.broadcast_to(operands[0].reshape(kept), shape)


# {primitive: (parameters, shape of the result, arrays of parts) -> array of parts} of those that compute nothing
_MOVED = {
    "broadcast_in_dim": _spread,
    "concatenate": lambda params, shape, operands: np.concatenate(operands, axis=params["dimension"]),
    "reshape": lambda params, shape, operands: operands[0].reshape(shape),
    "slice": _window,
    "squeeze": lambda params, shape, operands: operands[0].reshape(shape),
    "stack": lambda params, shape, operands: np.stack(operands, axis=params["axis"]),
    "transpose": lambda params, shape, operands: operands[0].transpose(params["permutation"]),
}
