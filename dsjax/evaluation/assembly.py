"""From the nodes of a trace to arrays over named axes: which axes a variable has, and where policies' choices go."""

import dataclasses
import functools

import numpy as np

from .caches import remembered
from .operands import Plan
from .recording import sized
from .traces import traced


@remembered(256)
def layout(plan, dtype="float64"):
    """{variable: (axes its formula can depend on, dtype)}, axes in the order of the plan.

    The values and lengths of the axes do not matter, nor do the choices of a policy that is an axis.
    """
    trace = traced(plan, dtype)
    of_inputs = (*plan.leaf_axes, *(axis for axis, _, _ in plan.policies))

    def over(sources):
        found = {axis for i, axis in enumerate(of_inputs) if sources >> i & 1}
        return tuple(axis for axis in plan.axes if axis in found)

    return {name: (over(trace.sources[name]), dtype) for name, dtype in trace.dtypes.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class Assembly:
    """The wanted variables of a plan at axes of some lengths."""

    plan: Plan
    dtype: str
    over: dict  # {variable: its axes}
    nodes: dict  # {variable: {choices: node}}, of a policy that does not reach it the first choice only
    sizes: dict  # {axis: length}
    axes: tuple  # that are lifted: the dims of every intermediate, of length 1 where it does not depend on the axis

    @functools.cached_property
    def graph(self):
        """The recorded operations."""
        return traced(self.plan, self.dtype).graph

    @functools.cached_property
    def wanted(self):
        """Nodes of all variables."""
        return tuple(dict.fromkeys(node for nodes in self.nodes.values() for node in nodes.values()))

    @functools.cached_property
    def elements(self):
        """{node: elements of its result} of all operations that the variables need, operands and constants."""
        size = sized(self.graph, self.plan.leaf_axes, {axis: self.sizes[axis] for axis in self.axes})
        return {node: size(node) for node in self.graph.needed(self.wanted)}

    def arrays(self, values):
        """{variable: array over its own dims} of {node: array with all axes in front, or a number}.

        Each choice of a policy has its part of the array; a part may lack axes that another one depends on.
        """
        policies, found = [axis for axis, _, _ in self.plan.policies], {}
        for name, nodes in self.nodes.items():
            over = self.over[name]
            lifted = [i for i, axis in enumerate(self.axes) if axis in over]
            dtype = self.graph.nodes[next(iter(nodes.values()))].dtype
            found[name] = np.empty([self.sizes[axis] for axis in over], dtype)
            for picks, node in nodes.items():
                part = np.asarray(values[node])
                part = part.reshape([part.shape[i] for i in lifted]) if part.ndim else part
                place = (picks[policies.index(axis)] if axis in policies else slice(None) for axis in over)
                found[name][tuple(place)] = part
        return found


@remembered(256)
def assembly(plan, dtype, names, sizes):
    """`Assembly` of the variables `names` of a plan, of lengths `sizes` ((axis, length), ...)."""
    variables, nodes = layout(plan, dtype), traced(plan, dtype).nodes
    over = {name: variables[name][0] for name in names}
    wanted = {
        name: {
            picks: nodes[picks][name]
            for picks in nodes
            if all(i == 0 or axis in over[name] for i, (axis, _, _) in zip(picks, plan.policies, strict=True))
        }
        for name in names
    }
    lengths = dict(sizes) | {axis: len(choices) for axis, choices, _ in plan.policies if axis}
    return Assembly(plan, dtype, over, wanted, lengths, tuple(axis for axis in plan.axes if axis in plan.leaf_axes))
