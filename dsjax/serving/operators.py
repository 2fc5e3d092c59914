"""The operators of the core model, one row each: the one table that times, memory, counts and names are read off.

A row (`rows.Operator`) holds the shape of an operator in one layer on one chip, the kernel that computes it, the layers
that hold it, the width of its weights, and where a step shows it. A step times every row that has a kernel (`step`);
the memory holds the weights of every row (`memory`); `count` sums shapes over layers and chips. So the three cannot
disagree.
"""

import dataclasses
from fractions import Fraction

from .. import arrays
from ..formulas.operators import attention, indexer, kinds, linear
from ..formulas.operators import layers as ffns
from . import rows
from .definition import (
    OF_A_LAYER,
    attention_layers,
    compressed_layers,
    dense_layers,
    ffn_layers,
    index_layers,
    mixer_layers,
    moe_layers,
    more_compressed_layers,
    once,
)
from .kernels import Kernels
from .rows import ATTENTION, DENSE, DRAFT, EMBEDDING, HEAD, LINEAR, MOE, NORM, REST, Operator

# Attention of layers that may have other sizes.
_ROTATION = Operator(
    "rotation", NORM, "pointwise", "before", Kernels.pointwise, attention.rotation, fused=True, counted=False
)
_GATE = rows.projection("gate", "before", attention.gate, kernel=Kernels.joined, needs="attention_gate")
_KEYS = rows.projection("kv_a", "before", attention.key_value, replicated=True, grouped="kv", kernel=Kernels.joined)
_QUERIES = rows.projection("q_b", "before", attention.query_up, grouped="q")
_CORE = Operator("attention", ATTENTION, "core", "after", Kernels.attention, attention.absorbed, causal=False)
_PROMPT = Operator("attention", ATTENTION, "core", "after", Kernels.attention, attention.prompt, causal=True)
_OUTPUT = rows.projection("o", "after", attention.output)
_EXCHANGE = rows.collective(
    "kv_exchange", "after", Kernels.kv_exchange, ffns.split_attention, attention_layers, causal=False
)
_HEAD_NORMS = Operator(
    "qk_norm", NORM, "pointwise", REST, None, ffns.head_norms, attention_layers, replicated=True, active=False
)
_BIAS = rows.bias("attention_bias", NORM, "o", ffns.attention_bias, attention_layers)

