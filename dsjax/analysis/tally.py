"""Counts of one forward pass over all chips: flops, parameters, bytes, volumes, in exact Python numbers.

Everything is read off the table of operators (`serving.operators`): what one chip does, times the chips.
"""

import dataclasses
from fractions import Fraction
from types import SimpleNamespace

from ..formulas import exchange
from ..formulas.operators import attention, indexer, kinds, linear, shapes
from ..formulas.operators import layers as ffns
from ..formulas.operators.shapes import Work, over
from ..formulas.routing import expert_slots
from ..serving.definition import OF_A_LAYER
from ..serving.kernels import Kernels
from ..serving.operators import of_phase
from ..serving.rows import ATTENTION, DRAFT, NORM, SECTIONS

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
CORES = ("attention", "sliding_attention", "index_scores", "linear_core")  # operators that are no products with weights
# Kinds of layer -> the blocks that make one
LAYER_KINDS = {name: ("norm", "mla", "gqa", "linear", name) for name in ("dense", "moe")}


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
class Counted:
    """One operator, and its counts over all chips and all layers that hold it."""

    block: str
    layers: int
    shape: object  # of one layer on one chip; None for a collective
    counts: dict  # {name in COUNTS: number}
    replicated: bool = False  # whether every chip of a tensor-parallel group does the whole of it


def exact(model, phase, batch, context, width, layout):
    """{operator: Counted} in Python numbers; `width` = {field of the precision: bytes per element}."""
    work = work_of(model, phase, batch, context, layout)
    result = {}
    for row in rows_of(model, phase):
        n, shape = row.layers(model), _shape(row, model, work)
        absent = not shape.flops if row.section == ATTENTION else row.kernel is None and not shape.weights
        absent |= isinstance(shape, shapes.Gemm) and not shape.weights  # as a shared expert that a model lacks
        if absent or not n:
            continue
        everywhere, weight, read = n * layout.chips, width[row.weights], shape.weights
        if isinstance(shape, shapes.Lookup):
            read = shape.inputs
        elif row.routed:
            slots = layout.ep * work.experts
            read = float(read) * expected_distinct(slots, ffns.copies(model), work.all_tokens) / slots
        parameters = n * parameters_of(row, model, phase)
        counts = {
            "parameters": parameters,
            "active_parameters": _active(row, model, parameters),
            "flops": everywhere * shape.flops,
            "stored_bytes": everywhere * weight * row.stored(model) * shape.weights,
            "weight_bytes": everywhere * weight * read,
            "activation_bytes": everywhere * width["activation_bytes"] * _activations(row, shape, phase),
            "kv_bytes": everywhere * _cached(row, shape, phase, row.view(model), layout.tp, width["kv_bytes"]),
            "communication_bytes": 0,
        }
        counts = {key: whole(value) for key, value in counts.items()}
        result[row.name_in(model)] = Counted(_block(row, model), n, shape, counts, row.replicated_in(model))
    for name, (block, n, sent) in _collectives(model, batch, work, width, layout).items():
        result[name] = Counted(block, n, None, dict.fromkeys(COUNTS, 0) | {"communication_bytes": whole(n * sent)})
    return result


def rows_of(model, phase):
    """The operators that count as work of the model, section by section, the MTP module apart."""
    rows = [row for row in of_phase(phase == "prefill", model) if row.counted and row.section != DRAFT]
    return sorted(rows, key=lambda row: SECTIONS.index(row.section))


def work_of(model, phase, batch, context, layout):
    """`Work` of one chip in Python numbers; its experts are those that a card holds."""
    sequences, queries = over(batch, layout.dp), context if phase == "prefill" else 1
    tokens = sequences * queries
    return Work(
        sequences=sequences,
        queries=queries,
        tokens=tokens,
        rows=tokens,
        all_tokens=batch * queries,
        head_rows=sequences,
        context=context,
        routed_rows=over(batch * queries * ffns.copies(model), layout.ep),
        experts=expert_slots(model.n_routed_experts, layout.ep),
        tp=layout.tp,
        kv_split=1,
        shared_tp=layout.tp,
        moe_tp=layout.moe_tp,
        expert_tile=None,  # a count is of the model
        causal=phase == "prefill",
    )


