"""What all chips together compute, store, move and send in one forward pass, in exact Python numbers.

Everything is read off the shapes in `layers`: what one chip does, times the chips.
"""

import dataclasses
from fractions import Fraction

from ..formulas import attention as attentions
from ..formulas import layers, shapes
from ..formulas.network import all_to_all_bytes
from ..formulas.routing import expert_slots
from ..formulas.shapes import over

# What is counted of every operator, in all layers and on all chips: variable -> (units, long_name)
COUNTS = {
    "parameters": ("1", "parameters of the model, each once"),
    "active_parameters": ("1", "parameters one token uses: top-k of the routed experts, the embedding, no norms"),
    "flops": ("FLOP", "FLOPs of the matrix products, 2 per multiplication"),
    "stored_bytes": ("B", "weights stored, every copy on every chip"),
    "weight_bytes": ("B", "weights read; of the routed experts those expected to be hit"),
    "activation_bytes": ("B", "activations read and written, each operator on its own"),
    "kv_bytes": ("B", "KV cache read by attention, on every chip of a tensor-parallel group, and written"),
    "communication_bytes": ("B", "bytes sent from chip to chip"),
}
# Kinds of layer -> the blocks that make one
LAYER_KINDS = {"dense": ("norm", "mla", "gqa", "dense"), "moe": ("norm", "mla", "gqa", "moe")}


