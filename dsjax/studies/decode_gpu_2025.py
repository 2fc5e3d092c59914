"""GPU decode of DeepSeek-V3 under expert parallelism, as published in 2025, slips included.

Source: "Estimating the per-card throughput of chips that serve DeepSeek with EP" (V1.0, 2025-03-16): 29 + 37
published rows. The formulas are those of the library; what the study does differently is passed to them as arguments:

- every layer is a sparse one, and router, norms, embedding and head take no time;
- Q is compressed from `q_lora_rank` to `qk_nope_head_dim` and back up from there, instead of from `hidden_size`;
- every GEMM is charged at least 64 rows, attention 128 tokens beyond the context;
- each expert on the card computes every copy of every token of the micro batch;
- the naive pipeline forgets the draft tokens in the experts (not in dispatch and combine).
"""

import functools

import jax.numpy as jnp

from .. import collectives, memory, operators, pipelines, roofline, specs
from ..metrics import Step
from ..specs import flops_per_s
from . import Study, every_layer

LEAST_ROWS = 64.0
EXTRA_TOKENS = 128.0
EXP2_PER_SCORE, REDUCTIONS_PER_SCORE = 1.0, 2.0


@specs.record
class Hardware(specs.Chip):
    """An accelerator as the study describes it."""

    sms: float = specs.size("1", "streaming multiprocessors (cores)")
    clock_cycles_per_s: float = specs.rate("Hz", "core clock")
    exp2_per_cycle: float = specs.size("1", "exp2 per core and cycle")
    reduce_per_cycle: float = specs.size("1", "reduction steps per core and cycle")
    thread_all_reduce_s: float = specs.seconds(
        "all-reduce between the cores of one chip, per sequence and attention layer"
    )
    roofline_overlap: float = specs.fraction("share of the smaller of compute and memory time hidden behind the larger")
    softmax_overlap: float = specs.fraction(
        "GEMMs of attention that hide softmax: 0 none, 1 the second, 2 both", high=2.0
    )
    attention_128_rows: float = specs.share(
        "share of peak of decode attention at 128 query rows (heads x query tokens)"
    )
    attention_256_rows: float = specs.share(
        "share of peak of decode attention at 256 query rows (heads x query tokens)"
    )


def step(point, *, pipeline, gemm, expert_gemm):
    """One decode step of one card.  T_step = num_hidden_layers x T_layer."""
    d, model = point.deployment, point.model
    batch, ep = (jnp.asarray(x, point.workload.context.dtype) for x in (d.batch, d.ep))
    layers = model.num_hidden_layers

    def parts(micro_batch, experts_see_drafts=True):
        layer = _layer(point, gemm, expert_gemm, micro_batch, experts_see_drafts)
        return pipelines.Parts(layer=layer, layers=layers, rest={})

    time, both = pipeline(parts, batch)
    gained = 1.0 + operators.accepted_tokens(point.workload.acceptance, d.mtp)
    return Step(
        time=time,
        blocks={name: (layers * t).total for name, t in both.layer.operators().items()},
        memory=_memory(point, batch),
        masks={},
        tokens_per_user=gained,
        tokens_per_chip=batch * gained,
        ttft=jnp.full((), jnp.nan, batch.dtype),
        batch_total=batch * ep,
        chips=ep,
        dp=ep,
        ep=ep,
    )


