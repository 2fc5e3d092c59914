"""One step of decode or prefill of the core model, as dsjax/MODEL.md states it."""

import dataclasses
import functools
import math

from .. import arrays
from ..formulas import memory, pipelines, roofline
from ..formulas.constraints import masks
from ..formulas.metrics import Step
from ..formulas.roofline import Time
from ..formulas.shapes import Pointwise
from . import deployment, phases
from .constraints import LAYOUT, NAMES, STEP, Case
from .definition import every_layer, moe_layers
from .kernels import Kernels
from .operators import BLOCKS, DRAFT, REST, of_phase, weight_bytes


def step(point, *, phase, pipeline, exchange, curve, collective=roofline.as_is):
    """One step of one chip (sections 6 and 7).  step_time = software_factor T_pipeline + step_s.

    `phase`, `pipeline`, `exchange`, `curve`: records of the policies (`phases.Phase`, `pipelines.Pipeline`,
    `network.Exchange`, `efficiency.Form`). `collective`: function (block, Time) -> Time applied to every collective.
    """
    context = phase.context(point.workload)
    point = dataclasses.replace(point, workload=dataclasses.replace(point.workload, context=context))
    split = deployment.split(point.deployment, point.model, context.dtype)
    result = phase.outcome(point, split)
    kernels = Kernels(point, split, curve, exchange, collective)

    def parts_of(share):  # of the batch
        work = phase.work(point, split, share)
        taken = exchange.cores(point.hardware, work.causal)
        # Two batches overlap where there are halves: the cores that copy then are lost to the layer.
        slowed = kernels if taken is None or share == 1.0 else kernels.with_share(1.0 - taken)
        return _parts(point, split, kernels, slowed, work, result.drafts)

    time, both = pipeline.overlap(parts_of, 1.0)
    time = point.workload.software_factor * time + Time(exposed_latency=point.hardware.step_s)
    parts_of_memory = memory_of(point, split, phase.work(point, split, 1.0), result.drafts)
    case = Case(point, split, sum(parts_of_memory.values()), pipeline.suits(result.even))
    found = masks(LAYOUT, case) | result.masks | masks(STEP, case)
    return Step(
        time=time,
        blocks=both.blocks,
        memory=parts_of_memory,
        masks={name: found[name] for name in NAMES},
        tokens_per_user=result.tokens_per_user,
        tokens_per_chip=result.tokens_per_chip,
        ttft=arrays.full_like(context, math.nan) if result.ttft_steps is None else result.ttft_steps * time.total,
        batch_total=result.batch_total,
        chips=split.chips,
        dp=split.dp,
        ep=split.ep,
    )


def _parts(point, split, kernels, slowed, work, drafts):
    """`pipelines.Parts` of one micro batch, layers of `slowed` kernels; no MTP module where `drafts` is None."""
    model, rows = point.model, of_phase(work.causal)
    layer_rows = [row for row in rows if row.part != REST]
    others = [row for row in rows if row.part == REST and row.section != DRAFT]
    layer = functools.partial(timed, slowed, layer_rows, model)
    none = Time(exposed_latency=arrays.zeros_like(model.hidden_size))
    if drafts is None:
        times, module = layer(work), none
    else:
        draft = phases.extended(point, split, work.sequences, 1.0)  # one draft token of every sequence
        times, of_draft = layer(work), layer(draft)
        own = timed(kernels, [row for row in rows if row.section == DRAFT], model, draft)
        module = drafts * (pipelines.in_sequence(_by_part(layer_rows, of_draft)) + pipelines.total(own.values()))
    times = times | timed(kernels, others, model, work)
    sparse, dense = moe_layers(model), model.first_k_dense_replace
    blocks = dict.fromkeys(BLOCKS, none)
    for row in rows:
        if row.name in times:
            blocks[row.block] = blocks[row.block] + row.layers(model) * times[row.name]
    rest = [row.layers(model) * times[row.name] for row in others if row.name in times]
    rest += [dense * times[row.name] for row in layer_rows if row.layers is every_layer and row.name in times]
    return pipelines.Parts(
        layer=_by_part(layer_rows, times),
        layers=sparse,
        rest=pipelines.total([*rest, module]),
        blocks=blocks | {"mtp": module},
        unhidden=point.workload.unhidden,
    )


def timed(kernels, rows, model, work):
    """{operator: Time} of one layer, of the rows that have a kernel; a fused row is timed with the row before it."""
    launched = []  # (row, its shape)
    for row in rows:
        if row.kernel is None:
            continue
        shape = row.shape(model, work)
        if row.fused:
            first, before = launched.pop()
            launched.append((first, _together(before, shape)))
        else:
            launched.append((row, shape))
    return {row.name: row.kernel(kernels, shape, row, work) for row, shape in launched}


def _together(a, b):
    return Pointwise(weights=0, inputs=a.inputs + b.inputs, outputs=a.outputs + b.outputs)


def _by_part(rows, times):
    """`LayerTimes` of the operators' times."""
    parts = {}
    for row in rows:
        if row.name in times:
            parts.setdefault(row.part, []).append(times[row.name])
    return pipelines.LayerTimes(**{part: pipelines.total(some) for part, some in parts.items()})


def memory_of(point, split, work, drafts):
    """{part: B} of one chip (section 8): weights of every operator, KV cache, activations of the largest operator."""
    model, precision = point.model, point.precision
    held = dataclasses.replace(work, experts=split.slots)
    has_mtp = 0.0 if drafts is None else arrays.where(drafts > 0.0, 1.0, 0.0)
    weights = weight_bytes(of_phase(work.causal), model, held, vars(precision))
    return weights | {
        "mtp": has_mtp * weights["mtp"],
        "kv_cache": memory.kv_cache(model, work, model.num_hidden_layers + has_mtp, precision.kv_bytes),
        "activations": precision.activation_bytes * memory.live_elements(model, work),
    }
