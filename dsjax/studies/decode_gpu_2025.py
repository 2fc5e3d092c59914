"""GPU decode of DeepSeek-V3 under expert parallelism, as published in 2025, slips included.

Source: "Estimating the per-card throughput of chips that serve DeepSeek with EP" (V1.0, 2025-03-16): 29 + 37
published rows. The formulas are those of the library; what the study does differently is passed to them as arguments:

- every layer is a sparse one, and router, norms, embedding and head take no time;
- Q is compressed from `q_lora_rank` to `qk_nope_head_dim` and back up from there, instead of from `hidden_size`;
- every GEMM is charged at least 64 rows, attention 128 tokens beyond the context;
- each expert on the card computes every copy of every token of the micro batch;
- the naive pipeline forgets the draft tokens in the experts (not in dispatch and combine);
- every copy of a token is sent over the NIC, also those whose expert is on the same card or in the same server;
- rates are in binary multiples (in the study's data file).

`variant` gives the study with some of the slips in the formulas corrected.
"""

import dataclasses
import functools
import math
from pathlib import Path
from typing import NamedTuple

from .. import arrays
from ..formulas import exchange, metrics, network, pipelines, roofline, routing
from ..formulas.constraints import MEMORY
from ..formulas.metrics import Step
from ..formulas.roofline import Time, alongside, flops_per_s
from ..serving.definition import Policy, Study, every_layer
from ..specs import records
from . import operators
from .decode_gpu_2025_chips import Hardware, NetworkedHardware

EXP2_PER_SCORE, REDUCTIONS_PER_SCORE = 1.0, 2.0


class Slips(NamedTuple):
    """Deviations of the study's formulas from the core model, as published."""

    q_from_ranks: bool = True  # Q goes from its rank to a head's width and back up, not from the hidden size
    experts_compute_all: bool = True  # each expert computes every copy of every token, not its own share
    naive_forgets_drafts: bool = True  # in the experts
    only_sparse_layers: bool = True  # no dense layer, router, norm, embedding, head and MTP module
    least_rows: float = 64.0  # charged of every GEMM
    extra_tokens: float = 128.0  # charged beyond the context in attention
    nothing_stays: bool = True  # every copy is sent over the NIC


PUBLISHED = Slips()


@functools.cache
def variant(slips):
    """The study with these slips; its hardware rows carry a scale-up network."""
    records = STUDY.records | {"hardware": NetworkedHardware}
    return dataclasses.replace(STUDY, step=functools.partial(step, slips=slips), records=records)


def step(point, *, pipeline, curve, slips=PUBLISHED, collective=roofline.as_is):
    """One decode step of one card.  As published T_step = num_hidden_layers x T_layer.

    `collective`: function (name, Time) -> Time that every collective passes.
    """
    d, model = point.deployment, point.model
    batch, ep = (arrays.asarray(x, point.workload.context.dtype) for x in (d.batch, d.ep))
    layers = model.num_hidden_layers
    queries = 1.0 + arrays.asarray(d.mtp, batch.dtype)

    def parts(micro_batch, experts_see_drafts=True):
        see_drafts = experts_see_drafts or not slips.naive_forgets_drafts
        layer = functools.partial(_layer, point, curve, slips, collective, micro_batch)
        if slips.only_sparse_layers:
            return _parts(layer(queries, see_drafts), layers, layers, roofline.Time())
        return _whole_model(
            point, curve, slips, micro_batch, layer(queries, see_drafts), layer(arrays.ones_like(queries))
        )

    time, both = pipeline(parts, batch)
    gained = 1.0 + metrics.accepted_tokens(point.workload.acceptance, d.mtp)
    return Step(
        time=time,
        blocks=both.blocks,
        memory=_memory(point, batch),
        masks={},
        tokens_per_user=gained,
        tokens_per_chip=batch * gained,
        ttft=arrays.full_like(batch, math.nan),
        batch_total=batch * ep,
        chips=ep,
        dp=ep,
        ep=ep,
    )


