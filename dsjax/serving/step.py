"""One step of decode or prefill of the core model, as dsjax/MODEL.md states it."""

import dataclasses
import functools
import math
from typing import NamedTuple

from .. import arrays
from ..formulas import memory, pipelines, roofline
from ..formulas.constraints import masks
from ..formulas.metrics import Step
from ..formulas.operators import attention, kinds, layers, linear
from ..formulas.operators.shapes import Pointwise
from ..formulas.roofline import Time
from . import deployment, phases, stages
from .constraints import LAYOUT, NAMES, STEP, Case
from .definition import OF_A_LAYER, ffn_layers, moe_layers
from .kernels import Kernels
from .operators import blocks_of, of_phase, weight_bytes
from .rows import DRAFT, REST


def step(point, *, phase, pipeline, exchange, curve, collective=roofline.as_is, without=()):
    """One step of one chip (sections 6 and 7).  step_time = software_factor T_pipeline + host time.

    `phase`, `pipeline`, `exchange`, `curve`: records of the policies (`phases.Phase`, `pipelines.Pipeline`,
    `exchange.Exchange`, `efficiency.Form`). `collective`: function (block, Time) -> Time applied to every collective.
    `without`: names of operators that take no time.
    """
    context = phase.context(point.workload)
    point = dataclasses.replace(point, workload=dataclasses.replace(point.workload, context=context))
    split = deployment.split(point.deployment, point.model, context.dtype)
    result, load = phase.outcome(point, split), phase.load(point, split)
    kernels = Kernels(point, split, curve, exchange, collective)

    @functools.cache
    def timed_at(share):  # of the batch
        work = phase.work(point, split, share)
        taken = exchange.cores(point, work.causal)
        # Two batches overlap where there are halves: the cores that copy then are lost to the layer.
        slowed = kernels if taken is None or share == 1.0 else kernels.with_share(1.0 - taken)
        return _timed(point, split, kernels, slowed, work, result.drafts, without)

    def overlapped(stage):
        return pipeline.overlap(lambda share: _parts(timed_at(share), stage, point.workload.unhidden), 1.0)

    time, both = overlapped(stages.whole(point.model))
    blocks, parts, work = both.blocks, [stages.whole(point.model)], phase.work(point, split, 1.0)
    if split.stages is not None:
        parts, send = stages.stages(point.model, split.counts.pp), kernels.send(work)
        slowest = [overlapped(stage)[0] for stage in parts]
        time = stages.in_flight(time, slowest, send, split.stages, load.micro_batches, work.causal)
        blocks = blocks | {"send": (split.stages - 1.0) * send}
    time = point.workload.software_factor * time + Time(exposed_latency=point.hardware.step_s + result.host_s)
    in_flight = None if split.stages is None else load.micro_batches
    held = [memory_of(point, split, stage, work, result.drafts, in_flight) for stage in parts]
    held = stages.fullest(held) | kept(point, split, work, exchange)
    case = Case(point, split, sum(held.values()), pipeline.suits(result.even), work, exchange)
    found = masks(LAYOUT, case) | result.masks | masks(STEP, case)
    return Step(
        time=time,
        blocks=blocks,
        memory=held,
        masks={name: found[name] for name in NAMES},
        tokens_per_user=result.tokens_per_user,
        tokens_per_chip=result.tokens_per_chip,
        ttft=arrays.full_like(context, math.nan) if result.ttft_steps is None else result.ttft_steps * time.total,
        batch_total=result.batch_total,
        chips=split.chips,
        dp=split.dp,
        ep=split.ep,
    )


OF_AN_FFN = (ffn_layers, moe_layers)


class Timed(NamedTuple):
    """Times of one micro batch: of every operator, of a MoE layer by part, and of the MTP module."""

    rows: tuple
    times: dict  # {operator: Time} of one layer that holds it, or of what the model has once
    mean: dict  # {operator: Time} of one layer, the mean of those that hold it and those that do not
    layer: pipelines.LayerTimes
    module: Time  # all drafts


def _timed(point, split, kernels, slowed, work, drafts, without):
    """`Timed` of one micro batch, layers of `slowed` kernels; no MTP module where `drafts` is None."""
    model, rows = point.model, [row for row in of_phase(work.causal, point.model) if row.name not in without]
    layer_rows = [row for row in rows if row.part != REST]
    others = [row for row in rows if row.part == REST and row.section != DRAFT]
    layer = functools.partial(timed, slowed, layer_rows, model)
    if drafts is None:
        times, module = layer(work), Time(exposed_latency=arrays.zeros_like(model.hidden_size))
    else:
        # One draft token of every sequence.
        draft = phases.extended(point, split, work.sequences, work.all_tokens / work.queries, 1.0)
        of_module = [row for row in layer_rows if row.layers in OF_A_LAYER]
        times, of_draft = layer(work), timed(slowed.of_module(), of_module, model, draft)
        own = timed(kernels, [row for row in rows if row.section == DRAFT], model, draft)
        module = drafts * (pipelines.in_sequence(_by_part(of_module, of_draft)) + pipelines.total(own.values()))
    # A MoE layer has an FFN, and is else the mean of those with an operator and of those without; that of an MTP module
    # has them all.
    mean = dict(times)
    for row in layer_rows:
        count = row.layers(model)
        if row.name in times and row.layers not in OF_AN_FFN and count is not model.num_hidden_layers:
            mean[row.name] = count / model.num_hidden_layers * times[row.name]
    return Timed(rows, times | timed(kernels, others, model, work), mean, _by_part(layer_rows, mean), module)


