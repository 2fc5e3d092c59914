"""DeepSeek-V3 on SG2260E chips with tensor, data, expert and sequence parallelism, decode and prefill.

Source: "SG2260E deployment study of DeepSeek-V3" (2025). It prints its tables and counting formulas, but not every rule
of the program behind them; this is a closed form with the study's constants and a few *effective* ones, matched to its
table of block times. The formulas are those of the library; what the study does differently:

- compute and memory time of an operator add;
- a GEMM reads and writes its activations from and to memory, at 2 bytes; norms, softmax and SwiGLU take no time;
- in decode every chip of a group unfolds the values of all heads, and reads less than its latent cache;
- prefill attention has no causal half;
- every expert of a chip computes the same whole number of rows; dispatch and combine keep no row at home;
- an all-reduce charges the starts of one round of its ring; in an all-reduce of islands both rings carry everything
  and run at once.
"""

import dataclasses
import functools
import math
import operator
from pathlib import Path

import numpy as np

from .. import arrays
from ..formulas import roofline
from ..formulas.constraints import masks
from ..formulas.efficiency import Efficiency
from ..formulas.metrics import Step
from ..serving.definition import Policy, Study, dense_layers, every_layer, moe_layers, once
from ..specs import fields, records, trees
from . import operators
from .sg2260e_phases import CONSTRAINTS, STEP, decode, layout, prefill


@fields.record
class Hardware(records.Chip):
    """The chip as the study describes it, and the effective constants its tables imply."""

    scale_up_bytes_per_s: float = fields.rate("B/s", "link inside a tensor-parallel group, per chip, one way")
    scale_up_utilisation: float = fields.share("share of it that a transfer reaches")
    scale_up_step_s: float = fields.seconds("start of one message of a collective")
    hbm_utilisation: float = fields.share("share of the memory bandwidth that is reached")
    operator_hbm_utilisation: float = fields.share("the same once more, in operators other than the embedding")
    decode_matmul_utilisation: float = fields.share("share of the peak of a GEMM in decode")
    prefill_matmul_utilisation: float = fields.share("share of the peak of a GEMM in prefill")
    roofline_overlap: float = fields.fraction(
        "share of the smaller of compute and memory time hidden behind the larger"
    )
    embedding_passes: float = fields.amount("1", "times the embedding's output crosses the memory")
    kv_read_bytes: float = fields.amount("B", "bytes that decode reads per element of the latent cache")
    decode_all_reduces: float = fields.amount("1", "all-reduces per layer in decode")
    prefill_all_reduces: float = fields.amount("1", "all-reduces per layer in prefill (reduce-scatter and all-gather)")
    counted_parameters: float = fields.amount("1", "parameters per token that the MFU counts, beside attention")


@fields.record
class Nic(records.Nic):
    """The switches between groups, and the islands of chips that an all-reduce is split into."""

    island_of_8: int = fields.count("chips of an island in an all-reduce of 8 chips; 8: one ring", high=8)
    island_of_16: int = fields.count("chips of an island in an all-reduce of 16 chips; 16: one ring", high=16)
    island_of_32: int = fields.count("chips of an island in an all-reduce of 32 chips; 32: one ring", high=32)


BLOCKS = {
    "Embedding": once,
    "MM_QKV": every_layer,
    "MLA": every_layer,
    "Attention_FC": every_layer,
    "Dense_MLP": dense_layers,
    "MoE": moe_layers,
    "LM_Head": once,
    "All_reduce": every_layer,
}


