"""Bytes of one chip beside its weights: KV cache and live activations (dsjax/MODEL.md, section 8)."""

from .. import arrays
from .operators import attention, indexer, layers


def kv_cache(model, work, count, index_layers, kv_bytes):
    """KV cache of the sequences of a group [B]: B / kv_split (L S' w b + L_i S (D_i + D_i / 32)).

    B sequences, L = `count` layers, L_i = `index_layers` of them with an indexer, S' `kept_positions`, w `cache_width`,
    b = `kv_bytes` an element (`element_bytes`) [B]; S context, D_i elements of a key of the indexer (`key_bytes`).
    """
    kept = attention.kept_positions(model, work.context) * attention.cache_width(model, work.tp) * kv_bytes
    keys = indexer.positions(model, work.context) * indexer.key_bytes(model.index_head_dim)
    return work.sequences / work.kv_split * (count * kept + index_layers * keys)


def live_elements(model, work):
    """Elements of the activations that live at once: 2 max(4 T_s H, T_s H + X, R (H + I_e / moe_tp), T_h V / tp).

    In this order: a norm; the residual stream beside what the core of attention reads and writes (X); the routed rows
    with their gate; the logits.
    """
    hidden, core = model.hidden_size, (attention.prompt if work.causal else attention.absorbed)(model, work)
    moved = core.inputs + core.outputs + (core.kv if work.causal else 0.0)
    live = work.rows * hidden + moved
    live = arrays.maximum(live, work.routed_rows * (layers.expert_hidden(model) + layers.routed_width(model, work)))
    return 2.0 * arrays.maximum(
        live, arrays.maximum(4.0 * work.rows * hidden, work.head_rows * model.vocab_size / work.tp)
    )
