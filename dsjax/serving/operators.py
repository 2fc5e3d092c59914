"""The operators of the core model, one row each: the one table that times, memory, counts and names are read off.

A row holds the shape of an operator in one layer on one chip, the kernel that computes it, the layers that hold it, the
width of its weights, and where a step shows it. A step times every row that has a kernel (`step`); the memory holds the
weights of every row (`memory`); `count` sums shapes over layers and chips. So the three cannot disagree.
"""

import dataclasses
from collections.abc import Callable

from .. import arrays
from ..formulas import attention, layers
from .definition import OF_A_LAYER, dense_layers, every_layer, index_layers, moe_layers, once
from .kernels import Kernels


def whole(model):
    """All of an operator's weights are its own."""
    del model
    return 1


def untied(model):
    """The embedding has a table of its own, unless it is the head's."""
    return 1 - model.tie_word_embeddings


def lent(model):
    """The head of the MTP module is the model's."""
    del model
    return 0


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator of the core model: a row of the table."""

    name: str
    section: str  # of the model, as counts and memory group it: one of SECTIONS
    block: str  # of a step, as `block_time` shows it
    part: str  # of a MoE layer, as pipelines overlap it (a field of `pipelines.LayerTimes`); REST outside of layers
    kernel: Callable | None  # method of `Kernels`: (shape, operator, work) -> Time; None: no time of its own
    shape: Callable  # (model, work) -> shape of one layer on one chip
    layers: Callable = every_layer  # model -> layers that hold it
    weights: str = "weight_bytes"  # field of the precision: bytes of a parameter
    replicated: bool = False  # every chip of a tensor-parallel group does the whole of it, so tp multiplies it
    causal: bool | None = None  # in prefill alone (True), in decode alone (False), in both
    launches: float | None = None  # share of a layer's launches of pointwise kernels; None: one launch of its own
    fused: bool = False  # into the launch of the pointwise row before it
    counted: bool = True  # as work of the model; what only moves data about is not
    active: bool = True  # whether its parameters count among those that a token uses; norms and biases do not
    routed: bool = False  # weights of the routed experts, of which a token uses top-k
    stored: Callable = whole  # model -> share of its weights that no other operator stores
    grouped: str = ""  # its name in a model of grouped-query attention

    def name_in(self, model):
        """Name of the operator in a model, by the kind of attention."""
        return self.grouped if self.grouped and not model.kv_lora_rank else self.name

    def replicated_in(self, model):
        """Whether every chip of a group does the whole operator: MLA shares a latent, grouped queries split heads."""
        return self.replicated and self.name_in(model) != self.grouped


EMBEDDING, NORM, ATTENTION, DENSE, MOE, HEAD, DRAFT = SECTIONS = (
    "embedding",
    "norm",
    "attention",
    "dense",
    "moe",
    "head",
    "mtp",
)
REST = "rest"


def _norm(name, shape, block="pointwise", part="before", kernel=Kernels.pointwise, **options):
    return Operator(name, NORM, block, part, kernel, shape, replicated=True, active=False, **options)


def _bias(name, section, block, shape, layers, **options):
    return Operator(name, section, block, REST, None, shape, layers, active=False, **options)


def _projection(name, part, shape, block=None, kernel=Kernels.gemm, **options):
    return Operator(name, ATTENTION, block or name, part, kernel, shape, **options)


def _dense(name, shape):
    return Operator(name, DENSE, "dense", REST, Kernels.gemm, shape, dense_layers, "dense_bytes")


def _indexer(name, kernel, shape, **options):
    return Operator(name, ATTENTION, "indexer", "before", kernel, shape, index_layers, replicated=True, **options)


def _experts(name, block, part, kernel, shape, **options):
    return Operator(name, MOE, block, part, kernel, shape, moe_layers, **{"weights": "expert_bytes"} | options)


def _collective(name, part, kernel, shape, block=None, **options):
    return Operator(name, ATTENTION, block or name, part, kernel, shape, counted=False, **options)


OPERATORS = (
    Operator(
        "embedding",
        EMBEDDING,
        "embedding",
        REST,
        Kernels.lookup,
        layers.embedding,
        once,
        "embedding_bytes",
        stored=untied,
    ),
    # Attention, up to its core.
    _norm("attention_norm", layers.stream_norm, kernel=Kernels.normed, launches=0.5),
    _norm("q_a_norm", layers.query_norm, fused=True),
    _norm("kv_a_norm", layers.latent_norm, fused=True),
    Operator("rotation", NORM, "pointwise", "before", Kernels.pointwise, attention.rotation, fused=True, counted=False),
    _projection("q_a", "before", attention.query_down, replicated=True),
    _projection("kv_a", "before", attention.key_value, replicated=True, grouped="kv", kernel=Kernels.joined),
    _projection("q_b", "before", attention.query_up, grouped="q"),
    _projection("kv_b", "before", attention.key_value_up, causal=True),
    _projection("absorb_k", "before", attention.absorb_keys, "kv_b", causal=False, weights="absorbed_bytes"),
    _indexer("index_q", Kernels.gemm, attention.index_query),
    _indexer("index_k", Kernels.gemm, attention.index_key),
    _indexer("index_scores", Kernels.scores, attention.index_scores),
    _indexer("index_selection", Kernels.selection, attention.index_selection, counted=False),
    # Its core, and what follows up to the FFN.
    Operator("attention", ATTENTION, "core", "after", Kernels.attention, attention.absorbed, causal=False),
    Operator("attention", ATTENTION, "core", "after", Kernels.attention, attention.prompt, causal=True),
    _collective("kv_exchange", "after", Kernels.kv_exchange, layers.split_attention, causal=False),
    _projection("absorb_v", "after", attention.absorb_values, "kv_b", causal=False, weights="absorbed_bytes"),
    _projection("o", "after", attention.output),
    _collective("all_reduce", "reduce", Kernels.all_reduce, layers.hidden_states),
    _norm("ffn_norm", layers.stream_norm, part="after", kernel=Kernels.quantising, launches=0.25),
    _norm("qk_norm", layers.head_norms, part=REST, kernel=None),
    _norm("index_k_norm", layers.index_key_norm, part=REST, kernel=None, layers=index_layers),
    _bias("attention_bias", NORM, "o", layers.attention_bias, every_layer),
    # A MoE FFN, all others.
    Operator("router", MOE, "router", "after", Kernels.gemm, layers.router, moe_layers, "head_bytes", replicated=True),
    _experts("dispatch", "dispatch", "dispatch", Kernels.dispatch, layers.routed_states, counted=False),
    _experts("shared_gate_up", "shared", "shared", Kernels.expert, layers.shared_up, weights="shared_bytes"),
    _experts("shared_swiglu", "pointwise", "shared", Kernels.beside, layers.shared_swiglu, launches=0.125),
    _experts("shared_down", "shared", "shared", Kernels.expert, layers.shared_down, weights="shared_bytes"),
    _experts("routed_gate_up", "routed", "routed", Kernels.routed_up, layers.routed_up, routed=True),
    _experts(
        "routed_swiglu", "pointwise", "routed", Kernels.sorting, layers.routed_swiglu, launches=0.125, routed=True
    ),
    _experts("routed_down", "routed", "down", Kernels.routed_down, layers.routed_down, routed=True),
    _experts("combine", "combine", "combine", Kernels.combine, layers.routed_states, counted=False),
    _bias("router_bias", MOE, "router", layers.router_bias, moe_layers, weights="head_bytes", replicated=True),
    _bias("routed_bias", MOE, "routed", layers.routed_bias, moe_layers, weights="expert_bytes", routed=True),
    _collective("all_reduce_ffn", "closing", Kernels.all_reduce, layers.hidden_states, "all_reduce"),
    # A dense FFN, the first layers.
    _dense("dense_gate_up", layers.dense_up),
    Operator("dense_swiglu", DENSE, "dense", REST, Kernels.activated, layers.dense_swiglu, dense_layers, launches=0.25),
    _dense("dense_down", layers.dense_down),
    _bias("dense_bias", DENSE, "dense", layers.dense_bias, dense_layers, weights="dense_bytes"),
    # Both ends, and the MTP module beside its layer.
    Operator(
        "final_norm", HEAD, "head", REST, Kernels.pointwise, layers.final_norm, once, replicated=True, active=False
    ),
    Operator("head", HEAD, "head", REST, Kernels.gemm, layers.head, once, "head_bytes"),
    Operator("draft_norms", DRAFT, "mtp", REST, Kernels.pointwise, layers.draft_norms, once, replicated=True),
    Operator("eh_proj", DRAFT, "mtp", REST, Kernels.gemm, layers.draft_projection, once, replicated=True),
    Operator("mtp_head", DRAFT, "mtp", REST, Kernels.gemm, layers.head, once, "head_bytes", stored=lent),
)

# Part of the memory that holds the weights of a section.
_HELD_IN = {EMBEDDING: "embedding", NORM: "attention", ATTENTION: "attention", DENSE: "dense", MOE: "experts"}
_HELD_IN |= {HEAD: "embedding", DRAFT: "mtp"}


def of_phase(causal):
    """The operators of prefill (`causal`) or of decode, in the order of execution."""
    return tuple(row for row in OPERATORS if row.causal in (None, causal))


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
        if self.last is None or row.stored is not untied:
            return stored
        return arrays.maximum(stored, 1.0 - self.last)


def weight_bytes(rows, stage, work, widths):
    """{part of the memory: B} of the weights of one chip of a stage; `widths` {field of the precision: bytes}.

    `mtp`: one MTP module, which has one MoE layer, with an indexer where attention is sparse.
    """
    found = dict.fromkeys(("attention", "dense", "experts", "embedding", "mtp"), 0)
    for row in rows:
        one = stage.stored(row) * row.shape(stage.model, work).weights * widths[row.weights]
        found[_HELD_IN[row.section]] = found[_HELD_IN[row.section]] + stage.layers(row) * one
        if row.layers in OF_A_LAYER:
            found["mtp"] = found["mtp"] + (one if stage.last is None else stage.last * one)
    return found


# Block of a step -> layers that hold it, in the order of execution.
BLOCKS = {row.block: row.layers for row in reversed(OPERATORS) if row.kernel}
BLOCKS = {name: BLOCKS[name] for name in dict.fromkeys(row.block for row in OPERATORS if row.kernel)}
BLOCKS["send"] = once  # from one stage of the pipeline of layers to the next
