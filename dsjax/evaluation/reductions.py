"""Maxima and counts of a scalar function over blocks of points that are never held, for streamed searches.

What is small over the whole space is NumPy's, once for all slabs. One compiled program reduces a slab of blocks: the
pieces of the model at their own rank, the full rank only inside the loop that reduces it. Sums are regrouped for speed
(`reassociate`), so a value is that of `evaluate` up to rounding.
"""

import collections
import math

import numpy as np

from . import by_numpy, pruning, reassociate, stages
from .caches import remembered
from .operands import plan
from .recording import sized
from .traces import traced

SMALL = 2**17  # elements over the whole space of a result that NumPy computes once for all slabs
MOST, OFTEN = 2**20, 8  # the same of a result whose parts so many slabs would take again
SHARE = 0.15  # of a slab: results up to this size are evaluated before the loops over all points


def reduction(space, function, sizes, kept, inner, dtype="float32"):
    """`run(window)` -> [(index of the choice of each policy that is an axis, array over `kept`), ...] of one slab.

    `window` {axis: slice of the space} of a slab with axes of these `sizes` {axis: length}, those of the policies left
    out; it is reduced over the axes `inner`, the innermost loop last. Of a `function` that gives `value` and `ok`: the
    largest value where it is ok and not NaN, -inf where there is none; of one that gives a mask as `value` alone: the
    number of points where it holds.
    """
    how, leaves = plan(space, function)
    leaves = [leaf if leaf.dtype == np.int32 else leaf.astype(dtype) for leaf in leaves]
    order = (*kept, *inner)
    whole = {axis: space.sizes[axis] for axis in order}
    decisions = _decisions(how, dtype, whole, leaves)
    shared: dict = {}  # {lengths of a slab: (its program, what all its slabs share)}

    def run(window):
        # The last window of a long axis may be shorter than the others.
        spans = [range(*window.get(axis, slice(0, sizes[axis])).indices(whole[axis])) for axis in order]
        lengths = tuple(map(len, spans))
        if lengths not in shared:
            program = _program(how, dtype, tuple(whole.items()), lengths, len(kept), decisions)
            shared[lengths] = program, program.shared(leaves)
        program, arrays = shared[lengths]
        return program.reduced(leaves, arrays, [span.start for span in spans])

    return run


def _decisions(how, dtype, whole, leaves):
    """What the single numbers of a space decide (`pruning.decided`)."""
    trace = traced(how, dtype)
    wanted = [node for nodes in trace.nodes.values() for node in nodes.values()]
    deciding = pruning.deciding(trace.graph, wanted, sized(trace.graph, how.leaf_axes, whole))
    return pruning.decided(deciding, {i: np.asarray(leaf) for i, leaf in enumerate(leaves) if np.size(leaf) == 1})


def equations_along(space, dtype="float32"):
    """{axis: elements of the results that can depend on it} of a space's operations: what an axis costs."""
    (how, leaves), found = plan(space), collections.Counter()
    graph, same = pruning.without(traced(how, dtype).graph, _decisions(how, dtype, space.sizes, leaves))
    size = sized(graph, how.leaf_axes, space.sizes)
    for i, node in enumerate(graph.nodes):
        if node.name and i not in same:
            axes = {axis for i, axis in enumerate(how.leaf_axes) if axis and node.sources >> i & 1}
            found.update(dict.fromkeys(axes, size(i)))
    return found


