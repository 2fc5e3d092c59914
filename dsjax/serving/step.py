"""The core model: one step of decode or prefill as dsjax/MODEL.md states it."""

import dataclasses
import functools
import operator

import jax
import jax.numpy as jnp

from ..formulas import attention, layers, memory, network, pipelines, roofline
from ..formulas.metrics import Step
from ..formulas.network import all_to_all_bytes
from ..formulas.routing import routed_rows
from ..formulas.shapes import over
from . import deployment, phases
from .kernels import Kernels, _present, quantised_bytes


def step(
    point,
    *,
    context,
    load,
    outcome,
    pipeline,
    splits,
    exchange,
    cores,
    gemm,
    expert_gemm,
    attention,
    pointwise,
    collective=roofline.as_is,
):
    """One step of one chip (sections 6 and 7).  step_time = software_factor T_pipeline + step_s.

    `collective`: function (name, Time) -> Time that every collective of every layer passes.
    """
    point = dataclasses.replace(point, workload=dataclasses.replace(point.workload, context=context(point.workload)))
    one = jnp.ones_like(point.workload.context)
    split = deployment.split(point.deployment, point.model, one.dtype)
    result = outcome(point, split)
    kernels = Kernels(point, gemm, expert_gemm, attention, pointwise)

    # Whole batch and half of it, traced and compiled once for every pipeline.
    shares = (1.0, 0.5)

    def parts_of(share):
        these = load(point, split, share)
        taken = cores(point.hardware, these.causal)
        # Two batches overlap where there are halves: the cores that copy then are lost to the layer.
        slowed = kernels if taken is None else kernels.with_share(1.0 - jnp.where(share < 1.0, taken, 0.0))
        return _parts(point, split, kernels, slowed, these, result.drafts, exchange, collective)

    every = jax.vmap(parts_of)(jnp.asarray(shares, one.dtype))

    def parts(share):
        return jax.tree.map(lambda leaf: leaf[shares.index(share)], every)

    time, both = pipeline(parts, 1.0)
    time = point.workload.software_factor * time + roofline.Time(exposed_latency=point.hardware.step_s)
    all_at_once = load(point, split, one)
    rows, _ = routed_rows(point.model, point.workload, split, all_at_once.all_tokens)
    hw, precision = point.hardware, point.precision
    rates = (precision.weight_rate, precision.expert_rate, precision.attention_rate)
    parts_of_memory = memory.per_chip(point, split, all_at_once, rows, result.drafts)
    room = hw.hbm_bytes * (1.0 - point.workload.memory_reserve)
    masks = {
        "memory": sum(parts_of_memory.values()) <= room,
        "topology": network.fits(split, hw.scale_up_domain),
        "precision": functools.reduce(operator.and_, (roofline.has_rate(hw, rate) for rate in rates)),
        "even_batch": splits(result.even),
    }
    return Step(
        time=time,
        blocks=_blocks(point.model, both),
        memory=parts_of_memory,
        masks=split.masks | result.masks | masks,
        tokens_per_user=result.tokens_per_user,
        tokens_per_chip=result.tokens_per_chip,
        ttft=jnp.full((), jnp.nan, one.dtype) if result.ttft_steps is None else result.ttft_steps * time.total,
        batch_total=result.batch_total,
        chips=split.chips,
        dp=split.dp,
        ep=split.ep,
    )


def _parts(point, split, kernels, slowed, load, drafts, exchange, collective):
    """`pipelines.Parts` of one micro batch, layers of `slowed` kernels; no MTP module where `drafts` is None."""
    model, hidden = point.model, point.model.hidden_size
    dense = layers.dense_ffn(model, load.tokens, split.tp)
    head = layers.head(model, load.head_rows, split.tp)
    shapes = {"dense_up": dense["dense_gate_up"], "dense_down": dense["dense_down"], "head": head["head"]}
    moe_layer = functools.partial(_moe_layer, point, split, slowed, exchange, collective)
    if drafts is None:
        gemms, layer, mtp = kernels.gemms(shapes), moe_layer(load), None
    else:
        # One draft token of every sequence: its MoE layer has the shapes of the main one, so both are one trace.
        tokens = load.sequences
        draft_load = phases.decode_load(point, split, tokens, jnp.ones_like(tokens))
        module = layers.mtp_module(model, tokens, tokens, {}, split.tp)
        gemms = kernels.gemms(shapes | {name: module[name] for name in ("eh_proj", "mtp_head")})
        loads = jax.tree.map(lambda x, y: jnp.stack([jnp.asarray(z, tokens.dtype) for z in (x, y)]), load, draft_load)
        both = jax.vmap(moe_layer)(loads)
        layer, draft = (jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in (0, 1))
        mtp = drafts * (pipelines.in_sequence(draft) + gemms["eh_proj"] + gemms["mtp_head"])
        mtp += drafts * kernels.pointwise(8.0 * tokens * hidden)
    attention = {name: t for name, t in (layer.before | layer.after).items() if name != "router"}
    swiglu = kernels.pointwise(3.0 * load.tokens * model.intermediate_size / split.tp, 0.25)
    rest = {
        "dense": model.first_k_dense_replace * (gemms["dense_up"] + gemms["dense_down"] + swiglu),
        "dense_rest": model.first_k_dense_replace * pipelines.total(attention | layer.closing),
        "embedding": kernels.pointwise(2.0 * load.rows * hidden),
        "head": gemms["head"] + kernels.pointwise(4.0 * load.head_rows * hidden),
        "mtp": roofline.Time(exposed_latency=jnp.zeros_like(hidden)) if mtp is None else mtp,
    }
    sparse = model.num_hidden_layers - model.first_k_dense_replace
    return pipelines.Parts(layer=layer, layers=sparse, rest=rest, unhidden=point.workload.unhidden)


