"""Which evaluator answers: NumPy where it is sooner, a compiled program where that pays.

NumPy takes a time proportional to the elements of all results, and a little for every operation. A compiler takes a
second and some milliseconds per operation before its program is there, which then is several times as fast. So NumPy
answers what it has done by then, and what takes longer is compiled; so is what takes NumPy long enough to be waited for
and has been asked so often that a program would have paid. How often a small question was asked does not count: it has
the same bits every time, and NumPy evaluates only what moved.
Nothing is compiled beside, by another thread: XLA aborts a process that ends meanwhile, or would make its end wait.
"""

import collections
import contextlib
import contextvars
import itertools

from ..scoped import scoped
from . import by_numpy, stages
from .caches import remembered
from .pruning import LASTING, pruned

# Results of at most this many elements, and of at most this share of the largest one, are NumPy's in any case.
SMALL, SHARE = 2**18, 0.1
FULL = 0.3  # share of the largest result from which one belongs to the last stage
# Seconds, about: of NumPy for an operation and for a byte of its result; of a compiler, at least and for an operation.
CALL, BYTE = 1.5e-6, 0.15e-9
START, COMPILE = 0.6, 1.5e-3
FASTER = 0.35  # time of a compiled program over NumPy's
WAITED = 0.2  # seconds of NumPy from which it counts how often a question was asked
KEPT = 2**27  # bytes, at most, of the results that are kept of a question that is asked again

_forced = contextvars.ContextVar("compiled", default=False)


def compiled() -> contextlib.AbstractContextManager[None]:
    """Inside the block everything is compiled, whatever its size.

    For a process that asks the same of many grids of one shape, and for timings. Masks are those of NumPy, and values
    equal up to rounding: 1e-12 in float64, 1e-5 in float32 (relative).
    """
    return scoped(_forced, True)


def run(assembly, operands, forced=None):
    """{variable: array} of an assembly's variables at `operands` {node: array}.

    `forced`: True compiled, False by NumPy; None what is sooner, or compiled inside `compiled()`.
    """
    left = assembly if forced else pruned(assembly, operands)
    forced = _chosen(left) if forced is None else forced
    if forced:  # a program keeps all branches but those of other models and engines: other numbers compile no other
        return program(pruned(assembly, operands, LASTING))(operands)
    return numpy_program(left)(operands)


def _chosen(assembly):
    """Whether this answer is a program's; counts the questions that NumPy takes `WAITED` seconds or more for."""
    if numpy_seconds(assembly) < WAITED:
        return pays(assembly)
    asked = _asked(assembly)
    asked["times"] += 1
    return pays(assembly, asked["times"])


@remembered(256)
def _asked(assembly):
    del assembly
    return collections.Counter()


def pays(assembly, times=1):
    """Whether to evaluate `times` grids of one shape is sooner by a compiled program: from sizes alone.

    Always inside `compiled()`.
    """
    return _forced.get() or times * numpy_seconds(assembly) * (1.0 - FASTER) > compiler_seconds(assembly)


@remembered(256)
def numpy_seconds(assembly):
    """What NumPy takes to evaluate an assembly, about [s]."""
    nodes = assembly.graph.nodes
    return sum(
        CALL + BYTE * n * nodes[node].dtype.itemsize for node, n in assembly.elements.items() if nodes[node].name
    )


@remembered(256)
def compiler_seconds(assembly):
    """What a compiler takes until the program of an assembly is there, about [s]."""
    nodes, limit = assembly.graph.nodes, _limits(assembly)[0]
    return START + COMPILE * sum(n > limit and nodes[node].name != "" for node, n in assembly.elements.items())


def _limits(assembly):
    largest = max(assembly.elements.values(), default=1)
    return [min(SMALL, SHARE * largest), FULL * largest]


@remembered(256)
def numpy_program(assembly):
    """Function {node: array} of the operands -> {variable: array}, by NumPy alone."""
    evaluated = _kept(assembly, assembly.wanted)
    return lambda operands: assembly.arrays(evaluated(operands))


def _kept(assembly, wanted):
    """Function {node: array} of the operands -> {node: array} of the nodes `wanted`, by NumPy.

    From the second time on results are kept, where they have room: only what moved is evaluated again.
    """
    graph, elements, asked = assembly.graph, assembly.elements, itertools.count()
    prepared = by_numpy.Prepared(graph, wanted)
    few = sum(elements[node] * graph.nodes[node].dtype.itemsize for node in graph.needed(wanted)) <= KEPT

    def run(operands):
        found = prepared.again(operands) if few and next(asked) else prepared(operands)
        return dict(zip(wanted, found, strict=True))

    return run


@remembered(64)
def program(assembly):
    """Function {node: array} of the operands -> {variable: array}: stages, of which the first one is NumPy's."""
    graph, wanted, limits, elements = assembly.graph, assembly.wanted, _limits(assembly), assembly.elements

    def first(node):
        return sum(elements[node] > limit for limit in limits) if graph.nodes[node].name else 0

    small, *large = stages.split(graph, wanted, first, len(limits) + 1)
    evaluated = _kept(assembly, small.outputs)
    programs = [(stage, stages.compiled(graph, stage)) for stage in large if stage.nodes]

    def run(operands):
        import jax

        values = evaluated(operands)
        with stages.precision(assembly.dtype):
            for stage, function in programs:
                values.update(zip(stage.outputs, function([values[node] for node in stage.inputs]), strict=True))
            return assembly.arrays(
                graph.constants | jax.device_get({node: values[node] for node in wanted if node in values})
            )

    return run