def _linears(point, curve, slips, shapes):
    """{operator: Time} of GEMMs outside the experts: {operator: (M, K, N, groups, bytes per element of the result)}."""
    hw, precision = point.hardware, point.precision

    def linear(m, k, n, groups, out_bytes):
        sizes = {"groups": groups, "in_bytes": precision.weight_bytes, "out_bytes": out_bytes}
        cost = operators.gemm(m, k, n, **sizes, least_rows=slips.least_rows)
        rate = flops_per_s(hw, precision.weight_rate)
        efficiency = curve.gemm(point.curve, m, k, n)
        return roofline.kernel(cost, rate, hw.hbm_bytes_per_s, efficiency, hw.roofline_overlap)

    return {name: linear(*shape) for name, shape in shapes.items()}


def _layer(point, curve, slips, collective, micro_batch, queries, experts_see_drafts=True):
    """{operator: Time} of one layer and micro batch."""
    hw, model, precision = point.hardware, point.model, point.precision
    rows = micro_batch * queries
    heads, copies = model.num_attention_heads, model.num_experts_per_tok
    q_head = model.qk_nope_head_dim + model.qk_rope_head_dim
    q_in, q_rank = model.hidden_size, model.q_lora_rank
    if slips.q_from_ranks:
        q_in, q_rank = model.q_lora_rank, model.qk_nope_head_dim

    def expert(side, m, k, n):
        cost = operators.gemm(m, k, n, in_bytes=precision.expert_bytes, out_bytes=4.0, least_rows=slips.least_rows)
        rate = flops_per_s(hw, precision.expert_rate)
        efficiency = curve.expert_gemm(point.curve, side, m, k, n)
        return roofline.kernel(cost, rate, hw.hbm_bytes_per_s, efficiency, hw.roofline_overlap)

    def ffn(m):
        width = model.moe_intermediate_size
        return expert("up", m, model.hidden_size, 2.0 * width) + expert("down", m, width, model.hidden_size)

    def send(element_bytes):
        n_bytes = exchange.all_to_all_bytes(rows, model.hidden_size, copies, element_bytes)
        if slips.nothing_stays:
            return roofline.transfer(n_bytes, point.nic.scale_out_bytes_per_s)
        links = _links(point)
        shares = exchange.copy_per_expert(arrays.asarray(point.deployment.ep, rows.dtype), 1.0, links.domain)
        return exchange.all_to_all(n_bytes, shares, links)

    expert_rows = rows if experts_see_drafts else micro_batch
    slots = arrays.asarray(routing.expert_slots(model.n_routed_experts, point.deployment.ep), rows.dtype)
    routed_rows, experts_run, needed_share = copies * expert_rows, slots, 1.0 / slots
    if not slips.experts_compute_all:
        ep = arrays.asarray(point.deployment.ep, rows.dtype)
        experts_run, needed_share = routing.slots_hit(slots, ep * slots, copies, expert_rows * ep), 1.0
        routed_rows = routed_rows / experts_run
    before = {  # name: (M, K, N, groups, bytes per element of the result)
        "q_down": (rows, q_in, q_rank, 1.0, 4.0),
        "q_up": (rows, q_rank, heads * q_head, 1.0, 2.0),
        "q_absorb": (rows, model.qk_nope_head_dim, model.kv_lora_rank, heads, 2.0),
        "kv_compress": (rows, model.hidden_size, model.kv_lora_rank + model.qk_rope_head_dim, 1.0, 2.0),
    }
    after = {
        "s_kv_up": (rows, model.kv_lora_rank, model.v_head_dim, heads, 2.0),
        "output": (rows, heads * model.v_head_dim, model.hidden_size, 1.0, 2.0),
    }
    linears = _linears(point, curve, slips, before | after)
    return linears | {
        "flash_mla": _flash_mla(point, slips, micro_batch, queries),
        "dispatch": collective("dispatch", send(precision.dispatch_bytes)),
        "shared": model.n_shared_experts * ffn(expert_rows),
        "moe": roofline.of_use(experts_run * ffn(routed_rows), needed_share),
        "combine": collective("combine", send(precision.combine_bytes)),
    }


BEFORE = ("norms", "q_down", "q_up", "q_absorb", "kv_compress")  # operators up to the core of attention
AFTER = ("flash_mla", "s_kv_up", "output", "ffn_norm", "router")  # the core, and what follows up to the experts


