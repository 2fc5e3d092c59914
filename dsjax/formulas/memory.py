"""Bytes of one chip beside its weights: KV cache and live activations (dsjax/MODEL.md, section 8)."""

import jax.numpy as jnp

from . import attention


def kv_cache(model, work, layers, kv_bytes):
    """KV cache of the sequences of a group in `layers` layers [B]: B L / kv_split (S' w b + S D_i).

    S' positions kept, w `cache_width`, b bytes an element; the indexer's keys have D_i elements of one byte.
    """
    kept = attention.kept_positions(model, work.context) * attention.cache_width(model, work.tp) * kv_bytes
    return work.sequences * layers / work.kv_split * (kept + work.context * model.index_head_dim)


def live_elements(model, work):
    """Elements of the activations that live at once, twice those of the largest operator.

    The core of attention beside the residual stream, the routed rows with their gate, a norm, the logits.
    """
    hidden, core = model.hidden_size, (attention.unfolded if work.causal else attention.absorbed)(model, work)
    moved = core.inputs + core.outputs + (core.kv if work.causal else 0.0)
    live = work.rows * hidden + moved
    live = jnp.maximum(live, work.routed_rows * (hidden + model.moe_intermediate_size / work.moe_tp))
    return 2.0 * jnp.maximum(live, jnp.maximum(4.0 * work.rows * hidden, work.head_rows * model.vocab_size / work.tp))
