"""Explain one configuration in full: `dsjax explain` and `dsjax.explain`.

The model's own step is evaluated at one point, and at a few more beside it: nothing here knows what a step costs.
"""

import math
from typing import Any

import numpy as np
import xarray as xr

from .. import evaluation
from ..arguments import typed
from ..catalog.sources import said
from ..formulas import roofline
from ..formulas.metrics import LIMITS
from ..formulas.point import of_step
from ..formulas.roofline import EXPOSED
from ..results import dataset
from ..search import point, ranking
from ..space import provenance
from ..specs import records, trees
from ..sweeps import sources
from ..types import Named, Source
from . import explain_server, headroom, refusals

UNIT = 1e12  # work is seconds on a chip of 1e12 FLOP/s and B/s, times this
# Names that a step gives its collectives, and what a table calls them.
COLLECTIVES = {"dispatch": "dispatch", "combine": "combine", "all_reduce": "all-reduce", "kv_exchange": "KV exchange"}
COLLECTIVES |= {"send": "between stages"}
OFTEN_NONE = ("kv_exchange", "send")  # which most layouts do not have


@typed
def explain(source: Source = "default", at: Named | None = None, **options: Any) -> xr.Dataset:
    """One configuration in full, as a Dataset: the best feasible point of those that `at` {axis: value} leaves.

    `source`: a Dataset, a file dsjax wrote, or a grid (`options` are those of `sweep`, for a grid only). Without `at`
    it is the best point of all; `at` that names every axis is one point, refused ones too. Where none of the points
    that `at` leaves is feasible, it is the best of those that the fewest constraints refuse. A Dataset that was cut
    is explained at the coordinates it has left, `dsjax.best(...)` at its first rank. Raises `InputError` for an axis
    or a value the space does not have.

    Beside the variables of `sweep`: over `block` `block_<resource>` (critical path before overlap), `block_ideal`,
    `block_flops`, `block_bytes`; over `collective` its `transfer_time` and the part of it that is exposed; over
    `part` `memory_part`; over `constraint` `why` it refuses; over `alternative` the same point in every pipeline;
    over `row` the catalog rows, over `number` their numbers that the step reads, and where they come from. Of a server
    (phase "serve"), in place of blocks, collectives and pipelines: `explain_server.explained`.
    """
    asked = sources.ask(source, "explain", options, needs="space")
    one = point.point_of(asked.space, at, asked.swept)
    if one.study.requests:
        values, ds = explain_server.explained(one, asked.dtype)
        read = explain_server.numbers_read(one, _numbers_read)
    else:
        values, ds = _explained(one, asked.dtype)
        read = _numbers_read(one)
    return ds.assign(_masks(one, values) | _sources(one, read))


def everything(step, point, bounds, **policies):
    """{variable: scalar} of one point: those of `evaluate_point`, `memory/<part>`, `block/<name>/<field of Time>`.

    `network/<collective>/<where>`: seconds of its transfers in the blocks (before overlap) and in the step (what is
    exposed): slopes, at 1, over a factor of the collective's own seconds. The blocks are linear in the factor, the step
    between the points where another stretch becomes the longer one.
    """

    def collective(name, time):
        return roofline.scaled_network(time, evaluation.along(1.0, name))

    moving = step(point, **policies, collective=collective)
    blocks = sum(t.exposed_network for t in moving.blocks.values() if t.exposed_network is not None)
    result = trees.mapped(evaluation.value, moving)
    values = of_step(result, point, bounds)
    values |= {f"memory/{part}": n_bytes for part, n_bytes in result.memory.items()}
    for name, time in result.blocks.items():
        values |= {f"block/{name}/{k}": 0.0 if t is None else t for k, t in vars(time).items()}
    for name in COLLECTIVES:
        values[f"network/{name}/blocks"] = evaluation.tangent(blocks, name)
        values[f"network/{name}/step"] = evaluation.tangent(moving.time.exposed_network, name)
    return values


def values_of(space, dtype):
    """`everything` at the one point of a space, as Python numbers."""
    return {name: array.item() for name, (_, array) in evaluation.evaluate(space, dtype, function=everything).items()}


def _explained(space, dtype):
    values = values_of(space, dtype)
    # As if software and host took no time: blocks less what is hidden make the step.
    bare = values_of(space.with_fixed(software_factor=1.0, **headroom.HOST), dtype)
    rates = {f"hardware_{rate}_flops_per_s": UNIT for rate in records.RATES}
    units = values_of(space.with_fixed(hardware_hbm_bytes_per_s=UNIT, **rates), dtype)
    plain = {name: ((), np.array(value)) for name, value in values.items() if "/" not in name}
    ds = dataset.to_dataset(space, plain, "dsjax explain")
    ds.attrs["study"] = space.study.name
    return values, ds.assign(
        _blocks(space, values, bare, units, dtype)
        | _network(bare)
        | _memory(space, values)
        | headroom.pipelines(space, values, dtype)
        | headroom.largest(space, dtype)
    )