def _moe_layer(point, split, kernels, exchange, collective, load):
    """`LayerTimes` of a MoE layer; `exchange` its dispatch and combine, `collective` what each of its times passes."""
    model, precision, workload, hw = point.model, point.precision, point.workload, point.hardware
    hidden = model.hidden_size
    split_by = 1.0 if load.causal else split.kv_split
    index = attention.indexer(model, load.rows, load.sequences, workload.context, split_by, load.causal)
    scores = index.pop("index_scores")
    gemms = kernels.gemms(load.before | index | load.after | layers.router(model, load.rows))
    rows, slots_hit = routed_rows(model, workload, split, load.all_tokens)
    routed = layers.routed_experts(model, rows, slots_hit, split.moe_tp)
    shared = layers.shared_expert(model, load.tokens * split.shared_tp / split.tp, split.shared_tp)
    net = network.links(point.hardware, point.nic)
    reduced, rise = (
        load.tokens * hidden * precision.activation_bytes,
        (hw.all_reduce_start_s, hw.all_reduce_rise_s, hw.all_reduce_direct),
    )
    reduce = network.all_reduce(reduced, split.tp, net, *rise, hw.scale_up_bytes_per_s)
    reduce = collective("all_reduce", reduce)
    kv_exchange = {}
    if load.exchanged:
        queries, results = (n * precision.activation_bytes for n in load.exchanged)
        both = network.all_gather(queries, split.kv_split, net) + network.reduce_scatter(results, split.kv_split, net)
        starts = roofline.Time(exposed_latency=2.0 * jnp.where(split.kv_split > 1.0, hw.all_reduce_start_s, 0.0))
        kv_exchange = {"kv_exchange": collective("kv_exchange", both + starts)}
    shared_width = load.tokens * model.n_shared_experts * model.moe_intermediate_size / split.tp
    routed_width = rows * model.moe_intermediate_size / split.moe_tp
    ranks = model.q_lora_rank + model.kv_lora_rank
    norms = 4.0 * load.rows * hidden + 2.0 * load.rows * ranks
    rotated = attention.rotated(model, load.tokens, split.tp, load.causal)
    results = load.tokens * over(model.num_attention_heads, split.tp) * model.v_head_dim

    sent = [all_to_all_bytes(rows, hidden, 1.0, size) for size in (precision.dispatch_bytes, precision.combine_bytes)]
    dispatch, combine, sorted_bytes = exchange(point, split, sent, load.causal)

    return pipelines.LayerTimes(
        before={
            "pointwise": kernels.pointwise(norms + rotated, 0.5),
            **{name: gemms[name] for name in load.before},
            "indexer": gemms["index_q"] + gemms["index_k"] + kernels.scores(scores, load),
        },
        after={
            "core": kernels.core(load),
            **kv_exchange,
            **{name: gemms[name] for name in load.after},
            "all_reduce": reduce,
            "ffn_norm": kernels.pointwise(4.0 * load.rows * hidden, 0.25, results * quantised_bytes(precision)),
            "router": gemms["router"],
        },
        shared={
            "shared": kernels.expert(shared["shared_gate_up"]) + kernels.expert(shared["shared_down"]),
            "shared_swiglu": _present(shared_width)[0] * kernels.pointwise(3.0 * shared_width, 0.125),
        },
        dispatch=collective("dispatch", dispatch),
        routed={
            "routed_up": kernels.expert(routed["routed_gate_up"], "up"),
            "routed_down": kernels.expert(routed["routed_down"], "down"),
            "routed_swiglu": kernels.pointwise(3.0 * routed_width, 0.125, sorted_bytes),
        },
        combine=collective("combine", combine),
        closing={"all_reduce_ffn": reduce},
    )


def _blocks(model, both):
    """{block: Time of a step before overlap}, BLOCKS in all."""
    layer, sparse = both.layer, both.layers
    everywhere = sparse + model.first_k_dense_replace
    before, after, shared, routed = layer.before, layer.after, layer.shared, layer.routed
    kv_b = before["kv_b"] + after["absorb_v"] if "absorb_v" in after else before["kv_b"]
    blocks = {name: everywhere * before[name] for name in ("q_a", "kv_a", "q_b")}
    blocks |= {"kv_b": everywhere * kv_b, "indexer": everywhere * before["indexer"]} | {
        name: everywhere * after[name] for name in ("core", "o")
    }
    swiglu = shared["shared_swiglu"] + routed["routed_swiglu"]
    blocks["pointwise"] = everywhere * (before["pointwise"] + after["ffn_norm"]) + sparse * swiglu
    blocks["kv_exchange"] = everywhere * after.get("kv_exchange", 0.0 * after["all_reduce"])
    blocks["all_reduce"] = everywhere * (after["all_reduce"] + layer.closing["all_reduce_ffn"])
    blocks |= {"router": sparse * after["router"], "shared": sparse * shared["shared"]}
    blocks["routed"] = sparse * (routed["routed_up"] + routed["routed_down"])
    blocks |= {"dispatch": sparse * layer.dispatch, "combine": sparse * layer.combine}
    return blocks | {name: both.rest[name] for name in ("dense", "embedding", "head", "mtp")}
