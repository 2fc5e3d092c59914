"""Space -> operands: the arrays that a program takes, and the axis of each."""

import dataclasses

import jax
import numpy as np

from ..specs import fields


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a compiled program depends on besides shapes and dtypes."""

    function: object  # (study step, point, bounds, **policies) -> {name: scalar}
    step: object
    axes: tuple  # all axes, in the order of the dims
    treedef: object  # of the operands
    leaf_axes: tuple  # axis of every leaf, or None
    policies: tuple  # ((axis or None, choices, choices not in the space), ...), a choice is ((argument, function), ...)


def unlifted(plan):
    """A plan without its axes."""
    policies = tuple((None, choices, others) for _, choices, others in plan.policies)
    return dataclasses.replace(plan, axes=(), leaf_axes=(), policies=policies)


def operand_types(plan, dtype):
    """Scalar types of the flat operands: integers stay integers."""
    records, curve, bounds = jax.tree.unflatten(plan.treedef, range(plan.treedef.num_leaves))
    integers = set()
    for record in records.values():
        integers |= {getattr(record, name) for name, meta in fields.fields_of(type(record)).items() if meta["integer"]}
    return [jax.ShapeDtypeStruct((), "int32" if i in integers else dtype) for i in range(plan.treedef.num_leaves)]


def precision(dtype):
    """float64 is switched on for the call only: importing dsjax changes nothing of the user's JAX."""
    return jax.enable_x64(np.dtype(dtype) == np.float64)
