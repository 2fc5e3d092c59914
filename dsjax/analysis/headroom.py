"""Alternatives to a point: every pipeline, and the largest batch or number of prompts."""

import dataclasses

import numpy as np

from .. import evaluation
from ..results.dataset import over, variable

# Absolute times of a step on the host.
HOST = dict.fromkeys(("hardware_step_s", "engine_step_s", "engine_draft_step_s", "engine_request_s"), 0.0)
MOST_SEQUENCES = 2**16  # how far the search for the largest batch goes
CHUNK = 2**10  # batches evaluated at once


def pipelines(space, values, dtype):
    """A point in every pipeline, and without its all-to-all where the model knows TBO.

    Without it: half of TBO at twice the load and no bytes to send, that is of two batches as large as this one.
    """
    choices = tuple(space.study.policies["pipeline"].choices)
    if len(choices) < 2:
        return {}
    names = ("step_time", "tps_per_chip", "feasible")
    fixed = {name: value for name, value in space.fixed.items() if name != "pipeline"}
    every = dataclasses.replace(space, axes={"pipeline": choices}, fixed=fixed)

    def at(where):
        return {
            name: np.broadcast_to(x, len(choices)) for name, (_, x) in evaluation.evaluate(where, dtype, names).items()
        }

    found = at(every)
    table = over(
        "alternative",
        choices,
        "pipeline",
        alternative_step_time=(found["step_time"], "s", "time of one forward pass in this pipeline"),
        alternative_tps_per_chip=(found["tps_per_chip"], "token/s", "tokens per second and chip in this pipeline"),
        alternative_feasible=(found["feasible"], "", "all constraints hold in this pipeline"),
    )
    if not {"tbo", "naive"} <= set(choices):
        return table
    sent = [values[f"block_time/{name}"] for name in ("dispatch", "combine") if f"block_time/{name}" in values]
    if sent and not any(sent):  # one group has all tokens, or there are no experts
        return table
    load = space.load
    bare = at(every.with_fixed(**HOST))["step_time"][choices.index(space.fixed["pipeline"])]
    host = values["step_time"] - float(bare)
    quiet = {load: 2 * space.fixed[load], "precision_dispatch_bytes": 0.0, "precision_combine_bytes": 0.0}
    twice = at(every.with_fixed(**HOST, **quiet))["step_time"][choices.index("tbo")]
    free = float(twice) / 2.0 + host
    rate = values["tps_per_user"] * values["step_time"] / free
    return table | {
        "step_time_without_all_to_all": variable((), free, "s", "time of one forward pass, no dispatch and combine"),
        "tps_per_user_without_all_to_all": variable((), rate, "token/s", "tokens per second and user then"),
    }


def largest(space, dtype):
    """The largest batch or number of prompts at this point, found by evaluating every integer from 1 on.

    The search ends where the memory refuses. What stops it: the constraint that refuses every larger one, from the
    smallest on.
    """
    load, fixed = space.load, dict(space.fixed)
    del fixed[load]
    masks, start, full = {}, 1, False
    while start <= MOST_SEQUENCES and not full:
        full = bool(masks) and not all(masks[name][-1][-1] for name in masks if name.startswith("ok_memory"))
        these = dataclasses.replace(space, axes={load: tuple(range(start, start + CHUNK))}, fixed=fixed)
        names = [name for name in evaluation.variables(these, dtype) if name.startswith("ok_")]
        for name, (_, array) in evaluation.evaluate(these, dtype, names).items():
            masks.setdefault(name, []).append(np.broadcast_to(array, CHUNK))
        start += CHUNK  # ends one chunk after the memory is full, so that divisors come round again
    masks = {name: np.concatenate(arrays) for name, arrays in masks.items()}
    fits = np.logical_and.reduce([ok for name, ok in masks.items() if name.startswith("ok_memory")])
    end = int(np.argmin(fits)) if not fits.all() else len(fits)  # sequences that fit
    feasible = np.flatnonzero(np.logical_and.reduce(list(masks.values())))
    most = int(feasible[-1]) + 1 if len(feasible) else 0
    # From where each constraint refuses all that were tried: past its last success.
    last = {name: int(np.flatnonzero(ok)[-1]) + 1 if ok.any() else 0 for name, ok in masks.items()}
    stops = {name: n + 1 for name, n in last.items() if n < len(fits)}
    first = min(stops.values(), default=0)
    text = ", ".join(name for name, n in stops.items() if n == first)
    return {
        "largest_in_memory": variable((), end, "sequence", f"largest {load} that fits in memory at this point"),
        "largest_feasible": variable((), most, "sequence", f"largest {load} that no constraint refuses"),
        "largest_stopped_at": variable((), first, "sequence", f"{load} from which on one constraint refuses all"),
        "largest_stopped_by": variable((), np.array(text, dtype=object), "", f"constraint that stops a larger {load}"),
    }
