"""What a server can hold and take: memory of a chip, requests inside, the rate with twice as much of a resource."""

import math

import numpy as np

from ... import evaluation
from ...results.dataset import over, variable
from ...space.space import LOADS

MANY = 1e6  # users, or requests per second: more than any server takes
_RESERVE = ("workload", "memory_reserve")
_HBM, _MAX_BATCH = ("hardware", "hbm_bytes"), ("workload", "max_batch")


def room(space, values):
    """Memory of a chip, requests inside at most, and the rate with twice as much of each resource."""
    given, found = evaluation.numbers(space), evaluation.server_memory(space)
    capacity, groups = float(given[_HBM]), values["dp"]
    parts = {
        "weights, engine": found["held"],
        "activations": found["activations"],
        "cache in use": found["cache"],
        "cache of prefixes": found["prefixes"],
        "cache free": max(found["positions"] - found["cache"], 0.0),
    }
    parts = {name: n_bytes for name, n_bytes in parts.items() if n_bytes or name != "cache of prefixes"}
    table = over("part", parts, "part of the memory", memory_part=(list(parts.values()), "B", "memory of one chip"))
    fits, admitted = found["inside"], float(given[_MAX_BATCH]) * groups or math.inf
    by = np.array("max_batch" if admitted < fits else "cache", dtype=object)
    own = {
        "memory_capacity": variable((), capacity, "B", "memory of one chip"),
        "memory_kept_free": variable((), max(capacity - sum(parts.values()), 0.0), "B", "of it left free"),
        "requests_inside_max": variable((), max(min(admitted, fits), groups), "1", "requests inside at most"),
        "held_by": variable((), by, "", "what admits no more: max_batch, or the cache"),
    }
    return table | own | _resources(space, given, capacity + found["positions"] / (1.0 - float(given[_RESERVE])))


def _resources(space, given, twice_bytes):
    """Requests per second at most with prompts, or steps of decode, in half the time, or room for twice as many.

    The rate is 1 / (prompts + decode), seconds of the server for a request: prompts have their share of the wall time
    of a server that is kept full. `twice_bytes`: memory of a chip whose cache holds twice as many requests.
    """
    load = next(("workload", name) for name in LOADS["serve"] if ("workload", name) in given)
    shapes = {
        _HBM: [float(given[_HBM]), twice_bytes],
        _MAX_BATCH: [float(given[_MAX_BATCH]), 2.0 * float(given[_MAX_BATCH])],
        load: [MANY, MANY],
    }
    found = _beside(space, shapes, "requests_per_s_max", "prefill_share")
    (most, larger), (share, _) = (found[name].tolist() for name in ("requests_per_s_max", "prefill_share"))
    of_prompt, of_decode = share / most, (1.0 - share) / most
    rates = [1.0 / (0.5 * of_prompt + of_decode), 1.0 / (of_prompt + 0.5 * of_decode), larger]
    text = "requests per second at most with twice as much: prompts or steps in half the time, room for twice as many"
    return over(
        "resource",
        ("prompts", "steps of decode", "room"),
        "resource of the server",
        resource_requests_per_s_max=(rates, "1/s", text),
    )


def _beside(space, changes, *names):
    """{variable: its values} of a server with other numbers: `changes` {(record, field): one for each}."""
    n = len(next(iter(changes.values())))
    return evaluation.samples(space, {key: np.array(numbers) for key, numbers in changes.items()}, n, names)
