"""The scalar function of a space recorded at every choice of its policies: results, and what each depends on."""

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np

from .. import arrays
from ..specs import trees
from ..specs.records import Point
from . import duals
from .caches import remembered, stored
from .operands import operand_types, unlifted
from .recording import Graph, packed, unpacked


class Trace(NamedTuple):
    """The scalar function of every choice of the policies, recorded once each; what they share is there once."""

    graph: Graph
    nodes: dict  # {(index of the choice of each policy): {variable: node}} of the choices of the space
    sources: dict  # {variable: operands and, after them, policies that it can depend on, as bits}
    dtypes: dict  # {variable: dtype}


def traced(plan, dtype):
    """`Trace` of a plan, the same for all axes over the same records and policies."""
    return _traced(unlifted(plan), dtype)


@remembered(256)
def _traced(plan, dtype):
    def packed_trace(trace):
        kinds = {name: kind.str for name, kind in trace.dtypes.items()}
        return packed(trace.graph), trace.nodes, trace.sources, kinds

    def unpacked_trace(parts):
        graph, nodes, sources, kinds = parts
        return Trace(unpacked(graph), nodes, sources, {name: np.dtype(kind) for name, kind in kinds.items()})

    return stored(("trace", plan, dtype), lambda: _recorded(plan, dtype), packed_trace, unpacked_trace)


def _recorded(plan, dtype):
    """A variable depends on a policy's axis if a result of one of the policy's functions reaches it: those are marked.

    Choices outside the space are recorded for what they depend on, and are not evaluated.
    """
    types = operand_types(plan, dtype)
    trace = Trace(Graph(types, dtype), {}, {}, {})
    every = [range(len(choices) + len(others)) for _, choices, others in plan.policies]
    for picks in itertools.product(*every):
        choice = [(*choices, *others)[i] for i, (_, choices, others) in zip(picks, plan.policies, strict=True)]
        marked = [
            [(argument, _marked(function, trace.graph, len(types) + i)) for argument, function in functions]
            for i, functions in enumerate(choice)
        ]
        records, curves, engines, bounds = trees.filled(plan.structure, trace.graph.symbols())
        point = Point(**records, curve=_of_engine(curves[picks[-1]], *engines))
        results = plan.function(plan.step, point, bounds, **dict(itertools.chain(*marked)))
        symbols = {name: trace.graph.symbol(value) for name, value in results.items()}
        for name, symbol in symbols.items():
            trace.sources[name] = trace.sources.get(name, 0) | symbol.sources
        if all(i < len(choices) for i, (_, choices, _) in zip(picks, plan.policies, strict=True)):
            trace.nodes[picks] = {name: symbol.node for name, symbol in symbols.items()}
            trace.dtypes.update((name, symbol.dtype) for name, symbol in symbols.items())
    return trace


def _of_engine(curve, engine=None):
    """A curve: of several, one for each engine, that of the `engine` by its index."""
    if not isinstance(curve, list):
        return curve
    knots = (field.name for field in dataclasses.fields(curve[0]))
    return type(curve[0])(**{name: arrays.choose(engine, *(getattr(one, name) for one in curve)) for name in knots})


def _marked(choice, graph, bit):
    """A function, or a record of functions, whose results have another bit among their sources; else unchanged."""
    if isinstance(choice, tuple):
        return type(choice)(*(_marked(each, graph, bit) for each in choice))
    if isinstance(choice, type):
        return choice

    def mark(leaf):
        return duals.applied(lambda x: graph.symbol(x).marked(bit), leaf)

    return lambda *args, **kwargs: trees.mapped(mark, choice(*args, **kwargs))