@dataclasses.dataclass(frozen=True)
class Layout:
    """How an instance splits the model: chips = moe_tp ep = tp dp."""

    tp: int = 1
    ep: int = 1
    moe_tp: int = 1

    @property
    def chips(self):
        """Chips of the instance."""
        return self.moe_tp * self.ep

    @property
    def dp(self):
        """Groups of tp chips, each with sequences of its own."""
        return self.chips // self.tp


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator of the model, and what all chips together do in all the layers that hold it."""

    block: str
    layers: int
    shape: object  # of one layer on one chip; None for a collective
    counts: dict  # {name in COUNTS: number}


def exact(model, phase, batch, context, width, layout):
    """{operator: Operator} in Python numbers; `width` = {field of the precision: bytes per element}."""
    tokens = batch * (context if phase == "prefill" else 1)
    once = _shapes(model, phase, 1, context, Layout())
    result = {}
    for name, (block, n, shape) in _shapes(model, phase, batch, context, layout).items():
        expert = name.startswith(("shared", "routed"))
        weight, everywhere = width["expert_bytes" if expert else "weight_bytes"], n * layout.chips
        read = shape.inputs if isinstance(shape, shapes.Lookup) else shape.weights
        if name.startswith("routed"):
            slots = layout.ep * expert_slots(model.n_routed_experts, layout.ep)
            read = float(read) * expected_distinct(slots, model.num_experts_per_tok, tokens) / slots
        parameters = n * once[name][2].weights
        counts = {
            "parameters": parameters,
            "active_parameters": _active(model, name, parameters),
            "flops": everywhere * shape.flops,
            "stored_bytes": everywhere * weight * shape.weights,
            "weight_bytes": everywhere * weight * read,
            "activation_bytes": everywhere * width["activation_bytes"] * _activations(name, shape, phase),
            "kv_bytes": everywhere * _cached(name, shape, phase, model, width["kv_bytes"]),
            "communication_bytes": 0,
        }
        result[name] = Operator(block, n, shape, {key: whole(value) for key, value in counts.items()})
    for name, (block, n, sent) in _collectives(model, batch, tokens, width, layout).items():
        result[name] = Operator(block, n, None, dict.fromkeys(COUNTS, 0) | {"communication_bytes": whole(n * sent)})
    return result


def expected_distinct(slots, top_k, tokens):
    """Experts that at least one of t tokens picks, each k of E evenly: E (1 - (1 - k / E)^t)."""
    return slots - slots * (1.0 - top_k / slots) ** tokens


def _shapes(model, phase, batch, context, layout):
    """{operator: (block, layers that hold it, shape on one chip)}, in the order of execution."""
    sequences = over(batch, layout.dp)
    if phase == "decode":
        tokens, sizes = sequences, (model, sequences, 1, context, layout.tp)
        heads = attentions.mla_decode(*sizes) if model.kv_lora_rank else attentions.gqa_decode(*sizes)
    else:
        tokens, sizes = sequences * context, (model, sequences, context, layout.tp)
        heads = attentions.mla_prefill(*sizes) if model.kv_lora_rank else attentions.gqa_prefill(*sizes)
    causal = phase == "prefill"
    heads |= {"attention": _attended(model, heads["attention"], context, causal)}
    heads |= attentions.indexer(model, tokens, sequences, context, causal=causal)
    rows = over(tokens * layout.dp * model.num_experts_per_tok, layout.ep)
    slots = expert_slots(model.n_routed_experts, layout.ep)
    shared = layers.shared_expert(model, tokens, layout.tp)
    n, dense = model.num_hidden_layers, model.first_k_dense_replace
    biases = _held(layers.moe_biases(model, slots, layout.moe_tp))
    blocks = (
        ("embedding", 1, layers.embedding(model, tokens, layout.tp)),
        ("norm", n, layers.norms(model, tokens)),
        ("norm", n, _held(layers.attention_extras(model, tokens, layout.tp))),
        (_kind(model), n, {name: shape for name, shape in heads.items() if shape.flops}),
        ("dense", dense, layers.dense_ffn(model, tokens, layout.tp) | _held(layers.dense_bias(model, layout.tp))),
        ("moe", n - dense, layers.router(model, tokens) | shared),
        ("moe", n - dense, layers.routed_experts(model, rows, slots, layout.moe_tp) | biases),
        ("head", 1, layers.head(model, sequences, layout.tp)),
    )
    return {name: (block, times, shape) for block, times, shapes in blocks for name, shape in shapes.items() if times}


def _held(shapes):
    """Those of some shapes that have parameters."""
    return {name: shape for name, shape in shapes.items() if shape.weights}


def _attended(model, attention, context, causal):
    """The core of attention, mean of all layers: less where it is sparse or has a sliding window."""
    share = _mean(model, [attentions.causal_pairs(x) if causal else x for x in attentions.shares(model, context)])
    read = 1 if causal else share  # keys and values of a prompt are read once whoever attends to them
    return dataclasses.replace(attention, flops=share * attention.flops, kv=read * attention.kv)


def _mean(model, shares):
    """Mean of all layers of (a share of those that see everything, of those with a sliding window)."""
    sliding = attentions.sliding_share(model)
    return (1 - sliding) * shares[0] + sliding * shares[1]


def _kind(model):
    """Block of attention: the cache holds a latent, or keys and values."""
    return "mla" if model.kv_lora_rank else "gqa"


def _active(model, name, parameters):
    """Of `parameters`, those one token uses; norms are not counted, as in the published 37 B, nor biases."""
    if name.endswith(("norm", "bias")):
        return 0
    if name.startswith("routed"):
        return over(parameters * model.num_experts_per_tok, model.n_routed_experts)
    return parameters


def _activations(name, shape, phase):
    """Elements read and written that are neither weights nor KV cache; in prefill keys and values are activations."""
    if isinstance(shape, shapes.Lookup):
        return shape.outputs
    unfolded = shape.kv if phase == "prefill" and name == "attention" else 0
    return shape.inputs + shape.outputs + unfolded


def _cached(name, shape, phase, model, kv_bytes):
    """Bytes of the KV cache that attention reads in decode, and that the compression of new tokens writes.

    An element of the indexer's keys takes one byte; a prompt reads them too.
    """
    if name == "index_scores":
        return shape.kv
    if name == "index_k":
        return shape.m * model.index_head_dim
    if isinstance(shape, shapes.Attention):
        return shape.kv * kv_bytes if phase == "decode" else 0
    return shape.outputs * kv_bytes if name in ("kv_a", "kv") else 0


def _collectives(model, batch, tokens, width, layout):
    """{collective: (block, layers that hold it, bytes all chips send in one layer)}.

    All-reduce of b bytes over n chips: each sends 2 (n - 1) / n b; after embedding, attention and FFN. All-gather of
    the logits: each sends (n - 1) / n of them. Dispatch, combine: k copies of every token, of which (ep - 1) / ep
    leave the card; the moe_tp chips of a card fetch a share of a copy each and gather it, or sum it in shares. Every
    chip dispatches its own 1 / tp of the tokens of its group.
    """
    n, dense = model.num_hidden_layers, model.first_k_dense_replace
    reduced = 2 * (layout.tp - 1) * tokens * model.hidden_size * width["activation_bytes"]
    logits = (layout.tp - 1) * batch * model.vocab_size * width["activation_bytes"]
    result = {
        "embedding_all_reduce": ("embedding", 1, reduced),
        f"{_kind(model)}_all_reduce": (_kind(model), n, reduced),
        "dense_all_reduce": ("dense", dense, reduced),
        "moe_all_reduce": ("moe", n - dense, reduced),
        "head_all_gather": ("head", 1, logits),
    }
    for name in ("dispatch", "combine"):
        sent = all_to_all_bytes(tokens, model.hidden_size, model.num_experts_per_tok, width[f"{name}_bytes"])
        result[name] = ("moe", n - dense, over(sent * (layout.ep - 1), layout.ep))
        result[f"{name}_moe_tp"] = ("moe", n - dense, sent * (layout.moe_tp - 1))
    return {name: value for name, value in result.items() if value[1]}


def scalars(operators, model, phase, batch, context, width, layout):
    """{variable: number}: the totals, and what is no sum over all operators."""
    tokens = batch * (context if phase == "prefill" else 1)
    total = {name: sum(o.counts[name] for o in operators.values()) for name in COUNTS}
    attention = sum(operators[name].counts["flops"] for name in ("attention", "index_scores") if name in operators)
    repeated = sum(o.counts["flops"] for name, o in operators.items() if name in layers.REPLICATED)
    unfolded = attentions.mla_prefill if model.kv_lora_rank else attentions.gqa_prefill
    pair = unfolded(model, 1, 1, 1, causal=False)["attention"].flops  # of one token with one position
    layer = _shapes(model, phase, 1, 1, Layout()).items()
    layer = {name: shape for name, (block, _, shape) in layer if block in LAYER_KINDS["moe"]}
    module = layers.mtp_module(model, 1, 1, layer, 1)
    own = sum(shape.weights for name, shape in module.items() if name != "mtp_head")
    kept, keys = attentions.kept_positions(model, context) * width["kv_bytes"], context * model.index_head_dim
    n = model.num_hidden_layers
    cache = batch * n * (kept * attentions.cache_width(model, 1) + keys)
    on_a_chip = batch * n * (kept * attentions.cache_width(model, layout.tp) + keys)
    values = {f"total_{name}": value for name, value in total.items()} | {
        "active_parameters_without_embedding": total["active_parameters"] - operators["embedding"].counts["parameters"],
        "mtp_parameters": own if model.num_nextn_predict_layers else 0,
        "linear_flops": total["flops"] - attention,
        "attention_flops": attention,
        "attention_flops_unfolded": n * tokens * context * _mean(model, attentions.shares(model, context)) * pair,
        "replicated_flops": over(repeated * (layout.tp - 1), layout.tp),
        "bytes_moved": total["weight_bytes"] + total["activation_bytes"] + total["kv_bytes"],
        "kv_cache_bytes": cache,
        "kv_cache_bytes_per_chip": over(on_a_chip, layout.dp),
        "stored_bytes_per_chip": over(total["stored_bytes"], layout.chips),
    }
    return {name: whole(value) for name, value in values.items()}


def whole(value):
    """A whole fraction as an int."""
    return value.numerator if isinstance(value, Fraction) and value.denominator == 1 else value
