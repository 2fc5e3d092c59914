"""The core model: one step of decode or prefill as dsjax/MODEL.md states it."""

import copy
import dataclasses
import functools
import operator

import jax
import jax.numpy as jnp

from ..catalog.reader import DATA
from ..formulas import attention, layers, memory, network, pipelines, roofline, routing
from ..formulas.metrics import Step
from ..formulas.network import all_to_all_bytes
from ..formulas.roofline import Cost
from ..formulas.shapes import Gemm, over
from ..specs import records
from . import definition, phases


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
    split = phases.split(point.deployment, point.model, one.dtype)
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


class Kernels:
    """Times of the kinds of kernels at one point (section 4)."""

    def __init__(self, point, gemm, expert_gemm, attention, pointwise):
        self.point, self.curve, self.hw, self.precision = point, point.curve, point.hardware, point.precision
        self._gemm, self._expert_gemm, self._attention, self._pointwise = gemm, expert_gemm, attention, pointwise
        self._share = None  # of the cores, and so of what is reached of the compute rates; None: all

    def with_share(self, share):
        """The same on a share of the cores: that share of the compute rates is reached, the peak stays."""
        other = copy.copy(self)
        other._share = share
        return other

    def _time(self, flops, n_bytes, rate, efficiency):
        cost = Cost(flops=flops, charged_flops=flops, bytes=n_bytes)
        peak = roofline.flops_per_s(self.hw, rate)
        if self._share is not None:  # of what is reached, not of the peak: needed flops stay flops at the peak
            efficiency = efficiency._replace(compute=self._share * efficiency.compute)
        return roofline.kernel(cost, peak, self.hw.hbm_bytes_per_s, efficiency, self.hw.roofline_overlap)

    def gemms(self, shapes):
        """{operator: Time} of GEMMs outside the experts."""

        def time(g, m, k, n):
            present, (g, m, k, n) = _present(g, m, k, n)
            shape = Gemm(groups=g, m=m, k=k, n=n)
            n_bytes = shape.weights * self.precision.weight_bytes
            n_bytes += (shape.inputs + shape.outputs) * self.precision.activation_bytes
            curve = self._gemm(self.curve, m, k, n, g, self.precision.weight_rate)
            return present * self._time(shape.flops, n_bytes, self.precision.weight_rate, curve)

        return roofline.each(time, {name: (x.groups, x.m, x.k, x.n) for name, x in shapes.items()})

    def expert(self, shape, side=None):
        """Time of one GEMM of an expert; `side` of the routed ones, which are grouped."""
        present, (g, m, k, n) = _present(shape.groups, shape.m, shape.k, shape.n)
        shape = Gemm(groups=g, m=m, k=k, n=n)
        n_bytes = shape.weights * self.precision.expert_bytes
        n_bytes += (shape.inputs + shape.outputs) * self.precision.activation_bytes
        rate = self.precision.expert_rate
        if side is None:
            curve = self._gemm(self.curve, m, k, n, g, rate)
        else:
            curve = self._expert_gemm(self.curve, side, m, k, n, rate)
        return present * self._time(shape.flops, n_bytes, rate, curve)

    def core(self, load):
        """Time of the attention core, mean of all layers (section 3)."""
        shape, precision, model = load.core, self.precision, self.point.model
        moved = (shape.inputs + shape.outputs + load.kv_as_activations) * precision.activation_bytes
        cached = load.kv_elements * precision.kv_bytes

        def time(share):  # of the positions
            pairs, read = (attention.causal_pairs(share), 1.0) if load.causal else (share, share)
            curve = self._attention(self.curve, share * load.positions, load.sequences, load.positions, load.causal)
            return self._time(pairs * shape.flops, moved + read * cached, precision.attention_rate, curve)

        # Not stacked, as GEMMs are: these have the most elements of all that is evaluated before the last stage.
        whole, window = (time(share) for share in attention.shares(model, self.point.workload.context))
        sliding = attention.sliding_share(model)
        return (1.0 - sliding) * whole + sliding * window

    def scores(self, shape, load):
        """Time of the indexer's scores, whose keys have one byte an element (section 3)."""
        n_bytes = shape.inputs * self.precision.activation_bytes + shape.kv
        curve = self._attention(self.curve, load.positions, load.sequences, load.positions, load.causal)
        if curve.start_s is not None:  # nothing else takes time where there is no indexer
            curve = curve._replace(start_s=jnp.where(shape.flops > 0.0, curve.start_s, 0.0))
        return self._time(shape.flops, n_bytes, self.precision.attention_rate, curve)

    def pointwise(self, elements, layers=None, n_bytes=0.0):
        """Time of pointwise work that reads and writes `elements` of activations and `n_bytes` beside them.

        `layers`: its share of a layer's launches.
        """
        efficiency = self._pointwise(self.curve, layers)
        n_bytes = n_bytes + elements * self.precision.activation_bytes
        seconds = n_bytes / (self.hw.hbm_bytes_per_s * efficiency.memory)
        ideal = n_bytes / self.hw.hbm_bytes_per_s
        start = efficiency.start_s
        return roofline.Time(exposed_memory=seconds, busy_memory=seconds, ideal_memory=ideal, exposed_latency=start)