def expected_distinct(slots, top_k, tokens):
    """Experts that at least one of t tokens picks, each k of E evenly: E (1 - (1 - k / E)^t)."""
    return slots - slots * (1.0 - top_k / slots) ** tokens


def parameters_of(row, model, phase):
    """Parameters of an operator in one layer, each once."""
    return row.stored(model) * row.shape(row.view(model), work_of(model, phase, 1, 1, Layout())).weights


def _shape(row, model, work):
    model = row.view(model)
    shape = row.shape(model, work)
    return attention.attended(model, work, shape) if row.kernel is Kernels.attention else shape


def _block(row, model):
    """Block of a count: the section; of attention by what the cache holds, a latent, or keys and values."""
    return _kind(model) if row.section == ATTENTION else row.section


def _kind(model):
    return "mla" if model.kv_lora_rank else "gqa"


def _active(row, model, parameters):
    """Of `parameters`, those one token uses; norms are not counted, as in the published 37 B, nor biases."""
    if row.routed and row.active:
        return over(parameters * ffns.copies(model), model.n_routed_experts)
    return parameters if row.active else 0


def _activations(row, shape, phase):
    """Elements read and written that are neither weights nor KV cache; in prefill keys and values are activations."""
    if isinstance(shape, shapes.Lookup):
        return shape.outputs
    unfolded = shape.kv if phase == "prefill" and row.kernel is Kernels.attention else 0
    return shape.inputs + shape.outputs + unfolded


def _cached(row, shape, phase, model, tp, kv_bytes):
    """Bytes of the KV cache that attention reads in decode, and that the compression of new tokens writes.

    `kv_bytes`: of an element, mean of the parts of the cache. A prompt reads the indexer's keys too.
    """
    if row.kernel is Kernels.recurrent:
        return shape.kv * model.linear_state_bytes
    if row.kernel is Kernels.scores:
        return indexer.key_bytes(shape.kv)
    if row.shape is indexer.index_key:
        return indexer.key_bytes(shape.m * model.index_head_dim)
    if row.kernel is Kernels.attention:
        return shape.kv * kv_bytes if phase == "decode" else 0
    return shape.m * attention.cache_width(model, tp) * kv_bytes if row.shape is attention.key_value else 0


def _collectives(model, batch, work, width, layout):
    """{collective: (block, layers that hold it, bytes all chips send in one layer)}.

    All-reduce of b bytes over n chips: each sends 2 (n - 1) / n b; after embedding, attention and FFN. All-gather of
    the logits: each sends (n - 1) / n of them. Dispatch, combine: k copies of every token, of which (ep - h) / ep go
    to other cards than the h of its group; the moe_tp chips of a card fetch a share of a copy each and share what they
    lack, each token once (`exchange.gather_share`). Every chip dispatches its own 1 / tp of the tokens of its group.
    """
    mixers, sparse, tokens = kinds.mixers(model), kinds.experts(model), work.all_tokens
    sizes = {name: float(getattr(layout, name)) for name in ("tp", "moe_tp", "ep", "dp")}
    split = SimpleNamespace(**sizes, slots=float(work.experts))
    reduced = 2 * (layout.tp - 1) * tokens * model.hidden_size * width["activation_bytes"]
    logits = (layout.tp - 1) * batch * model.vocab_size * width["activation_bytes"]
    result = {
        "embedding_all_reduce": ("embedding", 1, reduced),
        f"{_kind(model)}_all_reduce": (_kind(model), mixers, reduced),
        "dense_all_reduce": ("dense", kinds.ffns(model) - sparse, reduced),
        "moe_all_reduce": ("moe", sparse, reduced),
        "head_all_gather": ("head", 1, logits),
    }
    for name in ("dispatch", "combine"):
        hidden, copies = ffns.expert_hidden(model), ffns.copies(model)
        sent = exchange.all_to_all_bytes(tokens, hidden, copies, width[f"{name}_bytes"])
        other = max(Fraction(0), layout.ep - max(Fraction(1), Fraction(layout.tp, layout.moe_tp)))
        result[name] = ("moe", sparse, over(sent * other, layout.ep))
        lacking = exchange.gather_share(model, split) * tokens * hidden * width[f"{name}_bytes"]
        result[f"{name}_moe_tp"] = ("moe", sparse, float(lacking) * layout.chips if layout.moe_tp > 1 else 0)
    return {name: value for name, value in result.items() if value[1]}


