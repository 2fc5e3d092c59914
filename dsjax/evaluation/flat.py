"""Flat operands of a plan -> arrays of its variables: what grids of steps and tables of servers have in common."""

import numpy as np

from . import by_numpy, choice
from .assembly import assembly


def evaluated(how, dtype, names, leaves, compiled=None):
    """{variable: array over its own dims} of flat operands."""
    leaves = [np.asarray(leaf, np.int32 if leaf.dtype == np.int32 else dtype) for leaf in leaves]
    wanted = assembled(how, dtype, names, leaves)
    pairs = enumerate(zip(leaves, how.leaf_axes, strict=True))
    return choice.run(wanted, {i: by_numpy.lifted(leaf, axis, wanted.axes) for i, (leaf, axis) in pairs}, compiled)


def assembled(how, dtype, names, leaves):
    """`Assembly` of these variables, axes as long as the operands."""
    sizes = {axis: np.size(leaf) for leaf, axis in zip(leaves, how.leaf_axes, strict=True) if axis}
    return assembly(how, dtype, names, tuple(sizes.items()))
