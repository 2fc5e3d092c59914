"""Named predicates: one mask per constraint, so that a reader sees why a point is refused."""

import functools
import operator

import jax.numpy as jnp


def bounded(values, bounds):
    """Masks of the grid's `min_<variable>` and `max_<variable>`: one per variable, NaN passes (not defined there)."""
    masks = {}
    for key, bound in bounds.items():
        side, name = key.split("_", 1)
        value = jnp.asarray(values[name], bound.dtype)
        ok = (value >= bound if side == "min" else value <= bound) | jnp.isnan(value)
        masks[name] = masks[name] & ok if name in masks else ok
    return masks


def check(point, values, masks, bounds):
    """{"ok_<constraint>": bool} and their conjunction `feasible`.

    `masks` are the model's own (a split that is impossible), `memory` the chip's capacity unless the model has its
    own rule, `bounds` the grid's.
    """
    masks = {"memory": values["memory_per_chip"] <= point.hardware.hbm_bytes} | masks | bounded(values, bounds)
    feasible = functools.reduce(operator.and_, masks.values())
    return {**{f"ok_{name}": ok for name, ok in masks.items()}, "feasible": feasible}