class _Program:
    """Compiled: of slabs of one shape the maxima, or the numbers of points where a mask holds."""

    def __init__(self, how, dtype, whole, lengths, kept, decisions):
        self.how, self.dtype, self.whole, self.kept = how, dtype, dict(whole), kept
        self.lengths = dict(zip(self.whole, lengths, strict=True))
        trace, order = traced(how, dtype), list(self.whole)
        graph, same = pruning.without(trace.graph, decisions)
        supports = [0 if axis is None else 1 << order.index(axis) for axis in how.leaf_axes]
        self.picks = list(trace.nodes)
        wanted = [same.get(node, node) for pick in self.picks for node in trace.nodes[pick].values()]
        # Of a slab an axis of one point is none.
        slab = [bits if axis and self.lengths[axis] > 1 else 0 for bits, axis in zip(supports, how.leaf_axes)]
        self.graph, nodes = reassociate.regrouped(graph, wanted, slab, self._in_slab)
        cuts = {axis: math.ceil(n / self.lengths[axis]) for axis, n in self.whole.items()}
        of = (sized(self.graph, how.leaf_axes, lengths) for lengths in (self.whole, self.lengths, cuts))
        self.elements, self.slab_elements, self.parts = of
        self.slabs = math.prod(cuts.values())
        each = len(wanted) // len(self.picks)
        self.of_pick = [nodes[i : i + each] for i in range(0, len(nodes), each)]
        small, pieces, last = stages.split(self.graph, nodes, self._first, 3)
        last = last._replace(inputs=tuple(sorted({*last.inputs, *nodes}.difference(last.nodes, self.graph.constants))))
        self.long = tuple(i for i in small.outputs if i < self.graph.operands and self.elements(i) > SMALL)
        self.small = tuple(node for node in small.outputs if node not in self.long)
        self.pieces, self.last = pieces, last
        self.compiled = stages.jitted(self._pieces), stages.jitted(self._reduced)

    def _in_slab(self, bits):
        return math.prod(n for i, n in enumerate(self.lengths.values()) if bits >> i & 1)

    def _first(self, node):
        """Stage of an operation: NumPy's, of the pieces of a slab, of the loops over all points."""
        n, repeated = self.elements(node), self.slabs // self.parts(node)  # slabs that would take the same part of it
        if not self.graph.nodes[node].name or n <= SMALL or (n <= MOST and repeated >= OFTEN):
            return 0
        large = self.slab_elements(node) > SHARE * math.prod(self.lengths.values())
        return 2 if large else 1

    def shared(self, leaves):
        """Arrays that all slabs take windows of, on the device."""
        import jax

        operands = {
            i: by_numpy.lifted(leaf, axis, tuple(self.whole))
            for i, (leaf, axis) in enumerate(zip(leaves, self.how.leaf_axes, strict=True))
            if i not in self.long
        }
        found = by_numpy.Prepared(self.graph, self.small)(operands)
        with stages.precision(self.dtype):
            return dict(zip(self.small, jax.device_put([np.asarray(x) for x in found]), strict=True))

    def reduced(self, leaves, shared, starts):
        """[(choices of the policies that are axes, array over the kept axes), ...] of the slab at `starts`."""
        for i in self.long:
            axis = self.how.leaf_axes[i]
            first = starts[list(self.whole).index(axis)]
            part = leaves[i][slice(first, first + self.lengths[axis])]
            shared = shared | {i: by_numpy.lifted(part, axis, tuple(self.whole))}
        starts = np.array(starts, np.int32)
        with stages.precision(self.dtype):
            pieces, reduce = self.compiled
            found = pieces({i: shared[i] for i in self.pieces.inputs}, starts) if self.pieces.nodes else {}
            arrays = reduce({i: shared[i] for i in self.last.inputs if i not in found}, found, starts)
        places = [
            tuple(i for i, (axis, _, _) in zip(pick, self.how.policies, strict=True) if axis) for pick in self.picks
        ]
        return [(place, np.asarray(array)) for place, array in zip(places, arrays, strict=True)]

    def _window(self, array, starts):
        """The part of a shared array that a slab takes; its axes of one point are dropped."""
        import jax

        if not array.ndim:
            return array
        shape = [min(n, m) for n, m in zip(array.shape, self.lengths.values(), strict=True)]
        if shape != list(array.shape):
            corner = [start if n > m else np.int32(0) for start, n, m in zip(starts, array.shape, shape, strict=True)]
            array = jax.lax.dynamic_slice(array, corner, shape)
        return array.reshape([n for n, m in zip(shape, self.lengths.values(), strict=True) if m > 1])

    def _pieces(self, shared, starts):
        values = {node: self._window(array, starts) for node, array in shared.items()}
        values = stages.replayed(self.graph, self.pieces.nodes, values)
        return {node: values[node] for node in self.pieces.outputs}

    def _reduced(self, shared, pieces, starts):
        import jax.numpy as jnp

        values = {node: self._window(array, starts) for node, array in shared.items()} | pieces | self.graph.constants
        values = stages.replayed(self.graph, self.last.nodes, values)
        kept = list(self.lengths.values())[: self.kept]
        full = [n for n in self.lengths.values() if n > 1]
        inside = tuple(range(sum(n > 1 for n in kept), len(full)))
        found = []
        for nodes in self.of_pick:
            value, *ok = (values[node] for node in nodes)
            if ok:
                value = jnp.where(ok[0] & ~jnp.isnan(value), value, -jnp.inf)
            value = jnp.broadcast_to(value, full)
            reduced = jnp.max(value, inside) if ok else value.sum(inside, dtype="int32")
            found.append(reduced.reshape(kept))
        return found


_program = remembered(32)(_Program)
