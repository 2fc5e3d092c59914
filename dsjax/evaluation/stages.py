"""Split recorded operations into stages by the size of their results: NumPy's, and those that are compiled.

Of thousands of operations a few hundred have results of the rank of the grid or nearly so; these are compiled, and the
others are not worth a compiler's time. XLA would fuse what depends on a few axes into the loops over all points and
repeat it there; programs of their own keep it apart.
"""

import functools
from typing import NamedTuple

import numpy as np


class Stage(NamedTuple):
    """Operations evaluated together: what they take from earlier stages, what later ones or the caller take."""

    nodes: tuple
    inputs: tuple
    outputs: tuple


def split(graph, wanted, first, number):
    """[`Stage`, ...], so many; `first(node)`: the earliest one that an operation may be in, by the size of its result.

    An operation is in no earlier stage than what it takes.
    """
    nodes = graph.nodes
    needed, stage = graph.needed(wanted), {}
    for node in needed:
        own = first(node) if node not in graph.constants else 0
        stage[node] = max([own, *(stage[i] for i in nodes[node].inputs)])
    latest = dict.fromkeys(wanted, number)  # stage that takes a node last
    for node in needed:
        for i in nodes[node].inputs:
            latest[i] = max(latest.get(i, 0), stage[node])
    found = []
    for k in range(number):
        mine = tuple(node for node in needed if stage[node] == k and nodes[node].name)
        taken = {i for node in mine for i in nodes[node].inputs if stage[i] < k and i not in graph.constants}
        given = tuple(node for node in needed if stage[node] == k and latest.get(node, 0) > k)
        found.append(Stage(mine, tuple(sorted(taken)), given))
    return found


def replayed(graph, nodes, values):
    """`values` {node: JAX array} with the results of the operations `nodes`, in order."""
    import jax.numpy as jnp

    for node in nodes:
        name, inputs, dtype, _ = graph.nodes[node]
        operands = [graph.constants[i] if i in graph.constants else values[i] for i in inputs]
        values[node] = operands[0].astype(dtype) if name == "astype" else getattr(jnp, name)(*operands)
    return values


def compiled(graph, stage):
    """Compiled function [arrays of stage.inputs] -> [arrays of stage.outputs]."""

    def function(arrays):
        values = replayed(graph, stage.nodes, dict(zip(stage.inputs, arrays, strict=True)))
        return [values[node] for node in stage.outputs]

    return jitted(function)


def jitted(function, emitters=False):
    """`function`, to be compiled when it is called; `emitters`: by XLA's newer code generator for CPU."""
    import jax

    return jax.jit(function, compiler_options=_options(emitters))


def precision(dtype):
    """float64 is switched on for the call only: importing dsjax changes nothing of the user's JAX."""
    import jax

    return jax.enable_x64(np.dtype(dtype) == np.float64)


@functools.cache
def _options(emitters):
    """Compiler options: XLA's older code generator for CPU compiles a step's code faster, and it runs as fast; in the
    roots of servers it computes a value again in each place that uses it, and takes two to seven times as long;
    vectors of 512 bits, where the CPU has them, save up to a fifth of a streamed search."""
    import jax

    if jax.default_backend() != "cpu":
        return None
    options = {"xla_cpu_use_fusion_emitters": emitters, "xla_cpu_prefer_vector_width": 512}
    return {name: value for name, value in options.items() if _known({name: value})} or None


def _known(options):
    """Whether this jaxlib has these compiler options."""
    import jax

    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
