"""Leave out what one question does not need: the branches that its single numbers decide.

A formula selects: latent or grouped attention, with drafts or without, through a library or not. Where what decides is
one number at all points of a grid, the other branch need not be evaluated, and what is multiplied by 0 need not either.
Values are those of the whole formula, bit for bit but for the sign of a zero.
"""

import numpy as np

from ..specs import trees
from . import by_numpy
from .assembly import Assembly
from .caches import remembered, stored
from .operands import unlifted
from .recording import Graph, Node, packed, unpacked
from .traces import traced

# Records whose rows questions keep: a program is without what they decide against.
LASTING = ("model", "engine")


def pruned(assembly, operands, records=None):
    """The assembly without what the single numbers among `operands` {node: array} decide against.

    `records`: only what numbers of these decide alone; None: of all.
    """
    deciding = _deciding(assembly, records)
    return _without(assembly, decided(deciding, operands)) if deciding.wanted else assembly


@remembered(256)
def _deciding(assembly, records):
    found = deciding(assembly.graph, assembly.wanted, assembly.elements.__getitem__)
    if records is None:
        return found
    plan = assembly.plan
    of, *_ = trees.filled(plan.structure, range(len(plan.leaf_axes)))
    bits = sum(1 << i for name in records if name in of for i in trees.leaves(of[name]))
    nodes = assembly.graph.nodes
    return by_numpy.Prepared(assembly.graph, [i for i in found.wanted if not nodes[i].sources & ~bits])


@remembered(256)
def _without(assembly, decisions):
    graph, same = _of_trace(unlifted(assembly.plan), assembly.dtype, decisions)
    nodes = {
        name: {picks: same.get(node, node) for picks, node in places.items()} for name, places in assembly.nodes.items()
    }
    return _Pruned(assembly.plan, assembly.dtype, assembly.over, nodes, assembly.sizes, assembly.axes, graph)


@remembered(64)
def _of_trace(plan, dtype, decisions):
    """`without` of the trace of a plan without axes, kept on disk."""

    def make():
        return without(traced(plan, dtype).graph, decisions)

    def packed_both(found):
        return packed(found[0]), found[1]

    return stored(("pruned", plan, dtype, decisions), make, packed_both, lambda parts: (unpacked(parts[0]), parts[1]))


class _Pruned(Assembly):
    """An assembly of a graph of its own."""

    def __init__(self, plan, dtype, over, nodes, sizes, axes, graph):
        super().__init__(plan, dtype, over, nodes, sizes, axes)
        self.__dict__["graph"] = graph


def deciding(graph, wanted, size):
    """`by_numpy.Prepared` of the single numbers that decide on arrays: conditions, and factors that may be 0.

    `size(node)`: elements of a node's result.
    """
    nodes, found = graph.nodes, {}
    for node in graph.needed(wanted):
        name, inputs, *_ = nodes[node]
        if name not in ("where", "multiply") or size(node) == 1:
            continue
        of = inputs[:1] if name == "where" else inputs
        found |= {i: None for i in of if i not in graph.constants and size(i) == 1}
    return by_numpy.Prepared(graph, tuple(found))


def decided(deciding, operands):
    """((node, whether it holds, or is not 0), ...) of what decides at `operands` {node: array}."""
    single = {i: x for i, x in operands.items() if np.size(x) == 1}
    return tuple((i, bool(np.ravel(x)[0])) for i, x in zip(deciding.wanted, deciding(single), strict=True))


@remembered(64)
def without(graph, decisions):
    """(`Graph`, {node: the one that has its value}) of the same results where `decisions` are as given."""
    known, old, same, zeros, affected = dict(decisions), graph, {}, set(), set()
    graph = Graph((), old.dtype)
    graph.nodes, graph.operands, graph.constants = [], old.operands, dict(old.constants)
    for node, (name, inputs, dtype, sources) in enumerate(old.nodes):
        if affected.isdisjoint(inputs) and (name not in ("where", "multiply") or known.keys().isdisjoint(inputs)):
            graph.nodes.append(old.nodes[node])
            continue
        affected.add(node)
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
    return graph, same


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
