"""Bytes of one chip: weights and KV cache."""

from .operators import mla_kv_bytes


def mla_weights(model):
    """Parameters of one MLA layer: H R_q + H (R_kv + D_r) + R_q h (D_n + D_r) + R_kv h (D_n + D_v) + h D_v H.

    H hidden, h heads, R_q and R_kv ranks, D_n, D_r, D_v head widths without position, rotary, of values; norms left
    out. Source: DeepSeek-V3 (arXiv:2412.19437), section 2.1.1.
    """
    heads = model.num_attention_heads
    down = model.hidden_size * (model.q_lora_rank + model.kv_lora_rank + model.qk_rope_head_dim)
    q_up = model.q_lora_rank * heads * (model.qk_nope_head_dim + model.qk_rope_head_dim)
    kv_up = model.kv_lora_rank * heads * (model.qk_nope_head_dim + model.v_head_dim)
    return down + q_up + kv_up + heads * model.v_head_dim * model.hidden_size


def expert_weights(model):
    """Parameters of one expert: gate, up and down, 3 H I."""
    return 3.0 * model.hidden_size * model.moe_intermediate_size


def embedding_weights(model):
    """Parameters of the embedding, and again of the head: V H."""
    return model.vocab_size * model.hidden_size


def expert_slots(n_routed_experts, ep):
    """Experts one card holds: ceil(E / ep), in integers."""
    return (n_routed_experts + ep - 1) // ep


def kv_cache_bytes(sequences, context, model, kv_bytes):
    """KV cache of `sequences` in all layers [B]."""
    return sequences * model.num_hidden_layers * mla_kv_bytes(context, model, kv_bytes)