def _parts(layer, sparse, layers, rest):
    """`pipelines.Parts` of a step with `sparse` of these {operator: Time}, its blocks those of all `layers`."""
    before, after = (pipelines.total(t for name, t in layer.items() if name in part) for part in (BEFORE, AFTER))
    none, experts = roofline.Time(), {name: layer[name] for name in ("dispatch", "shared", "combine")}
    times = pipelines.LayerTimes(
        before=before, after=after, reduce=none, routed=layer["moe"], down=none, closing=none, **experts
    )
    blocks = {name: layers * t for name, t in layer.items()}
    return pipelines.Parts(layer=times, layers=sparse, rest=rest, blocks=blocks)


def _links(point):
    """Both levels of the network; steps take no time, as in the study."""
    hw = point.hardware
    return network.Links(
        up_bytes_per_s=hw.scale_up_bytes_per_s * hw.scale_up_utilisation,
        out_bytes_per_s=point.nic.scale_out_bytes_per_s,
        up_step_s=0.0,
        out_step_s=0.0,
        domain=hw.scale_up_domain,
    )


def _whole_model(point, curve, slips, micro_batch, layer, draft):
    """`pipelines.Parts` with what the study leaves out, at the study's efficiencies.

    `draft` is the layer of the MTP module: one token of every sequence. Shapes, and bytes of norms and embedding:
    dsjax/MODEL.md, section 2; SwiGLU stays left out.
    """
    model, hidden = point.model, point.model.hidden_size
    drafts = arrays.asarray(point.deployment.mtp, micro_batch.dtype)
    rows = micro_batch * (1.0 + drafts)
    experts = arrays.asarray(model.n_routed_experts, micro_batch.dtype)
    shapes = {
        "router": (rows, hidden, experts, 1.0, 2.0),
        "dense_up": (rows, hidden, 2.0 * model.intermediate_size, 1.0, 2.0),
        "dense_down": (rows, model.intermediate_size, hidden, 1.0, 2.0),
        "head": (rows, hidden, model.vocab_size, 1.0, 2.0),
        "draft_router": (micro_batch, hidden, experts, 1.0, 2.0),
        "draft_projection": (micro_batch, 2.0 * hidden, hidden, 1.0, 2.0),
        "draft_head": (micro_batch, hidden, model.vocab_size, 1.0, 2.0),
    }
    gemms = _linears(point, curve, slips, shapes)

    def moved(elements):
        seconds = elements * point.precision.activation_bytes / point.hardware.hbm_bytes_per_s
        return roofline.Time(exposed_memory=seconds, busy_memory=seconds, ideal_memory=seconds)

    def complete(x, tokens, router):
        norms = moved(tokens * (4.0 * hidden + 2.0 * (model.q_lora_rank + model.kv_lora_rank)))
        return x | {"norms": norms, "ffn_norm": moved(4.0 * tokens * hidden), "router": gemms[router]}

    layer, draft = complete(layer, rows, "router"), complete(draft, micro_batch, "draft_router")
    dense = pipelines.total(t for name, t in layer.items() if name in (*BEFORE, *AFTER) and name != "router")
    layers, sparse = model.num_hidden_layers, model.num_hidden_layers - model.first_k_dense_replace
    module = pipelines.in_sequence(_parts(draft, sparse, layers, None).layer)
    module = module + gemms["draft_projection"] + gemms["draft_head"] + moved(8.0 * micro_batch * hidden)
    rest = model.first_k_dense_replace * (dense + gemms["dense_up"] + gemms["dense_down"])
    rest = rest + moved(2.0 * rows * hidden) + gemms["head"] + moved(4.0 * rows * hidden) + drafts * module
    return _parts(layer, sparse, layers, rest)


