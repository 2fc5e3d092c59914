"""Recorded operations evaluated by NumPy, by broadcasting: at once, for as much as takes less than a compiler.

A question is often asked again with one number moved: slopes on both sides, a search for a value, a what-if. The
results of all operations of the last such question are kept, and what the moved operands do not reach is not evaluated
again.
"""

import functools

import numpy as np

from .. import arrays
from . import caches


class Prepared:
    """`prepared({operand: array}) -> [arrays of the nodes `wanted`]`, of arrays that broadcast against each other."""

    def __init__(self, graph, wanted):
        nodes, needed = graph.nodes, graph.needed(wanted)
        last = {i: node for node in needed for i in nodes[node].inputs}
        keep = {*wanted, *graph.constants}
        self.constants, self.wanted, self.steps = graph.constants, tuple(wanted), []
        self.moved: tuple = (0, [])  # operands, and the steps that they reach
        for node in needed:
            name, inputs, dtype, sources = nodes[node]
            if name:
                cast = functools.partial(arrays.asarray, dtype=dtype)
                function = cast if name == "astype" else getattr(np, name)
                dead = [i for i in dict.fromkeys(inputs) if last[i] == node and i not in keep]
                self.steps.append((function, node, inputs, dead, sources))

    def __call__(self, operands):
        """Only what is wanted is held at the end: what nothing needs any more is dropped."""
        values = self.constants | operands
        with np.errstate(all="ignore"):
            for function, node, inputs, dead, _ in self.steps:
                if len(inputs) == 2:
                    values[node] = function(values[inputs[0]], values[inputs[1]])
                else:
                    values[node] = function(*[values[i] for i in inputs])
                for i in dead:
                    del values[i]
        return [values[node] for node in self.wanted]

    def reached(self, moved):
        """The steps that operands, as bits, reach; those of the last ones are kept."""
        known, steps = self.moved
        if known != moved:
            steps = [step for step in self.steps if step[-1] & moved]
            self.moved = moved, steps
        return steps

    def again(self, operands):
        """The same, of a question like the last one: all results are kept, and those that nothing moved are taken."""
        global _last
        (kept, before, values), _last = _last, (None, {}, {})  # taken: another thread finds nothing
        steps = self.reached(_moved(before, operands)) if kept is self else self.steps
        values = values | operands if kept is self else self.constants | operands
        with np.errstate(all="ignore"):
            for function, node, inputs, _, _ in steps:
                values[node] = function(*[values[i] for i in inputs])
        _last = (self, operands, values)
        return [values[node] for node in self.wanted]


_last: tuple = (None, {}, {})  # the last that was asked again: itself, its operands, the results of its operations


def _moved(before, after):
    """Operands that differ, as bits."""
    found = 0
    for i, array in after.items():
        if array is not before[i] and array.tobytes() != before[i].tobytes():
            found |= 1 << i
    return found


@caches.when_forgotten
def _forget():
    global _last
    _last = (None, {}, {})


def lifted(leaf, axis, axes):
    """A leaf that varies along `axis`, or a number, with all `axes` in front."""
    leaf = np.asarray(leaf)
    return leaf.reshape([leaf.size if each == axis else 1 for each in axes]) if axis else leaf
