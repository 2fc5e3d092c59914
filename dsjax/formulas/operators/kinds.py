"""Kinds of layer: how many a model has of each, and what attention of each kind sees (dsjax/MODEL.md, 3.1).

Layers of attention that share their sizes are told apart by the positions that a token attends to: all or the picks of
an indexer, a window, compressed ones. Those with sizes of their own are seen as another model (`windowed`).
"""

import dataclasses
from fractions import Fraction
from typing import NamedTuple

from ... import arrays
from .shapes import chosen, like, number, over

# ---- counts of layers


def mixers(model):
    """Layers with attention or a linear layer, which have its norm and its all-reduce: L - L_0."""
    return _less(model.num_hidden_layers, model.attention_free_layers)


def attentions(model):
    """Layers with attention, of any sizes: L_A = L - L_0 - L_l."""
    return _less(mixers(model), model.linear_layers)


def own_sized(model):
    """Layers with a window and sizes of their own: L_s where `sliding_head_dim` > 0."""
    return 0 if model.sliding_head_dim is None else chosen(model.sliding_head_dim, model.sliding_layers, 0)


def ffns(model):
    """Layers with an FFN of any kind: L - L_f."""
    return _less(model.num_hidden_layers, model.ffn_free_layers)


def experts(model):
    """Layers with experts: L_m = L - L_d - L_f."""
    return _less(model.num_hidden_layers - model.first_k_dense_replace, model.ffn_free_layers)


def dense(model):
    """Layers with a dense FFN: L_d, and L_b beside experts."""
    beside = model.dense_beside_layers
    return model.first_k_dense_replace if beside is None else model.first_k_dense_replace + beside


def _less(total, part):
    return total if part is None else total - part


# ---- models as some of their layers see them


def common(model):
    """The model without the layers that have sizes of their own."""
    if model.sliding_head_dim is None:
        return model
    few = own_sized(model)
    return dataclasses.replace(
        model,
        attention_free_layers=number(model.attention_free_layers) + few,
        sliding_layers=model.sliding_layers - few,
        sliding_head_dim=None,
    )


def windowed(model):
    """The model as layers with a window and sizes of their own see it: grouped queries, no others."""
    own, few, none = model.sliding_head_dim, own_sized(model), 0 * model.kv_lora_rank
    sizes = {
        "num_attention_heads": model.sliding_heads,
        "num_key_value_heads": model.sliding_key_value_heads,
        "qk_nope_head_dim": model.sliding_head_dim,
        "v_head_dim": model.sliding_v_head_dim,
    }
    return dataclasses.replace(
        model,
        **{name: chosen(own, size, getattr(model, name)) for name, size in sizes.items()},
        key_is_value=model.sliding_key_is_value,
        q_lora_rank=none,
        kv_lora_rank=none,
        qk_rope_head_dim=none,
        index_topk=none,
        attention_free_layers=model.num_hidden_layers - few,
        sliding_layers=few,
        linear_layers=None,
        sliding_head_dim=None,
        unpicked_layers=None,
        csa_layers=None,
        hca_layers=None,
    )


# ---- what attention of each kind sees


class Seen(NamedTuple):
    """Layers of the same sizes that attend to as many positions."""

    weight: float  # share of them among the layers of attention
    share: float  # P / S: of the positions that a token attends to
    pairs: float  # of a prompt, of S^2 / 2
    kept: float  # share of the positions whose keys and values the cache keeps
    sparse: bool = True  # whether kernels of sparse attention may run
    compressed: bool = False  # whether some of the positions are compressed ones


def seen(model, context):
    """`Seen` of every kind of attention that a model, or another of the space, has.

    min(S, `index_topk`) / S where attention is sparse, else 1; min(S, `sliding_window`) / S, half of it where windows
    are chunks and S is longer; and of compressed positions, r to one, what an indexer picks or all. Sources:
    DeepSeek-V3.2 (2025), section 2.1 (sparse); Beltagy et al. (arXiv:2004.05150) (window); DeepSeek-V4 (2026),
    section 2.3 (compressed).
    """
    picked, window = (limited(limit, *like(model, context)) for limit in (model.index_topk, model.sliding_window))
    layers = attentions(model)
    few = over(model.sliding_layers, model.num_hidden_layers if layers is model.num_hidden_layers else _some(layers))
    local, pairs = window, causal_pairs(window)
    if model.sliding_chunked is not None:
        chunked = model.sliding_chunked * chosen(1 - window, 1, 0)
        local, pairs = window * (1 - over(chunked, 2)), chosen(chunked, window, pairs)
    found = {"all": 1 - few, "window": few}
    compressed = []
    for count, ratio, most in (
        (model.csa_layers, model.csa_ratio, model.index_topk),
        (model.hca_layers, model.hca_ratio, None),
    ):
        if count is not None:
            weight, ratio = over(count, _some(layers)), chosen(ratio, ratio, 1)
            far = 1 if most is None else limited(most * ratio, *like(model, context))
            found["window"] = found["window"] - weight
            share, more = local + over(far, ratio), over(causal_pairs(far), ratio)
            compressed.append(Seen(weight, share, pairs + more, window + over(1, ratio), compressed=True))
    every = []
    if model.unpicked_layers is not None:
        weight = over(model.unpicked_layers, _some(layers))
        found["all"] = found["all"] - weight
        every = [Seen(weight, 1, 1, 1, sparse=False)]
    sparse = Seen(found["all"], picked, causal_pairs(picked), 1)
    return [sparse, Seen(found["window"], local, pairs, window), *every, *compressed]


def limited(limit, context):
    """min(S, limit) / S; 1 where there is no limit (0)."""
    if isinstance(limit, int | Fraction) and isinstance(context, int | Fraction):
        return over(min(context, limit), context) if limit else 1
    return arrays.where(limit > 0.0, arrays.minimum(context, limit) / context, 1.0)


def causal_pairs(share):
    """Pairs of a prompt whose tokens attend to at most share x S positions, of S^2 / 2: share (2 - share)."""
    return share * (2 - share)


def mean(kinds, values):
    """Mean over the layers of attention of a value of each kind."""
    total = None
    for kind, value in zip(kinds, values, strict=True):
        term = kind.weight * value
        total = term if total is None else total + term
    return total


def _some(layers):
    return chosen(layers, layers, 1)
