"""Leave out what one question does not need: the branches that its single numbers decide.

A formula selects: latent or grouped attention, with drafts or without, through a library or not. Where what decides is
one number at all points of a grid, the other branch need not be evaluated, and what is multiplied by 0 need not either.
Values are those of the whole formula, bit for bit but for the sign of a zero.
"""

import numpy as np

from . import by_numpy
from .assembly import Assembly
from .caches import remembered
from .recording import Graph, Node


def pruned(assembly, operands):
    """The assembly without what the single numbers among `operands` {node: array} decide against."""
    deciding = _deciding(assembly)
    if not deciding.wanted:
        return assembly
    single = {i: x for i, x in operands.items() if i in assembly.elements}
    return _without(assembly, tuple(bool(np.asarray(x).ravel()[0]) for x in deciding(single)))


@remembered(256)
def _deciding(assembly):
    """`by_numpy.Prepared` of the single numbers that decide: conditions, and factors that may be 0."""
    return by_numpy.Prepared(assembly.graph, tuple(_deciders(assembly)))


def _deciders(assembly):
    """{node of a single number: None} that select between arrays, or multiply them."""
    nodes, size, found = assembly.graph.nodes, assembly.elements, {}
    for node, n in size.items():
        name, inputs, *_ = nodes[node]
        if n > 1 and name == "where" and size[inputs[0]] == 1:
            found[inputs[0]] = None
        elif n > 1 and name == "multiply":
            found |= {i: None for i in inputs if size[i] == 1 and i not in assembly.graph.constants}
    return found


@remembered(256)
def _without(assembly, decided):
    """An assembly of the same results where conditions and factors are these; False of a factor: it is 0."""
    known = dict(zip(_deciders(assembly), decided, strict=True))
    graph, old = Graph((), assembly.dtype), assembly.graph
    graph.nodes, graph.operands, graph.constants = [], old.operands, dict(old.constants)
    same: dict = {}  # {node: the one that has its value}
    zeros: set = set()  # nodes that are 0

    for node, (name, inputs, dtype, sources) in enumerate(old.nodes):
        inputs = tuple(same.get(i, i) for i in inputs)
        zero, replaced = _replaced(old.nodes[node], inputs, known, zeros)
        if zero:
            zeros.add(node)
            graph.constants[node] = np.zeros((), dtype)
            name, inputs, sources = "", (), 0
        elif replaced is not None:
            same[node] = replaced
        elif name:
            sources = 0
            for i in inputs:
                sources |= graph.nodes[i].sources
        graph.nodes.append(Node(name, inputs, dtype, sources))
    places = {
        name: {picks: same.get(node, node) for picks, node in nodes.items()} for name, nodes in assembly.nodes.items()
    }
    return _Pruned(assembly.plan, assembly.dtype, assembly.over, places, assembly.sizes, assembly.axes, graph)


def _replaced(node, inputs, known, zeros):
    """(whether the result of an operation is 0, the node that has its value or None); `inputs` as they are now."""
    name, before, *_ = node
    if name == "where" and before[0] in known:
        return False, inputs[1] if known[before[0]] else inputs[2]
    if name == "multiply":
        return any(i in zeros or known.get(old, True) is False for i, old in zip(inputs, before, strict=True)), None
    if name == "divide":
        return inputs[0] in zeros, None
    if name in ("add", "subtract") and inputs[1] in zeros:
        return False, inputs[0]
    if name == "add" and inputs[0] in zeros:
        return False, inputs[1]
    return False, None


class _Pruned(Assembly):
    """An assembly of a graph of its own."""

    def __init__(self, plan, dtype, over, nodes, sizes, axes, graph):
        super().__init__(plan, dtype, over, nodes, sizes, axes)
        self.__dict__["graph"] = graph