def checkpoint_bytes(model, phase, widths):
    """Weights of a checkpoint [B], each once; `widths` {use: mean bytes}, 2 of what it lacks, of norms, biases, router.

    Source: `catalog.checkpoints`, what a config says that its checkpoint stores.
    """
    total = 0.0
    for row in rows_of(model, phase):
        use = row.weights.removesuffix("_bytes").replace("absorbed", "weight")
        linear = row.section != NORM and row.active and row.shape is not ffns.router
        total += row.layers(model) * parameters_of(row, model, phase) * (widths.get(use, 2.0) if linear else 2.0)
    return total


def scalars(operators, model, phase, batch, context, width, layout, stored=None):
    """{variable: number}: the totals, and what is no sum over all operators; `stored` {use: bytes} in a checkpoint."""
    tokens = batch * (context if phase == "prefill" else 1)
    total = {name: sum(o.counts[name] for o in operators.values()) for name in COUNTS}
    cores = sum(operators[name].counts["flops"] for name in CORES if name in operators)
    repeated = sum(o.counts["flops"] for o in operators.values() if o.replicated)
    rows = [row for row in of_phase(phase == "prefill", model) if row.section == DRAFT or row.layers in OF_A_LAYER]
    module = sum(parameters_of(row, model, phase) for row in rows)
    cache, on_a_chip = (batch * _cache_bytes(model, context, width, tp) for tp in (1, layout.tp))
    values = {f"total_{name}": value for name, value in total.items()} | {
        "active_parameters_without_embedding": total["active_parameters"] - operators["embedding"].counts["parameters"],
        "mtp_parameters": module if model.num_nextn_predict_layers else 0,
        "linear_flops": total["flops"] - cores,
        "attention_flops": cores,
        "attention_flops_unfolded": tokens * context * sum(_pair_flops(view, context) for view in _views(model)),
        "replicated_flops": over(repeated * (layout.tp - 1), layout.tp),
        "bytes_moved": total["weight_bytes"] + total["activation_bytes"] + total["kv_bytes"],
        "kv_cache_bytes": cache,
        "kv_cache_bytes_per_chip": over(on_a_chip, layout.dp),
        "state_bytes": batch * model.linear_layers * linear.state_bytes(model, 1, width["activation_bytes"]),
        "stored_bytes_per_chip": over(total["stored_bytes"], layout.chips),
        "checkpoint_bytes": checkpoint_bytes(model, phase, stored or {}),
    }
    return {name: whole(value) for name, value in values.items()}


def _views(model):
    """The model as each of its layers of attention sees it."""
    return [kinds.common(model), *([kinds.windowed(model)] if kinds.own_sized(model) else [])]


def _cache_bytes(model, context, width, tp):
    """KV cache of a sequence on a chip of tp, and keys of an indexer [B]."""
    keys = model.index_layers * indexer.positions(model, context) * indexer.key_bytes(model.index_head_dim)
    for view in _views(model):
        kept = kinds.attentions(view) * attention.kept_positions(view, context) * attention.cache_width(view, tp)
        keys = keys + kept * width["kv_bytes"]
    return keys


def _pair_flops(model, context):
    """FLOPs of one token with every position, keys and values unfolded, over the positions."""
    seen = kinds.seen(model, context)
    return kinds.attentions(model) * kinds.mean(seen, [kind.share for kind in seen]) * attention.pair_flops(model)


def whole(value):
    """A whole fraction as an int."""
    return value.numerator if isinstance(value, Fraction) and value.denominator == 1 else value