def _blocks(space, values, bare, units, dtype):
    blocks = [name for name in space.study.blocks if f"block_time/{name}" in values]

    def of(source, field):
        return np.array([source[f"block/{name}/{field}"] for name in blocks])

    seconds = np.array([values[f"block_time/{name}"] for name in blocks])
    ideal = np.maximum(of(values, "ideal_compute"), of(values, "ideal_memory"))
    model = dataset.model_of(space)
    layers = [float(space.study.blocks[name](model)) for name in blocks]
    table = dataset.over(
        "block",
        blocks,
        "block of the model",
        layers=(layers, "1", "layers that hold the block"),
        block_time=(seconds, "s", "time of one kind of block per step, all layers, before overlap"),
        **{f"block_{k}": (of(values, e), "s", f"of it on {k}") for k, e in zip(LIMITS, EXPOSED)},
        block_ideal=(np.where(ideal > 0.0, ideal, np.nan), "s", "needed flops and bytes at the peak rates of the chip"),
        block_flops=(UNIT * of(units, "ideal_compute"), "FLOP", "needed flops per step and chip"),
        block_bytes=(UNIT * of(units, "ideal_memory"), "B", "needed bytes between memory and chip, per step and chip"),
    )
    total = math.fsum(seconds)
    hidden = total - bare["step_time"]
    hidden = hidden if hidden > ranking.TOLERANCE[dtype] * total else 0.0  # else rounding
    return table | {
        "hidden_time": dataset.variable((), hidden, "s", "of the blocks' time, what overlap hides"),
        "time_of_pipeline": dataset.variable((), bare["step_time"], "s", "step without software factor and host time"),
    }


def _network(bare):
    rows = {
        text: tuple(bare[f"network/{name}/{where}"] for where in ("blocks", "step"))
        for name, text in COLLECTIVES.items()
        if name not in OFTEN_NONE or bare.get(f"block/{name}/exposed_network", 0.0) > 0.0
    }
    seconds, exposed = (np.array(column) for column in zip(*rows.values()))
    return dataset.over(
        "collective",
        rows,
        "collective of the network",
        transfer_time=(seconds, "s", "transfers of a step, without the starts of messages, before overlap"),
        transfer_exposed=(exposed, "s", "of it on the critical path, given wholly to the longer of two that overlap"),
        transfer_hidden=(np.maximum(seconds - exposed, 0.0), "s", "of it behind other work"),
    )


def _memory(space, values):
    parts = {name.removeprefix("memory/"): value for name, value in values.items() if name.startswith("memory/")}
    given = refusals.numbers(space, values)
    capacity = given["hardware_hbm_bytes"]
    free = capacity * given.get("memory_reserve", 0.0)
    table = dataset.over(
        "part", parts, "part of the memory", memory_part=(list(parts.values()), "B", "memory of one chip")
    )
    return table | {
        "memory_capacity": dataset.variable((), capacity, "B", "memory of one chip"),
        "memory_kept_free": dataset.variable((), free, "B", "of it kept free"),
    }


def _masks(space, values):
    masks = [name for name in values if name.startswith("ok_")]
    why = [refusals.why(space, values, name.removeprefix("ok_")) for name in masks]
    return dataset.over(
        "constraint", masks, "constraint", why=(np.array(why, dtype=object), "", "why it refuses the point")
    )


def _sources(space, read):
    """Rows of a space and where their numbers come from, those that are `read`: [(<record>.<row>, field, source)]."""
    rows = {f"{record}.{name}": row for record, of in space.rows.items() for name, row in of.items()}
    read = sorted(read, key=lambda number: list(rows).index(number[0]))
    of = {row: [entry for label, _, entry in read if label == row] for row in rows}
    tags = [", ".join(dict.fromkeys(entry["kind"] for entry in of[row])) or "not read" for row in rows]
    return dataset.over(
        "row",
        rows,
        "row of the catalog",
        tag=(np.array(tags, dtype=object), "", "kinds of its numbers that the step reads"),
        source=(
            np.array([row["source"] for row in rows.values()], dtype=object),
            "",
            "where its own numbers come from",
        ),
    ) | dataset.over(
        "number",
        [f"{row}.{field}" for row, field, _ in read],
        "number of the catalog that the step reads",
        number_kind=(np.array([entry["kind"] for *_, entry in read], dtype=object), "", "kind of its source"),
        number_source=(np.array([said(entry) for *_, entry in read], dtype=object), "", "where it comes from"),
    )


def _numbers_read(space):
    """`provenance.numbers_read` of a step."""
    names = evaluation.known(space, evaluation.variables(space))

    def sampled(moved, n):
        return evaluation.samples(space, moved, n, names)

    return provenance.numbers_read(space, evaluation.numbers(space), sampled)