def _present(*sizes):
    """(1.0 or 0.0, sizes) of a shape; one without work, which the model does not have, gets finite stand-ins."""
    present = functools.reduce(operator.mul, sizes) > 0.0
    return jnp.where(present, 1.0, 0.0), [jnp.where(present, size, 1.0) for size in sizes]


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
            "ffn_norm": kernels.pointwise(4.0 * load.rows * hidden, 0.25, results * records.quantised_bytes(precision)),
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


def routed_rows(model, workload, split, tokens):
    """(rows of the busiest card, slots of a card that are hit and so read) for `tokens` tokens of all groups.

    R = min(l k A / ep, A min(k, s)); G = s (1 - (1 - k / (ep s))^A), the expected number hit by A tokens that choose
    k of ep s slots evenly; l of `routing.imbalance`.
    """
    copies, all_slots = model.num_experts_per_tok, split.ep * split.slots
    busiest = routing.imbalance(model, workload, split.ep, split.slots, tokens)
    rows = tokens * jnp.minimum(busiest * copies / split.ep, jnp.minimum(copies, split.slots))
    hit = -jnp.expm1(tokens * jnp.log1p(-copies / all_slots))
    return rows, split.slots * hit


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


def _definition():
    once, every, dense, moe = (getattr(definition, n) for n in ("once", "every_layer", "dense_layers", "moe_layers"))
    blocks = {"embedding": once} | dict.fromkeys(
        "pointwise q_a kv_a q_b kv_b indexer core kv_exchange o all_reduce".split(), every
    )
    blocks |= dict.fromkeys("router dispatch shared routed combine".split(), moe)
    return definition.Study(
        name="core",
        path=DATA / "core.toml",
        title="DeepSeek-V3-class model",
        step=step,
        records=records.RECORDS,
        policies={
            "phase": (
                ("decode", phases.DECODE),
                ("prefill", phases.PREFILL),
            ),
            "pipeline": (
                ("naive", {"pipeline": pipelines.naive, "splits": pipelines.whole}),
                ("dual-mbatch", {"pipeline": pipelines.dual_micro_batch, "splits": pipelines.halves}),
                ("windows", {"pipeline": pipelines.windows, "splits": pipelines.whole}),
                ("tbo", {"pipeline": pipelines.two_batch_overlap, "splits": pipelines.halves}),
                ("sbo", {"pipeline": pipelines.single_batch_overlap, "splits": pipelines.whole}),
            ),
            "dispatch_mode": network.MODES,
        },
        deployment=("tp", "moe_tp", "shared_tp", "kv_split", "ep", "redundant_experts", "sp", "chips", "batch")
        + ("prompts", "mtp"),
        workload=(
            "context",
            "isl",
            "osl",
            "acceptance",
            "expert_imbalance",
            "unhidden",
            "software_factor",
            "memory_reserve",
        ),
        blocks=blocks | {"dense": dense, "head": once, "mtp": once},
        ties=("-batch",),
        curve=("gemm", "expert_gemm", "attention", "pointwise"),
    )


CORE = _definition()
