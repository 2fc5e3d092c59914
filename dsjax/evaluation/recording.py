"""Record a scalar function as a list of operations: what every evaluator runs, and what says which axes a result has.

The function is called with symbols for its operands. Every operation on a symbol is written down once, under its
standard name, with the nodes it takes; nothing is computed. Python's own branches and loops are taken while recording.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

BOOL, INT8, INT32 = (np.dtype(kind) for kind in ("bool", "int8", "int32"))
_COMPARISONS = frozenset(("less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "isnan"))
_FLOATING = frozenset(("divide", "power", "sqrt", "exp", "expm1", "log", "log1p", "log2", "ceil", "round"))
_ARITHMETIC = frozenset(("add", "subtract", "multiply", "negative"))


class Node(NamedTuple):
    """One operation: its standard name ("" of an operand or a constant), the nodes it takes, the type of its result."""

    name: str
    inputs: tuple
    dtype: np.dtype
    sources: int  # operands that it can depend on, as the bits of an integer


class Graph:
    """Operations on scalars in the order in which they were recorded; nodes 0 to n - 1 are the operands.

    `dtype`: type of floating-point numbers, the same for all.
    """

    def __init__(self, dtypes, dtype):
        self.dtype, self.constants, self._known, self._numbers = np.dtype(dtype), {}, {}, {}
        self.nodes = [Node("", (), np.dtype(kind), 1 << i) for i, kind in enumerate(dtypes)]
        self.operands = len(self.nodes)

    def symbols(self):
        """A symbol for every operand."""
        return [Symbol(self, i, self.nodes[i].sources) for i in range(self.operands)]

    def symbol(self, value):
        """A value as a symbol; a number becomes a constant."""
        if isinstance(value, Symbol):
            return value
        return Symbol(self, self.constant(value, _typed(value, self.dtype, BOOL)), 0)

    def constant(self, value, dtype):
        """Node of a number in a type."""
        array = np.asarray(value, dtype)
        key = (dtype, array.tobytes())
        if key not in self._known:
            self.constants[len(self.nodes)] = array
            self._known[key] = len(self.nodes)
            self.nodes.append(Node("", (), dtype, 0))
        return self._known[key]

    def number(self, value):
        """Node of a number of Python's that is not 0, as a floating-point one: 0 and -0 are two constants."""
        if value not in self._numbers:
            self._numbers[value] = self.constant(value, self.dtype)
        return self._numbers[value]

    def add(self, name, inputs, dtype):
        """Node of an operation on nodes: the one that is there already, or a new one."""
        key = (name, inputs, dtype)
        if key not in self._known:
            sources = 0
            for i in inputs:
                sources |= self.nodes[i].sources
            self._known[key] = len(self.nodes)
            self.nodes.append(Node(name, inputs, dtype, sources))
        return self._known[key]

    def cast(self, node, dtype):
        """Node of a node's value in another type."""
        if self.nodes[node].dtype == dtype:
            return node
        if node in self.constants:
            return self.constant(self.constants[node], dtype)
        return self.add("astype", (node,), dtype)

    def needed(self, wanted):
        """Nodes that the nodes `wanted` need, operands and constants among them, in order."""
        seen, left = set(), list(wanted)
        while left:
            node = left.pop()
            if node not in seen:
                seen.add(node)
                left.extend(self.nodes[node].inputs)
        return sorted(seen)


def packed(graph):
    """A graph that no more is recorded in, as numbers, texts and bytes."""
    columns = [[node[i] for node in graph.nodes] for i in (0, 1, 3)]
    kinds = [node.dtype.str for node in graph.nodes]
    constants = {node: (x.dtype.str, x.tobytes()) for node, x in graph.constants.items()}
    return graph.dtype.str, graph.operands, *columns, kinds, constants


def unpacked(parts):
    """The `Graph` of what `packed` made."""
    dtype, operands, names, inputs, sources, kinds, constants = parts
    graph, of = Graph((), dtype), {kind: np.dtype(kind) for kind in set(kinds)}
    graph.nodes = list(map(Node, names, inputs, map(of.__getitem__, kinds), sources))
    graph.operands = operands
    graph.constants = {node: np.frombuffer(data, kind).reshape(()) for node, (kind, data) in constants.items()}
    return graph


def sized(graph, axes, lengths):
    """`size(node)`: elements of a node's result over the axes of `lengths` {axis: length} that it depends on.

    `axes`: the axis of every operand, or None.
    """
    bits = {axis: sum(1 << i for i, own in enumerate(axes) if own == axis) for axis in lengths}

    @functools.cache
    def of_sources(sources):
        return math.prod(n for axis, n in lengths.items() if sources & bits[axis])

    return lambda node: of_sources(graph.nodes[node].sources)


_LEVEL = {BOOL: 0, INT8: 1, INT32: 2, np.dtype("float32"): 3, np.dtype("float64"): 3}


def _wider(one, other):
    return other if _LEVEL[other] > _LEVEL[one] else one


def _typed(number, floating, beside):
    """Type of a number in an operation beside symbols of a type: an integer takes theirs, as in NumPy and JAX."""
    kind = {float: "f", bool: "b", int: "i"}.get(type(number)) or np.asarray(number).dtype.kind
    if kind not in "biuf":
        raise TypeError(f"{number!r}; expected a real number in a formula")
    if kind == "b":
        return BOOL
    if kind == "f" or beside == floating:
        return floating
    return number.dtype if getattr(number, "dtype", None) == INT8 else INT32