def _parts(of, stage, unhidden):
    """`pipelines.Parts` of the layers and ends of one stage."""
    times, none = of.times, Time(exposed_latency=arrays.zeros_like(stage.model.hidden_size))
    module = of.module if stage.last is None else stage.last * of.module
    blocks, rest = dict.fromkeys((name for name in blocks_of(stage.model) if name != "send"), none), []
    for row in of.rows:
        if row.name in times:
            taken = stage.layers(row) * times[row.name]
            blocks[row.block] = blocks[row.block] + taken
            if row.part == REST:
                rest.append(taken)
    model, layer_rows = stage.model, [row for row in of.rows if row.part != REST and row.name in times]
    without = model.num_hidden_layers - moe_layers(model)
    without_experts = {moe_layers: None, ffn_layers: ffn_layers(model) - moe_layers(model)}
    for row in layer_rows:
        count = without_experts.get(row.layers, without)
        if count is not None:
            rest.append(count * of.mean[row.name])
    return pipelines.Parts(
        layer=of.layer,
        layers=moe_layers(model),
        rest=pipelines.total([*rest, module]),
        blocks=blocks | {"mtp": module},
        unhidden=unhidden,
    )


def timed(kernels, rows, model, work):
    """{operator: Time} of one layer, of the rows that have a kernel; a fused row is timed with the row before it."""
    launched = []  # (row, its shape)
    for row in rows:
        if row.kernel is None:
            continue
        shape = row.shape(row.view(model), work)
        if row.fused:
            first, before = launched.pop()
            launched.append((first, _together(before, shape, None if kernels.module else _share(row, first, model))))
        else:
            launched.append((row, shape))
    return {row.name: row.kernel(kernels.seeing(row.view(model)), shape, row, work) for row, shape in launched}


def _share(row, first, model):
    """Layers with one operator over those with another; None where they are the same."""
    count, of = row.layers(model), first.layers(model)
    return None if count is of else count / arrays.where(of > 0.0, of, 1.0)


def _together(a, b, share):
    if share is not None:
        b = Pointwise(weights=0, inputs=share * b.inputs, outputs=share * b.outputs)
    return Pointwise(weights=0, inputs=a.inputs + b.inputs, outputs=a.outputs + b.outputs)


def _by_part(rows, times):
    """`LayerTimes` of the operators' times."""
    parts = {}
    for row in rows:
        if row.name in times:
            parts.setdefault(row.part, []).append(times[row.name])
    return pipelines.LayerTimes(**{part: pipelines.total(some) for part, some in parts.items()})


def memory_of(point, split, stage, work, drafts, micro_batches=None):
    """{part: B} of one chip of a stage (section 8): weights of every operator, KV cache, activations of the largest.

    `micro_batches` in flight, all of whose sequences the cache keeps; None: one.
    """
    model, precision = point.model, point.precision
    held = dataclasses.replace(work, experts=split.slots)
    mean = dataclasses.replace(work, context=point.workload.context)  # of the sequences that a group has
    has_mtp = 0.0 if drafts is None else arrays.where(drafts > 0.0, 1.0, 0.0)
    modules = has_mtp if stage.last is None else stage.last * has_mtp
    weights = weight_bytes(of_phase(work.causal, model), stage, model, held, vars(precision))
    element = attention.element_bytes(model, precision, point.engine)
    same = kinds.attentions(kinds.common(stage.model)) + modules  # a module has attention, and an indexer
    cache = memory.kv_cache(kinds.common(model), mean, same, stage.model.index_layers + modules, element)
    if model.sliding_head_dim is not None:
        own = kinds.own_sized(stage.model), 0.0, precision.kv_bytes
        cache = cache + memory.kv_cache(kinds.windowed(model), mean, *own)
    found = weights | {
        "mtp": has_mtp * weights["mtp"],
        "kv_cache": cache if micro_batches is None else micro_batches * cache,
        "activations": precision.activation_bytes * memory.live_elements(model, mean),
    }
    if model.linear_layers is not None:
        one = linear.state_bytes(model, split.tp, precision.activation_bytes)
        state = stage.model.linear_layers * work.sequences * one
        found["state"] = state if micro_batches is None else micro_batches * state
    return found


def kept(point, split, work, mode):
    """{part: B} of what an engine keeps beside (section 8): buffers of its low-latency exchange, and its own memory."""
    buffered, engine = mode.buffers(point, work.causal), point.engine
    n_bytes = arrays.zeros_like(work.tokens)
    if buffered is not False:
        rows = work.tokens / work.tp * split.ep * split.slots  # tokens of a chip, each for every slot
        n_bytes = engine.exchange_buffers * rows * layers.expert_hidden(point.model) * point.precision.combine_bytes
        n_bytes = arrays.where(split.several & buffered, n_bytes, 0.0)
    own = engine.memory_bytes + engine.logit_bytes * point.model.vocab_size
    return {"exchange": n_bytes, "engine": own + arrays.zeros_like(work.tokens)}
