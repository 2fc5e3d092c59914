"""One step of decode or prefill of the core model, as dsjax/MODEL.md states it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

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

SHARES = (1.0, 0.5)  # of a batch that pipelines ask for: all of it, or half


def step(point, *, phase, pipeline, exchange, curve, collective=roofline.as_is):
    """One step of one chip (sections 6 and 7).  step_time = software_factor T_pipeline + step_s.

    `phase`, `pipeline`, `exchange`, `curve`: records of the policies (`phases.Phase`, `pipelines.Pipeline`,
    `network.Exchange`, `efficiency.Form`). `collective`: function (block, Time) -> Time applied to every collective.
    """
    context = phase.context(point.workload)
    point = dataclasses.replace(point, workload=dataclasses.replace(point.workload, context=context))
    one = jnp.ones_like(context)
    split = deployment.split(point.deployment, point.model, one.dtype)
    result = phase.outcome(point, split)
    kernels = Kernels(point, split, curve, exchange, collective)

    def parts_of(share):
        work = phase.work(point, split, share)
        taken = exchange.cores(point.hardware, work.causal)
        # Two batches overlap where there are halves: the cores that copy then are lost to the layer.
        slowed = kernels if taken is None else kernels.with_share(1.0 - jnp.where(share < 1.0, taken, 0.0))
        return _parts(point, split, kernels, slowed, work, result.drafts)

    every = jax.vmap(parts_of)(jnp.asarray(SHARES, one.dtype))  # traced and compiled once for every pipeline

    def parts(share):
        return jax.tree.map(lambda leaf: leaf[SHARES.index(share)], every)

    time, both = pipeline.overlap(parts, 1.0)
    time = point.workload.software_factor * time + Time(exposed_latency=point.hardware.step_s)
    parts_of_memory = memory_of(point, split, phase.work(point, split, one), result.drafts)
    case = Case(point, split, sum(parts_of_memory.values()), pipeline.suits(result.even))
    found = masks(LAYOUT, case) | result.masks | masks(STEP, case)
    return Step(
        time=time,
        blocks=both.blocks,
        memory=parts_of_memory,
        masks={name: found[name] for name in NAMES},
        tokens_per_user=result.tokens_per_user,
        tokens_per_chip=result.tokens_per_chip,
        ttft=jnp.full((), jnp.nan, one.dtype) if result.ttft_steps is None else result.ttft_steps * time.total,
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
    none = Time(exposed_latency=jnp.zeros_like(model.hidden_size))
    if drafts is None:
        times, module = layer(work), none
    else:
        # One draft token of every sequence: its MoE layer has the shapes of the main one, so both are one trace.
        draft = phases.extended(point, split, work.sequences, jnp.ones_like(work.sequences))
        both = jax.vmap(layer)(jax.tree.map(lambda x, y: jnp.stack([x, y]), work, draft))
        times, of_draft = (jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in (0, 1))
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
    products = {row.name: row.shape(model, work) for row in rows if row.kernel is Kernels.gemm}
    times = kernels.gemms(products) if products else {}
    others = []  # (row, its shape)
    for row in rows:
        if row.kernel is None or row.kernel is Kernels.gemm:
            continue
        shape = row.shape(model, work)
        if row.fused:
            first, before = others.pop()
            others.append((first, _together(before, shape)))
        else:
            others.append((row, shape))
    return times | {row.name: row.kernel(kernels, shape, row, work) for row, shape in others}


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
    has_mtp = 0.0 if drafts is None else jnp.where(drafts > 0.0, 1.0, 0.0)
    weights = weight_bytes(of_phase(work.causal), model, held, vars(precision))
    return weights | {
        "mtp": has_mtp * weights["mtp"],
        "kv_cache": memory.kv_cache(model, work, model.num_hidden_layers + has_mtp, precision.kv_bytes),
        "activations": precision.activation_bytes * memory.live_elements(model, work),
    }