def step(point, *, phase, pipeline, collective=roofline.as_is):
    """One pass of one chip.  T = sum over blocks of layers x T_block, dispatch and combine in MoE.

    `collective`: function (name, Time) -> Time that every collective passes.
    """
    hw, model, context = point.hardware, point.model, point.workload.context
    parts, found = layout(point)
    work = phase(point, parts)

    def blocks(sequences):
        times, all_to_all = _blocks(point, parts, work, sequences, collective)
        return {name: BLOCKS[name](model) * t for name, t in times.items()}, moe_layers(model) * all_to_all

    time, (times, all_to_all), micro_batches = pipeline(blocks, work.sequences)
    times["MoE"] = times["MoE"] + all_to_all
    tokens_per_chip = work.tokens * work.sequences / parts.chips
    flops = 2.0 * hw.counted_parameters + model.num_hidden_layers * operators.attention_scores(
        1.0, model.num_attention_heads, work.score_width, context
    )
    peak = roofline.flops_per_s(hw, np.int32(records.RATES.index("int8")))
    return Step(
        # The study's MFU: its own count of flops against the 8-bit peak.
        time=dataclasses.replace(time, ideal_compute=tokens_per_chip * flops / peak),
        blocks={name: times[name] for name in BLOCKS},
        memory=_memory(point, parts, work.sequences / parts.chips),
        masks=found | masks(STEP, (work, micro_batches)),
        tokens_per_user=arrays.where(work.is_prefill, math.nan, arrays.ones_like(context)),
        tokens_per_chip=tokens_per_chip,
        ttft=arrays.where(work.is_prefill, time.total, math.nan),
        batch_total=work.sequences,
        chips=parts.chips,
        dp=parts.dp,
        ep=parts.ep,
    )


def naive(blocks, sequences):
    """One batch, everything in sequence: (time of the step, blocks' own times, micro batches)."""
    times, all_to_all = blocks(sequences)
    return _sum(times) + all_to_all, (times, all_to_all), 1


def two_batch_overlap(blocks, sequences):
    """Two half batches, each reading all weights; the all-to-all of one hides entirely behind the other.

    T = 2 T(half, no all-to-all)
    """
    both = trees.mapped(lambda seconds: 2.0 * seconds, blocks(sequences / 2.0))
    times, all_to_all = both
    return _sum(times) + roofline.hidden(all_to_all), both, 2


def _sum(times):
    return functools.reduce(operator.add, times.values())


def _blocks(point, parts, phase, sequences, collective):
    """({block: Time} of one layer, Time of dispatch and combine in one MoE layer).

    M `rows`: tokens of one group, which all of its chips work on; `own`: M / sp.
    """
    hw, nic, model, precision = point.hardware, point.nic, point.model, point.precision
    hidden, context = model.hidden_size, point.workload.context
    prompts = sequences / parts.dp
    rows = prompts * phase.tokens
    own = rows / phase.sp

    def timed(cost, rate, memory_share):
        efficiency = Efficiency(phase.matmul_utilisation, memory_share)
        peak = roofline.flops_per_s(hw, rate)
        return roofline.kernel(cost, peak, hw.hbm_bytes_per_s, efficiency, hw.roofline_overlap)

    reached = hw.hbm_utilisation * hw.operator_hbm_utilisation
    inside = hw.scale_up_bytes_per_s * hw.scale_up_utilisation, hw.scale_up_step_s
    between = nic.scale_out_bytes_per_s * nic.scale_out_utilisation, nic.scale_out_step_s

    def matmul(m, k, n, groups=1.0, weight_bytes=precision.weight_bytes, rate=precision.weight_rate):
        active = precision.activation_bytes
        cost = operators.gemm(m, k, n, groups=groups, in_bytes=active, weight_bytes=weight_bytes, out_bytes=active)
        return timed(cost, rate, reached)

    def ffn(m, width, **options):
        return 2.0 * matmul(m, hidden, width, **options) + matmul(m, width, hidden, **options)

    experts = {"weight_bytes": precision.expert_bytes, "rate": precision.expert_rate}
    routed = operators.whole_parts(model.num_experts_per_tok * phase.tokens * sequences, parts.ep)
    padded = operators.whole_parts(routed, parts.experts)
    width = model.moe_intermediate_size / parts.moe_tp
    shared_width = model.n_shared_experts * model.moe_intermediate_size / parts.tp
    scores = operators.attention_scores(rows, parts.heads, phase.score_width, context)
    core = roofline.Cost(flops=scores, charged_flops=scores, bytes=rows * phase.core_bytes)
    embedding = hw.embedding_passes * own * hidden * precision.activation_bytes
    look_up = roofline.Cost(flops=arrays.zeros_like(own), charged_flops=arrays.zeros_like(own), bytes=embedding)
    key_width = model.qk_nope_head_dim + model.qk_rope_head_dim
    up_width = phase.up_heads * (model.qk_nope_head_dim + model.v_head_dim)
    n_bytes = rows * hidden * precision.activation_bytes
    reduce = operators.island_all_reduce(parts.tp, _island(parts.tp, nic), n_bytes, inside, between)
    times = {
        "Embedding": timed(look_up, precision.weight_rate, hw.hbm_utilisation),
        "MM_QKV": matmul(own, hidden, model.q_lora_rank)
        + matmul(own, hidden, model.kv_lora_rank + model.qk_rope_head_dim)
        + matmul(rows, model.q_lora_rank, parts.heads * key_width)
        + matmul(rows, model.kv_lora_rank, up_width),
        "MLA": timed(core, precision.attention_rate, reached),
        "Attention_FC": matmul(rows, parts.heads * model.v_head_dim, hidden),
        "Dense_MLP": ffn(rows, model.intermediate_size / parts.tp),
        "MoE": ffn(padded, width, groups=parts.experts, **experts)
        + ffn(rows, shared_width, **experts)
        + matmul(own, hidden, parts.experts * parts.ep),
        # Only the last token of a prompt needs logits; decode has one token per sequence.
        "LM_Head": matmul(prompts, hidden, model.vocab_size / parts.tp),
        "All_reduce": phase.all_reduces * collective("all_reduce", reduce),
    }
    sent = routed * hidden / parts.moe_tp
    dispatch, combine = (
        collective(name, operators.gathered_all_to_all(sent * element_bytes, parts.moe_tp, inside, between))
        for name, element_bytes in (("dispatch", precision.dispatch_bytes), ("combine", precision.combine_bytes))
    )
    return times, dispatch + combine