OPERATORS = (
    Operator(
        "embedding",
        EMBEDDING,
        "embedding",
        REST,
        Kernels.lookup,
        ffns.embedding,
        once,
        "embedding_bytes",
        stored=rows.untied,
    ),
    # Attention, up to its core.
    rows.mix("attention_mix", "before", mixer_layers),
    rows.norm("attention_norm", ffns.stream_norm, mixer_layers, kernel=Kernels.normed, launches=0.5),
    rows.norm("q_a_norm", ffns.query_norm, attention_layers, fused=True),
    rows.norm("kv_a_norm", ffns.latent_norm, attention_layers, fused=True),
    _ROTATION,
    rows.windowed(_ROTATION),
    rows.projection("q_a", "before", attention.query_down, replicated=True),
    _KEYS,
    _QUERIES,
    _GATE,
    rows.projection("kv_b", "before", attention.key_value_up, causal=True),
    rows.projection("absorb_k", "before", attention.absorb_keys, "kv_b", causal=False, weights="absorbed_bytes"),
    *(rows.windowed(row) for row in (_KEYS, _QUERIES, _GATE)),
    rows.compression("compress", attention.compress, compressed_layers, "csa_layers"),
    rows.compression("compress_more", attention.compress_more, more_compressed_layers, "hca_layers"),
    rows.indexer("index_q", Kernels.gemm, indexer.index_query),
    rows.indexer("index_k", Kernels.gemm, indexer.index_key),
    rows.indexer("index_scores", Kernels.scores, indexer.index_scores),
    rows.indexer("index_selection", Kernels.selection, indexer.index_selection, counted=False),
    # Linear layers, up to their core.
    rows.linear("linear_in", "before", Kernels.gemm, linear.projection),
    rows.linear("linear_gate_a", "before", Kernels.gemm, linear.gate_down, replicated=True, needs="linear_gates"),
    rows.linear("linear_gate_b", "before", Kernels.gemm, linear.gate_up, needs="linear_gates"),
    rows.linear("linear_conv", "before", Kernels.convolving, linear.convolution, active=False, needs="linear_conv"),
    # Cores, and what follows up to the FFN.
    _CORE,
    _PROMPT,
    rows.windowed(_CORE),
    rows.windowed(_PROMPT),
    rows.linear("linear_core", "after", Kernels.recurrent, linear.core),
    rows.linear("linear_norm", "after", Kernels.pointwise, linear.gated_norm),
    _EXCHANGE,
    rows.windowed(_EXCHANGE),
    rows.projection("absorb_v", "after", attention.absorb_values, "kv_b", causal=False, weights="absorbed_bytes"),
    rows.projection("o_a", "after", attention.output_down, "o", needs="o_groups"),
    _OUTPUT,
    rows.windowed(_OUTPUT),
    rows.linear("linear_out", "after", Kernels.gemm, linear.output),
    rows.collective("all_reduce", "reduce", Kernels.all_reduce, ffns.hidden_states, mixer_layers),
    rows.mix("ffn_mix", "after", ffn_layers),
    rows.norm("ffn_norm", ffns.stream_norm, ffn_layers, "after", Kernels.quantising, launches=0.25),
    _HEAD_NORMS,
    rows.windowed(_HEAD_NORMS),
    rows.norm("index_k_norm", ffns.index_key_norm, index_layers, REST, None),
    _BIAS,
    rows.windowed(_BIAS),
    rows.positions("index_positions", indexer.index_embedding, index_layers, "index_topk"),
    rows.positions("compress_positions", attention.compression_embedding, compressed_layers, "csa_layers"),
    rows.positions("more_positions", attention.more_compression_embedding, more_compressed_layers, "hca_layers"),
    # A MoE FFN, all others.
    Operator("router", MOE, "router", "after", Kernels.gemm, ffns.router, moe_layers, "head_bytes", replicated=True),
    rows.experts("latent_down", "latent", "after", Kernels.gemm, ffns.latent_down, **rows.LATENT),
    rows.experts("dispatch", "dispatch", "dispatch", Kernels.dispatch, ffns.routed_states, counted=False),
    rows.experts("shared_gate_up", "shared", "shared", Kernels.expert, ffns.shared_up, weights="shared_bytes"),
    rows.experts("shared_swiglu", "pointwise", "shared", Kernels.beside, ffns.shared_swiglu, launches=0.125),
    rows.experts("shared_down", "shared", "shared", Kernels.expert, ffns.shared_down, weights="shared_bytes"),
    rows.experts("routed_gate_up", "routed", "routed", Kernels.routed_up, ffns.routed_up, routed=True),
    rows.experts(
        "routed_swiglu", "pointwise", "routed", Kernels.sorting, ffns.routed_swiglu, launches=0.125, routed=True
    ),
    rows.experts("routed_down", "routed", "down", Kernels.routed_down, ffns.routed_down, routed=True),
    rows.experts("combine", "combine", "combine", Kernels.combine, ffns.routed_states, counted=False),
    rows.experts("latent_up", "latent", "closing", Kernels.gemm, ffns.latent_up, **rows.LATENT),
    rows.bias("router_bias", MOE, "router", ffns.router_bias, moe_layers, weights="head_bytes", replicated=True),
    rows.bias("routed_bias", MOE, "routed", ffns.routed_bias, moe_layers, weights="expert_bytes", routed=True),
    rows.collective("all_reduce_ffn", "closing", Kernels.all_reduce, ffns.hidden_states, ffn_layers, "all_reduce"),
    # A dense FFN, the first layers.
    rows.dense("dense_gate_up", ffns.dense_up),
    Operator("dense_swiglu", DENSE, "dense", REST, Kernels.activated, ffns.dense_swiglu, dense_layers, launches=0.25),
    rows.dense("dense_down", ffns.dense_down),
    rows.bias("dense_bias", DENSE, "dense", ffns.dense_bias, dense_layers, weights="dense_bytes"),
    # Both ends, and the MTP module beside its layer.
    Operator("final_norm", HEAD, "head", REST, Kernels.pointwise, ffns.final_norm, once, replicated=True, active=False),
    Operator(
        "head_mix",
        HEAD,
        "head",
        REST,
        Kernels.pointwise,
        ffns.last_mix,
        once,
        "head_bytes",
        replicated=True,
        active=False,
        needs="residual_streams",
    ),
    Operator("head", HEAD, "head", REST, Kernels.gemm, ffns.head, once, "head_bytes"),
    Operator("draft_norms", DRAFT, "mtp", REST, Kernels.pointwise, ffns.draft_norms, once, replicated=True),
    Operator("eh_proj", DRAFT, "mtp", REST, Kernels.gemm, ffns.draft_projection, once, replicated=True),
    Operator("mtp_head", DRAFT, "mtp", REST, Kernels.gemm, ffns.head, once, "head_bytes", stored=rows.lent),
    # Counted and stored only.
    rows.bias("vectors", NORM, "pointwise", ffns.vectors, once, replicated=True, needs="vector_parameters"),
    rows.bias("towers", EMBEDDING, "embedding", ffns.towers, once, weights="head_bytes", needs="vision_parameters"),
)

