"""A scalar program rearranged for a search: sums meet the axes they do not depend on last.

The time of a step is a sum of terms, most of which depend on a few axes. Added in the order of the formulas, every
partial sum is taken at every point of the grid. Here terms of the same axes are added first, selects of one condition
become one, and a value is divided by once. The result is the same up to rounding; nothing else changes.
"""

import dataclasses
import functools
import math
import operator

import jax.numpy as jnp

from . import jaxprs


def regrouped(closed, supports, sizes):
    """Function of the operands of an inlined scalar jaxpr -> its results, rearranged.

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
        inverses = {}
        for equation in closed.jaxpr.eqns:
            values = [_Value(a.val, frozenset()) if jaxprs.is_literal(a) else known[a] for a in equation.invars]
            support = frozenset().union(*(value.support for value in values))
            result = None
            if 8 * size(support) > largest:  # what is smaller costs next to nothing
                result = _rearranged(equation, values, size, inverses)
            if result is None:
                arrays = jaxprs.results_of(closed.jaxpr, equation, [value.array(size) for value in values])
                known.update((var, _Value(x, support)) for var, x in zip(equation.outvars, arrays, strict=True))
            else:
                known[equation.outvars[0]] = result
        return [jnp.asarray(a.val) if jaxprs.is_literal(a) else known[a].array(size) for a in closed.jaxpr.outvars]

    return run


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
