"""Reassociate sums of recorded operations: add terms that share axes before they are broadcast.

The time of a step is a sum of terms, most of which depend on a few axes. Added in the order of the formulas, every
partial sum is taken at every point of the grid. Here terms of the same axes are added first, selects of one condition
become one, and a value is divided by once. Results change by rounding only. Streamed searches alone use it.
"""

import dataclasses

from .recording import Graph

SMALL = 32  # values at fewer than the largest number of points divided by this cost next to nothing


@dataclasses.dataclass(frozen=True, eq=False)
class _Sum:
    """A sum not taken yet: {axes: node of a term} and {node of a condition: (if true, if false)}."""

    plain: dict
    picks: dict
    support: int  # axes, as bits
    cache: dict = dataclasses.field(default_factory=dict)


def regrouped(graph, wanted, supports, size):
    """(`Graph` of the operands of `graph`, nodes of it that give what the nodes `wanted` gave), its sums rearranged.

    `supports`: the axes that every operand varies along, as bits; `size(bits)`: points over these axes.
    """
    return _Regrouping(graph, supports, size).of(wanted)


class _Regrouping:
    def __init__(self, graph, supports, size):
        self.old, self.size = graph, size
        self.new = Graph([node.dtype for node in graph.nodes[: graph.operands]], graph.dtype)
        self.supports = dict(enumerate(supports))  # {node of the new graph: axes}
        self.known = {i: i for i in range(graph.operands)}  # {node of the old graph: node of the new one, or _Sum}
        self.inverses = {}

    def of(self, wanted):
        needed = self.old.needed(wanted)
        largest = max(self.size(self._support_of(node)) for node in needed)
        for node in needed:
            if node in self.known:
                continue
            if node in self.old.constants:
                self.known[node] = self.new.constant(self.old.constants[node], self.old.nodes[node].dtype)
                self.supports[self.known[node]] = 0
                continue
            name, inputs, dtype, _ = self.old.nodes[node]
            values, found = [self.known[i] for i in inputs], None
            if SMALL * self.size(self._support_of(node)) > largest and dtype.kind == "f":
                found = self._rearranged(name, values)
            self.known[node] = self._add(name, [self._node(x) for x in values], dtype) if found is None else found
        return self.new, [self._node(self.known[node]) for node in wanted]

    def _support_of(self, node):
        sources = self.old.nodes[node].sources
        return _union(self.supports[i] for i in range(self.old.operands) if sources >> i & 1)

    def _support(self, value):
        return value.support if isinstance(value, _Sum) else self.supports[value]

    def _add(self, name, inputs, dtype):
        node = self.new.add(name, tuple(inputs), dtype)
        self.supports[node] = _union(self.supports[i] for i in inputs)
        return node

    def _constant(self, number):
        node = self.new.constant(number, self.new.dtype)
        self.supports[node] = 0
        return node

    def _rearranged(self, name, values):
        """The result of an operation at many points as a sum not taken yet, or None where it is an ordinary one."""
        if name == "add":
            return self._added(*values)
        if name == "subtract":
            return self._added(values[0], self._scaled(values[1], "negative"))
        if name == "multiply":
            for one, other in (values, values[::-1]):
                if isinstance(one, _Sum) and not isinstance(other, _Sum) and not self.supports[other]:
                    return self._scaled(one, "multiply", other)
        if name == "where" and not isinstance(values[0], _Sum):
            return _Sum({}, {values[0]: (values[1], values[2])}, _union(map(self._support, values)))
        if name == "divide" and self._support(values[1]) & ~self._support(values[0]):
            below = self._node(values[1])
            if below not in self.inverses:
                self.inverses[below] = self._add("divide", [self._constant(1.0), below], self.new.dtype)
            return self._add("multiply", [self._node(values[0]), self.inverses[below]], self.new.dtype)
        return None

    def _terms(self, value):
        return (value.plain, value.picks) if isinstance(value, _Sum) else ({self.supports[value]: value}, {})

    def _plus(self, one, other):
        return self._add("add", [one, other], self.new.dtype)

    def _added(self, one, other):
        plain, picks = (dict(terms) for terms in self._terms(one))
        more, more_picks = self._terms(other)
        for support, x in more.items():
            plain[support] = self._plus(plain[support], x) if support in plain else x
        for condition, (true, false) in more_picks.items():
            if condition in picks:
                first, second = picks[condition]
                true, false = self._added(first, true), self._added(second, false)
            picks[condition] = (true, false)
        return _Sum(plain, picks, self._support(one) | self._support(other))

    def _scaled(self, value, name, *factor):
        if not isinstance(value, _Sum):
            return self._add(name, [value, *factor], self.new.dtype)
        picks = {k: tuple(self._scaled(x, name, *factor) for x in pair) for k, pair in value.picks.items()}
        plain = {support: self._add(name, [x, *factor], self.new.dtype) for support, x in value.plain.items()}
        return _Sum(plain, picks, value.support)

    def _node(self, value):
        """Node of a value: of a sum small terms first, each into the smallest one that varies along all its axes."""
        if not isinstance(value, _Sum):
            return value
        if not value.cache:
            terms = list(value.plain.values())
            for condition, pair in value.picks.items():
                terms.append(self._add("where", [condition, *map(self._node, pair)], self.new.dtype))
            while len(terms) > 1:
                terms.sort(key=lambda term: self.size(self.supports[term]))
                first, *others = terms
                i = min(range(len(others)), key=lambda i: self.size(self.supports[others[i]] | self.supports[first]))
                terms = [*others[:i], self._plus(others[i], first), *others[i + 1 :]]
            value.cache["node"] = terms[0]
        return value.cache["node"]


def _union(supports):
    found = 0
    for support in supports:
        found |= support
    return found