# Part of the memory that holds the weights of a section.
_HELD_IN = {EMBEDDING: "embedding", HEAD: "embedding", DENSE: "dense", MOE: "experts", DRAFT: "mtp"}
_HELD_IN |= dict.fromkeys((NORM, ATTENTION, LINEAR), "attention")


def of_phase(causal, model):
    """The operators of a model in prefill (`causal`) or in decode, in the order of execution.

    What no model of a space has (None of it), or a model of Python numbers (0), is left out.
    """
    return tuple(row for row in OPERATORS if row.causal in (None, causal) and _there(row, model))


def _there(row, model):
    if not row.needs:
        return True
    number = getattr(model, row.needs)
    return number is not None and not (isinstance(number, int | float | Fraction) and number == 0)


@dataclasses.dataclass(frozen=True)
class Stage:
    """Layers of one stage of the pipeline of layers: a model of as many, and its share of either end."""

    model: object  # with the layers of the stage in place of all
    first: float | None = None  # 1: it has the embedding, 0: it has not; None: it has, and no stage has not
    last: float | None = None  # the same of the head and the MTP module

    def layers(self, row):
        """Layers of the stage that hold an operator."""
        end = self.first if row.section == EMBEDDING else self.last if row.section in (HEAD, DRAFT) else None
        return row.layers(self.model) if end is None else end * row.layers(self.model)

    def stored(self, row):
        """Share of an operator's weights that the stage stores: the embedding has a table of its own where the head,
        which may be tied to it, is another stage's."""
        stored = row.stored(self.model)
        if self.last is None or row.stored is not rows.untied:
            return stored
        return arrays.maximum(stored, 1.0 - self.last)


def weight_bytes(of, stage, model, work, widths):
    """{part of the memory: B} of the weights of one chip of a stage; `widths` {field of the precision: bytes}.

    `mtp`: one MTP module, which has one MoE layer, with an indexer where attention is sparse.
    """
    found = dict.fromkeys(("attention", "dense", "experts", "embedding", "mtp"), 0)
    for row in of:
        one = stage.stored(row) * row.shape(row.view(model), work).weights * widths[row.weights]
        found[_HELD_IN[row.section]] = found[_HELD_IN[row.section]] + stage.layers(row) * one
        if row.layers in OF_A_LAYER:
            found["mtp"] = found["mtp"] + (one if stage.last is None else stage.last * one)
    return found


# Block of a step -> layers that hold it, in the order of execution.
BLOCKS = {row.block: row.layers for row in reversed(OPERATORS) if row.kernel}
BLOCKS = {name: BLOCKS[name] for name in dict.fromkeys(row.block for row in OPERATORS if row.kernel)}
# Of those of attention, layers with sizes of their own too.
BLOCKS = {name: kinds.attentions if layers is attention_layers else layers for name, layers in BLOCKS.items()}
BLOCKS["send"] = once  # from one stage of the pipeline of layers to the next


def blocks_of(model):
    """Blocks of a step of a model: those that only some models have are left out where no model of a space is one."""
    there = {row.block for row in OPERATORS if row.kernel and _there(row, model)}
    return [name for name in BLOCKS if name in there or name == "mtp"]
