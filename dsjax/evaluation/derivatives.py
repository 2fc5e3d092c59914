"""Derivatives of recorded results: the operations that they need, run once more on numbers that carry derivatives.

A function of a point calls this on its symbols. Operations that no direction reaches stay the nodes they are, so what
is added is the tangents of what is asked for alone.
"""

import functools
import operator

from .. import arrays
from . import duals
from .recording import Symbol

_OPERATORS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "power": operator.pow,
    "negative": operator.neg,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_invert": operator.invert,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "abs": arrays.absolute,
}


def substituted(results, numbers):
    """{name: number} of {name: symbol}, with other numbers in place of operands.

    `numbers` {symbol of an operand: what stands in its place}: numbers that carry derivatives (`duals.along`,
    `duals.continued`). A result depends on all that its symbol depends on.
    """
    graph = next(iter(results.values())).graph
    values = {symbol.node: number for symbol, number in numbers.items()}
    for node in graph.needed([symbol.node for symbol in results.values()]):
        if node not in values:
            name, inputs, dtype, sources = graph.nodes[node]
            function = functools.partial(arrays.asarray, dtype=dtype) if name == "astype" else _function(name)
            changed = any(getattr(values[i], "node", None) != i for i in inputs)
            values[node] = function(*(values[i] for i in inputs)) if changed else Symbol(graph, node, sources)
    return {
        name: duals.applied(functools.partial(_reaching, symbol.sources), values[symbol.node])
        for name, symbol in results.items()
    }


def _function(name):
    return _OPERATORS.get(name) or getattr(arrays, name, None)  # None of an operand or a constant


def _reaching(sources, number):
    """A number that depends on these sources too."""
    return Symbol(number.graph, number.node, number.sources | sources) if isinstance(number, Symbol) else number