def _flash_mla(point, slips, micro_batch, queries):
    """Decode attention of one micro batch: two GEMMs, softmax on the vector units, the latent cache from memory."""
    hw, model, context = point.hardware, point.model, point.workload.context
    rows = model.num_attention_heads * queries
    efficiency = arrays.where(rows >= 256.0, hw.attention_256_rows, hw.attention_128_rows)
    rate = flops_per_s(hw, point.precision.attention_rate)
    width = model.kv_lora_rank + model.qk_rope_head_dim
    charged = context + slips.extra_tokens
    cycles = EXP2_PER_SCORE / hw.exp2_per_cycle + REDUCTIONS_PER_SCORE / hw.reduce_per_cycle
    return attention(
        scores=operators.attention_scores(micro_batch, rows, width, charged),
        values=operators.attention_scores(micro_batch, rows, model.kv_lora_rank, charged),
        needed_share=context / charged,
        flops_per_s=rate,
        efficiency=efficiency,
        softmax_s=micro_batch * rows * context * cycles / (hw.sms * hw.clock_cycles_per_s),
        latency_s=micro_batch * hw.thread_all_reduce_s,
        kv_bytes=micro_batch * operators.mla_kv_bytes(context, model, point.precision.kv_bytes),
        bytes_per_s=hw.hbm_bytes_per_s,
        softmax_overlap=hw.softmax_overlap,
    )


def _memory(point, batch):
    """Bytes per chip; embedding and head once each, whole on every card."""
    model, precision = point.model, point.precision
    slots = routing.expert_slots(model.n_routed_experts, point.deployment.ep)
    experts = arrays.asarray(slots, batch.dtype) + model.n_shared_experts
    return {
        "attention": model.num_hidden_layers * operators.mla_weights(model) * precision.weight_bytes,
        "experts": model.num_hidden_layers * operators.expert_weights(model) * experts * precision.expert_bytes,
        "embedding": 2.0 * operators.embedding_weights(model) * precision.weight_bytes,
        "kv_cache": operators.kv_cache_bytes(batch, point.workload.context, model, precision.kv_bytes),
    }


def _naive(parts, batch):
    return pipelines.naive(functools.partial(parts, experts_see_drafts=False), batch)


STUDY = Study(
    name="decode_gpu_2025",
    path=Path(__file__).with_suffix(".toml"),
    title="GPU decode of DeepSeek-V3, the 2025 study",
    step=step,
    records=records.STUDIED | {"hardware": Hardware, "nic": records.Link},
    policies={
        "pipeline": Policy("pipeline", {"dual-mbatch": pipelines.dual_micro_batch, "naive": _naive}),
    },
    deployment=("ep", "batch", "mtp"),
    workload=("context", "acceptance"),
    blocks=dict.fromkeys(
        "q_down q_up q_absorb kv_compress flash_mla s_kv_up output dispatch shared moe combine".split(), every_layer
    ),
    constraints={"memory": MEMORY},
    ties=("-batch", "kv_bytes"),
)


def attention(
    *,
    scores,
    values,
    needed_share,
    flops_per_s,
    efficiency,
    softmax_s,
    latency_s,
    kv_bytes,
    bytes_per_s,
    softmax_overlap,
):
    """Time of one attention kernel: Q K^T, softmax, P V, and the KV cache read beside them.

    g0, g1 = scores, values [FLOP] / (flops_per_s x efficiency); v = softmax_s + latency_s; n = `softmax_overlap`:
    n = 0: g0 + g1 + v; n = 1: g0 + max(v, g1); n = 2: max(v, g0 + g1); in between the GEMMs hide in proportion.
    The result is max(that, kv_bytes / bytes_per_s). `needed_share` of the flops is useful work.
    Source: FlashAttention-3 (arXiv:2407.08608), two- and three-stage pipelining.
    """
    g0 = scores / (flops_per_s * efficiency)
    g1 = values / (flops_per_s * efficiency)
    hidden = arrays.clip(softmax_overlap - 1.0, 0.0, 1.0) * g0 + arrays.clip(softmax_overlap, 0.0, 1.0) * g1
    alone = arrays.clip(2.0 - softmax_overlap, 0.0, 1.0) * g0 + arrays.clip(1.0 - softmax_overlap, 0.0, 1.0) * g1
    ideal = needed_share * (scores + values) / flops_per_s
    softmax = Time(exposed_compute=softmax_s, exposed_latency=latency_s, busy_compute=softmax_s)
    beside = Time(exposed_compute=hidden, busy_compute=hidden)
    rest = Time(exposed_compute=alone, busy_compute=alone, ideal_compute=ideal)
    read = kv_bytes / bytes_per_s
    return alongside(rest + alongside(softmax, beside), Time(exposed_memory=read, busy_memory=read, ideal_memory=read))
