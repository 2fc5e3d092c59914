"""Bytes of one chip: weights and KV cache."""

import jax.numpy as jnp

from .attention import cache_width, kept_positions, kv_heads, query_input
from .shapes import query_width


def mla_weights(model):
    """Parameters of one MLA layer: H R_q + H (R_kv + D_r) + R_q h (D_n + D_r) + R_kv h (D_n + D_v) + h D_v H.

    H hidden, h heads, R_q and R_kv ranks, D_n, D_r, D_v head widths without position, rotary, of values; norms left
    out. Source: DeepSeek-V3 (arXiv:2412.19437), section 2.1.1.
    """
    heads = model.num_attention_heads
    q_up = query_input(model) * heads * (model.qk_nope_head_dim + model.qk_rope_head_dim)
    kv_up = model.kv_lora_rank * heads * (model.qk_nope_head_dim + model.v_head_dim)
    return mla_down_weights(model) + q_up + kv_up + heads * model.v_head_dim * model.hidden_size


def mla_down_weights(model):
    """Those of them that have no heads to split, so that every chip of a group holds them: H R_q + H (R_kv + D_r)."""
    return model.hidden_size * (model.q_lora_rank + model.kv_lora_rank + model.qk_rope_head_dim)


def attention_weights(model, tp):
    """Parameters of one attention layer on one chip: of MLA what has no heads and 1 / tp of the rest.

    Of GQA (h D_qk + h D_v) H / tp + hd_kv (D_qk + D_v) H, hd_kv heads of keys and values on a chip. The indexer of
    sparse attention beside either, whole.
    """
    replicated = mla_down_weights(model)
    latent = replicated + (mla_weights(model) - replicated) / tp
    query, values = query_width(model), model.v_head_dim
    grouped = (model.num_attention_heads / tp + kv_heads(model, tp)) * (query + values) * model.hidden_size
    return jnp.where(model.kv_lora_rank > 0.0, latent, grouped) + indexer_weights(model)


def indexer_weights(model):
    """Parameters of the indexer of one layer: R_q h_i D_i + H (D_i + h_i); 0 where there is none."""
    heads, width = model.index_n_heads, model.index_head_dim
    return query_input(model) * heads * width + model.hidden_size * (width + heads)


def dense_weights(model):
    """Parameters of one dense FFN: gate, up and down, 3 H I."""
    return 3.0 * model.hidden_size * model.intermediate_size


def router_weights(model):
    """Parameters of one router: H E."""
    return model.hidden_size * jnp.asarray(model.n_routed_experts, model.hidden_size.dtype)


def expert_weights(model):
    """Parameters of one expert: gate, up and down, 3 H I."""
    return 3.0 * model.hidden_size * model.moe_intermediate_size


def embedding_weights(model):
    """Parameters of the embedding, and again of the head: V H."""
    return model.vocab_size * model.hidden_size


def kv_cache_bytes(sequences, context, model, kv_bytes):
    """KV cache of `sequences` in all layers [B]."""
    return sequences * model.num_hidden_layers * mla_kv_bytes(context, model, kv_bytes)


def per_chip(point, split, load, rows, drafts):
    """{part: B} of one chip of the core model (dsjax/MODEL.md, section 8); `rows` of the routed experts."""
    model, precision = point.model, point.precision
    hidden, tp = model.hidden_size, split.tp
    attention = attention_weights(model, tp)
    dense, sparse = model.first_k_dense_replace, model.num_hidden_layers - model.first_k_dense_replace
    experts = (
        expert_weights(model)
        * (split.slots / split.moe_tp + model.n_shared_experts / split.shared_tp)
        * precision.expert_bytes
    )
    experts += router_weights(model) * precision.weight_bytes
    has_mtp = 0.0 if drafts is None else jnp.where(drafts > 0.0, 1.0, 0.0)
    module = attention * precision.weight_bytes + experts + 2.0 * hidden * hidden * precision.weight_bytes
    cached, context = load.sequences * (model.num_hidden_layers + has_mtp) / split.kv_split, point.workload.context
    keys = context * model.index_head_dim  # of the indexer, one byte an element
    core = load.core.inputs + load.core.outputs + load.kv_as_activations
    live = jnp.maximum(load.rows * hidden + core, rows * (hidden + model.moe_intermediate_size / split.moe_tp))
    live = jnp.maximum(live, jnp.maximum(4.0 * load.rows * hidden, load.head_rows * model.vocab_size / tp))
    return {
        "attention": model.num_hidden_layers * attention * precision.weight_bytes,
        "dense": dense * dense_weights(model) / tp * precision.weight_bytes,
        "experts": sparse * experts,
        "embedding": (2.0 - model.tie_word_embeddings) * embedding_weights(model) / tp * precision.weight_bytes,
        "mtp": has_mtp * module,
        "kv_cache": cached * (kept_positions(model, context) * cache_width(model, tp) * precision.kv_bytes + keys),
        "activations": 2.0 * precision.activation_bytes * live,
    }


def mla_kv_bytes(context, model, kv_bytes):
    """KV cache of one sequence in one MLA layer [B]: S (d_c + d_r) b.

    S context [token], d_c `kv_lora_rank`, d_r `qk_rope_head_dim`, b bytes per element. Shared by all heads.
    Source: DeepSeek-V2 (arXiv:2405.04434), comparison of KV caches.
    """
    return context * (model.kv_lora_rank + model.qk_rope_head_dim) * kv_bytes