def _layer(point, gemm, expert_gemm, micro_batch, experts_see_drafts):
    """Operators of one layer and micro batch (`LayerTimes`)."""
    hw, model, precision = point.hardware, point.model, point.precision
    queries = 1.0 + jnp.asarray(point.deployment.mtp, micro_batch.dtype)
    rows = micro_batch * queries
    heads, copies = model.num_attention_heads, model.num_experts_per_tok
    q_head = model.qk_nope_head_dim + model.qk_rope_head_dim

    def linear(k, n, groups, out_bytes):
        cost = operators.gemm(
            rows, k, n, groups=groups, in_bytes=precision.weight_bytes, out_bytes=out_bytes, least_rows=LEAST_ROWS
        )
        rate = flops_per_s(hw, precision.weight_rate)
        efficiency = gemm(point.curve, rows, k, n)
        return roofline.kernel(cost, rate, hw.hbm_bytes_per_s, efficiency, hw.roofline_overlap)

    def expert(side, m, k, n):
        cost = operators.gemm(m, k, n, in_bytes=precision.expert_bytes, out_bytes=4.0, least_rows=LEAST_ROWS)
        rate = flops_per_s(hw, precision.expert_rate)
        efficiency = expert_gemm(point.curve, side, m, k, n)
        return roofline.kernel(cost, rate, hw.hbm_bytes_per_s, efficiency, hw.roofline_overlap)

    def ffn(m):
        width = model.moe_intermediate_size
        return expert("up", m, model.hidden_size, 2.0 * width) + expert("down", m, width, model.hidden_size)

    def send(element_bytes):
        n_bytes = collectives.all_to_all_bytes(rows, model.hidden_size, copies, element_bytes)
        return roofline.transfer(n_bytes, point.nic.scale_out_bytes_per_s)

    expert_rows = rows if experts_see_drafts else micro_batch
    slots = jnp.asarray(memory.expert_slots(model.n_routed_experts, point.deployment.ep), rows.dtype)
    ffns = roofline.each(ffn, {"shared": (expert_rows,), "routed": (copies * expert_rows,)})
    before = {  # name: (K, N, groups, bytes per element of the result)
        "q_down": (model.q_lora_rank, model.qk_nope_head_dim, 1.0, 4.0),
        "q_up": (model.qk_nope_head_dim, heads * q_head, 1.0, 2.0),
        "q_absorb": (model.qk_nope_head_dim, model.kv_lora_rank, heads, 2.0),
        "kv_compress": (model.hidden_size, model.kv_lora_rank + model.qk_rope_head_dim, 1.0, 2.0),
    }
    after = {
        "s_kv_up": (model.kv_lora_rank, model.v_head_dim, heads, 2.0),
        "output": (heads * model.v_head_dim, model.hidden_size, 1.0, 2.0),
    }
    linears = roofline.each(linear, before | after)
    return pipelines.LayerTimes(
        before={name: linears[name] for name in before},
        after={"flash_mla": _flash_mla(point, micro_batch, queries), **{name: linears[name] for name in after}},
        dispatch=send(precision.dispatch_bytes),
        shared={"shared": model.n_shared_experts * ffns["shared"]},
        routed={"moe": roofline.of_use(slots * ffns["routed"], 1.0 / slots)},
        combine=send(precision.combine_bytes),
        closing={},
    )


def _flash_mla(point, micro_batch, queries):
    """Decode attention of one micro batch: two GEMMs, softmax on the vector units, the latent cache from memory."""
    hw, model, context = point.hardware, point.model, point.workload.context
    rows = model.num_attention_heads * queries
    efficiency = jnp.where(rows >= 256.0, hw.attention_256_rows, hw.attention_128_rows)
    rate = flops_per_s(hw, point.precision.attention_rate)
    width = model.kv_lora_rank + model.qk_rope_head_dim
    charged = context + EXTRA_TOKENS
    cycles = EXP2_PER_SCORE / hw.exp2_per_cycle + REDUCTIONS_PER_SCORE / hw.reduce_per_cycle
    return roofline.attention(
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
    slots = memory.expert_slots(model.n_routed_experts, point.deployment.ep)
    experts = jnp.asarray(slots, batch.dtype) + model.n_shared_experts
    return {
        "attention": model.num_hidden_layers * memory.mla_weights(model) * precision.weight_bytes,
        "experts": model.num_hidden_layers * memory.expert_weights(model) * experts * precision.expert_bytes,
        "embedding": 2.0 * memory.embedding_weights(model) * precision.weight_bytes,
        "kv_cache": memory.kv_cache_bytes(batch, point.workload.context, model, precision.kv_bytes),
    }


def _naive(parts, batch):
    return pipelines.naive(functools.partial(parts, experts_see_drafts=False), batch)


STUDY = Study(
    name="decode_gpu_2025",
    title="GPU decode of DeepSeek-V3, the 2025 study",
    step=step,
    records=specs.RECORDS | {"hardware": Hardware, "nic": specs.Link},
    policies={
        "pipeline": (("dual-mbatch", {"pipeline": pipelines.dual_micro_batch}), ("naive", {"pipeline": _naive})),
    },
    deployment=("ep", "batch", "mtp"),
    workload=("context", "acceptance"),
    blocks=dict.fromkeys(
        "q_down q_up q_absorb kv_compress flash_mla s_kv_up output dispatch shared moe combine".split(), every_layer
    ),
    ties=("-batch", "kv_bytes"),
)