def _recorded(name, *values):
    """Symbol of an operation on symbols and numbers."""
    graph, mask, inputs, kind = None, 0, [], BOOL
    for x in values:
        if isinstance(x, Symbol):
            graph, mask = x.graph, mask | x.sources
            kind = _wider(kind, x.dtype) if x is not values[0] or name != "where" else kind
    for i, x in enumerate(values):  # a condition has a type of its own
        number = None if isinstance(x, Symbol) else graph.constant(x, _typed(x, graph.dtype, kind))
        inputs.append(x.node if number is None else number)
        if number is not None and (i or name != "where"):
            kind = _wider(kind, graph.nodes[number].dtype)
    if name in _FLOATING:
        kind = graph.dtype
    elif kind is BOOL and name in _ARITHMETIC:
        kind = INT32
    for i, node in enumerate(inputs):
        if i or name != "where":
            inputs[i] = graph.cast(node, kind)
    same = _unchanged(graph, name, inputs)
    if same is None:
        same = graph.add(name, tuple(inputs), BOOL if name in _COMPARISONS else kind)
    return Symbol(graph, same, mask)


def _unchanged(graph, name, inputs):
    """The node that a product with 1, or a quotient by it, leaves as it is; None of other operations."""
    if name in ("multiply", "divide"):
        for one, other in ((inputs[1], inputs[0]), (inputs[0], inputs[1]))[: 1 if name == "divide" else 2]:
            if one in graph.constants and graph.constants[one] == 1:
                return other
    return None


def _binary(name):
    def operator(self, other):
        if type(other) is Symbol:  # of two numbers of one type there is nothing to convert
            graph, a, b = self.graph, self.node, other.node
            kind = graph.nodes[a].dtype
            if (
                kind is graph.nodes[b].dtype
                and kind is graph.dtype
                and a not in graph.constants
                and b not in graph.constants
            ):
                kind = BOOL if name in _COMPARISONS else kind
                return Symbol(graph, graph.add(name, (a, b), kind), self.sources | other.sources)
        elif (type(other) is float or type(other) is int) and other and other != 1:  # nor is it with most numbers
            graph, a = self.graph, self.node
            if graph.nodes[a].dtype is graph.dtype and a not in graph.constants:
                kind = BOOL if name in _COMPARISONS else graph.dtype
                return Symbol(graph, graph.add(name, (a, graph.number(other)), kind), self.sources)
        return _recorded(name, self, other) if _is_operand(other) else NotImplemented

    def reflected(self, other):
        return _recorded(name, other, self) if _is_operand(other) else NotImplemented

    return operator, reflected


def _is_operand(x):
    return isinstance(x, Symbol | bool | int | float | np.generic) or (isinstance(x, np.ndarray) and x.ndim == 0)


class Symbol:
    """A scalar that is not known yet: a node of a graph.

    `sources`: what its value can depend on, as bits: operands, and marks beyond them (`marked`), which leave no node.
    """

    __slots__ = ("graph", "node", "sources")
    __array_ufunc__ = None  # of NumPy's operators the reflected one here is used
    __hash__ = object.__hash__
    ndim, shape = 0, ()

    def __init__(self, graph, node, sources):
        self.graph, self.node, self.sources = graph, node, sources

    @property
    def dtype(self):
        """Type of the value."""
        return self.graph.nodes[self.node].dtype

    def __array_namespace__(self, api_version=None):
        return Functions

    def __bool__(self):
        raise TypeError("a formula branches on a number of its point; expected arrays.where")

    def marked(self, bit):
        """This symbol with another bit among its sources."""
        return Symbol(self.graph, self.node, self.sources | 1 << bit)

    __add__, __radd__ = _binary("add")
    __sub__, __rsub__ = _binary("subtract")
    __mul__, __rmul__ = _binary("multiply")
    __truediv__, __rtruediv__ = _binary("divide")
    __floordiv__, __rfloordiv__ = _binary("floor_divide")
    __mod__, __rmod__ = _binary("remainder")
    __and__, __rand__ = _binary("bitwise_and")
    __or__, __ror__ = _binary("bitwise_or")
    __lt__, _ = _binary("less")
    __le__, _ = _binary("less_equal")
    __gt__, _ = _binary("greater")
    __ge__, _ = _binary("greater_equal")
    __eq__, _ = _binary("equal")
    __ne__, _ = _binary("not_equal")

    def __pow__(self, other):
        if isinstance(other, int | float) and other == 2:
            return self * self
        return _recorded("power", self, other) if _is_operand(other) else NotImplemented

    def __rpow__(self, other):
        return _recorded("power", other, self) if _is_operand(other) else NotImplemented

    def __neg__(self):
        return _recorded("negative", self)

    def __abs__(self):
        return _recorded("abs", self)

    def __invert__(self):
        return _recorded("bitwise_invert", self)


def _function(name):
    return staticmethod(lambda *values: _recorded(name, *values))


class Functions:
    """Namespace of symbols: functions by their standard names."""

    where, minimum, maximum, abs = (_function(name) for name in ("where", "minimum", "maximum", "abs"))
    sqrt, exp, expm1, log = (_function(name) for name in ("sqrt", "exp", "expm1", "log"))
    log1p, log2, ceil, round = (_function(name) for name in ("log1p", "log2", "ceil", "round"))
    isnan = _function("isnan")

    @staticmethod
    def asarray(x, dtype=None):
        """A symbol in another type."""
        return x if dtype is None else Symbol(x.graph, x.graph.cast(x.node, np.dtype(dtype)), x.sources)
