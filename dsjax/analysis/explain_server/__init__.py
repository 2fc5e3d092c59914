"""Explain a server in full: stages of a mean request, where the server's time goes, what limits its rate, its memory.

The server is evaluated at one point, and at a few more beside it: nothing here knows what a step or a queue costs.
"""

import dataclasses
import math

import numpy as np

from ... import evaluation
from ...formulas import constraints
from ...results import dataset
from ...results.dataset import over
from ...serving.instances.study import STAGES, STAGES_OF_POOLS
from ...space import provenance
from .. import refusals
from . import capacity

LINK = ("scale_out_bytes_per_s", "scale_out_utilisation", "scale_out_step_s")  # numbers of what caches are sent over


def explained(space, dtype):
    """({variable: number}, Dataset) of a server, a space of one point.

    Beside the variables of `sweep`: over `stage` the seconds of a mean request, their share and what they are; over
    `activity` shares of the server's time; over `bound` what the grid asks for; where a request fits, over `part` the
    memory of a chip, and over `resource` the requests per second that the server could take with twice as much of it.
    Of two pools, in place of activities, parts and resources: over `pool` its rate over the most that it can take.
    """
    values = {name: array.item() for name, (_, array) in evaluation.evaluate(space, dtype).items()}
    ds = dataset.to_dataset(space, {name: ((), np.array(value)) for name, value in values.items()}, "dsjax explain")
    ds.attrs["study"] = space.study.name
    seconds = evaluation.request_stages(space)
    own = _stages(seconds) | _bounds(space, values)
    if space.study.pools:
        return values, ds.assign(own | _pools(values))
    fits = values["ok_memory"] and values["ok_kv"]
    return values, ds.assign(own | _activities(space, values, seconds) | (capacity.room(space, values) if fits else {}))


def numbers_read(space, of_step):
    """[(<record>.<row>, field, its source)] of the numbers that a server reads: those of its steps and of the links.

    `of_step(space)`: the same of a step, a point of the core model.
    """
    rows, read = {f"{record}.{name}" for record, of in space.rows.items() for name in of}, {}
    for prefix, step in steps(space):
        for row, field, source in of_step(step):
            label = prefix + row if prefix + row in rows else row
            read[label, field] = label, field, source
    for name in space.rows.get("transfer_nic", ()):
        for field in LINK:
            row = f"transfer_nic.{name}"
            read[row, field] = row, field, provenance.of_field(space, "transfer_nic", name, field)
    return list(read.values())


def steps(space):
    """[(what names of its pool begin with, space)] of a server's steps of one request: points of the core model."""
    own, model = space.study, space.study.extends
    server = {*own.requests, "concurrency", *(own.policies.keys() - model.policies.keys())}
    load = {"context_cv": 0.0, "batch": 1, "prompts": 1}
    pools = [(f"{phase}_", phase, pool) for phase, pool in space.pools.items()] if own.pools else []
    found = []
    for prefix, phase, of in pools or [("", phase, space) for phase in ("decode", "prefill")]:
        fixed = {name: value for name, value in of.fixed.items() if name not in server}
        step = dataclasses.replace(of, study=model, fixed=fixed | load | {"phase": phase}, bounds={})
        found.append((prefix, step))
    return found


def is_open(space):
    """Whether requests come at a rate, and not from users who wait for their answer."""
    return "requests_per_s" in space.fixed


def _stages(seconds):
    times = np.array(list(seconds.values()))
    return over(
        "stage",
        seconds,
        "stage of a request",
        stage_time=(times, "s", "time of a mean request in this stage: together latency_mean"),
        stage_share=(times / math.fsum(times), "1", "share of the latency of a mean request"),
        stage_meaning=(
            np.array([(STAGES | STAGES_OF_POOLS)[name] for name in seconds], dtype=object),
            "",
            "what the stage is",
        ),
    )


def _activities(space, values, seconds):
    """Shares of the server's wall time.

    In a closed loop a user who is inside is there all the time, so that the steps of decode of its request, over its
    latency without the wait for room, are the share of decoding. In an open loop the share of prompts is
    `prefill_share`; in the rest somebody decodes, or nobody is there: how often so does not follow from means.
    """
    if is_open(space):
        shares = {"prompts": values["prefill_share"], "decode or idle": 1.0 - values["prefill_share"]}
    else:
        inside = values["latency_mean"] - seconds["room"]
        shares = {"prompts": 1.0 - seconds["decode"] / inside, "decode": seconds["decode"] / inside}
    text = "share of the server's wall time; of a step that does both, what its prompts add is theirs"
    return over("activity", shares, "what the server does", activity_share=(list(shares.values()), "1", text))


def _pools(values):
    """Loads of the pools and of the links between them: the largest one limits the rate."""
    loads = {"prefill": values["prefill_utilisation"], "decode": values["decode_utilisation"]}
    loads["transfer"] = values["transfer_share"]
    text = "requests per second over the most that it can take"
    return over("pool", loads, "pool, or the links between the two", pool_load=(list(loads.values()), "1", text))


def _bounds(space, values):
    """What the grid asks for, beside what the server reaches."""
    names = [key.partition("_")[2] for key in space.bounds]
    numbers = refusals.numbers(space, values)
    asked = [float(constraints.at_length(bound, space.fixed["isl"])) for bound in space.bounds.values()]
    reached = [float(numbers.get(name, math.nan)) for name in names]
    units = [dataset.attributes(name).get("units", "1") if name in values else "1" for name in names]
    return over(
        "bound",
        space.bounds,
        "limit of the grid",
        bound_value=(asked, "1", "number asked for, in the variable's unit"),
        bound_reached=(reached, "1", "the variable's number"),
        bound_units=(np.array(units, dtype=object), "", "unit of the variable"),
        bound_met=([bool(values[f"ok_{name}"]) for name in names], "", "whether it holds"),
    )
