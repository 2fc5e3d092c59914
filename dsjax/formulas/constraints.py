"""Named predicates: one mask per constraint, so that a reader sees why a point is refused."""

import functools
import operator

import jax.numpy as jnp


def prompt_length(values):
    """Tokens of a prompt: `isl` where it is given, else `context`."""
    return jnp.where(values["isl"] > 0.0, values["isl"], values["context"])


def at_length(bound, length):
    """A bound at a prompt length: a number; or of pairs (up to this length, number) the first that covers it.

    Beyond the longest length its number holds.
    """
    if not isinstance(bound, list | tuple):
        return bound
    *shorter, (_, limit) = bound
    for longest, number in reversed(shorter):
        limit = jnp.where(length <= longest, number, limit)
    return limit


def bounded(values, bounds):
    """Masks of the grid's `min_<variable>` and `max_<variable>`: one per variable, NaN passes (not defined there)."""
    masks = {}
    for key, bound in bounds.items():
        side, name = key.split("_", 1)
        bound = at_length(bound, prompt_length(values))
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