def _island(members, nic):
    """Chips of one island of an all-reduce over `members` chips; all of them unless there are 8, 16 or 32."""
    island = members
    for n, chips in ((8.0, nic.island_of_8), (16.0, nic.island_of_16), (32.0, nic.island_of_32)):
        island = arrays.where(members == n, arrays.asarray(chips, members.dtype), island)
    return island


def _memory(point, parts, sequences):
    """Bytes per chip: what has heads or a width is split by tp or moe_tp ep, the rest is on every chip."""
    model, precision = point.model, point.precision
    down, moe = operators.mla_down_weights(model), moe_layers(model)
    attention = down + (operators.mla_weights(model) - down) / parts.tp
    experts = parts.experts / parts.moe_tp + model.n_shared_experts / parts.tp
    dense = model.num_hidden_layers * attention + dense_layers(model) * operators.dense_weights(model) / parts.tp
    return {
        "attention_and_dense": dense * precision.weight_bytes,
        "experts": moe * operators.expert_weights(model) * experts * precision.expert_bytes,
        "router": moe * operators.router_weights(model) * precision.weight_bytes,
        "embedding": operators.embedding_weights(model) * (1.0 + 1.0 / parts.tp) * precision.weight_bytes,
        "kv_cache": operators.kv_cache_bytes(sequences, point.workload.context, model, precision.kv_bytes),
    }


STUDY = Study(
    name="sg2260e",
    path=Path(__file__).with_suffix(".toml"),
    title="DeepSeek-V3 on SG2260E chips, the 2025 deployment study",
    step=step,
    records=records.STUDIED | {"hardware": Hardware, "nic": Nic},
    policies={
        "phase": Policy("phase", {"decode": decode, "prefill": prefill}),
        "pipeline": Policy("pipeline", {"naive": naive, "tbo": two_batch_overlap}),
    },
    deployment=("tp", "moe_tp", "ep", "sp", "chips", "batch", "prompts"),
    workload=("context",),
    blocks=BLOCKS,
    constraints=CONSTRAINTS,
    ties=("-batch",),
    curve=False,
)
