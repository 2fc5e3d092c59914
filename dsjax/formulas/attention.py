"""Shapes of attention in one layer on one chip: MLA, absorbed and not, and grouped-query attention.

Every function returns {operator: shape}. Symbols as in `layers`. Sources: DeepSeek-V2 (arXiv:2405.04434), section 2.1
and appendix C (MLA); Ainslie et al. (arXiv:2305.13245) (GQA).
"""

from fractions import Fraction

import jax.numpy as jnp

from .shapes import Attention, gemm, latent_width, like, over, query_width


def mla_decode(model, sequences, queries, context, tp, kv_split=1):
    """Absorbed MLA of one decode step; T = sequences x queries, `queries` = 1 + draft tokens.

        q_a (T, H, R_q), kv_a (T, H, R_kv + D_r)      replicated over tp
        q_b (T, R_q, hd (D_n + D_r)), o (T, hd D_v, H)
        absorb_k (T, D_n, R_kv), absorb_v (T, R_kv, D_v)      per head; their weights are those of kv_b
        attention: 2 T hd S (R_kv + D_r) + 2 T hd S R_kv [FLOP]; reads S (R_kv + D_r) elements per sequence, on
        every chip of the group: the cache has no heads to split. `kv_split` chips keep a share of the positions each
        and so compute the heads of all of them, on S / kv_split positions

    Source: DeepSeek-V2 (arXiv:2405.04434), section 2.1.2, W^UK absorbed into W^UQ and W^UV into W^O.
    """
    sequences, queries, context, tp, kv_split = like(model, sequences, queries, context, tp, kv_split)
    tokens, heads, latent = sequences * queries, over(model.num_attention_heads, tp), latent_width(model)
    return _down(model, tokens) | {
        "q_b": gemm(tokens, query_input(model), heads * query_width(model)),
        "absorb_k": gemm(tokens, model.qk_nope_head_dim, model.kv_lora_rank, heads),
        "attention": Attention(
            flops=2 * tokens * heads * context * (latent + model.kv_lora_rank),
            inputs=tokens * heads * kv_split * latent,
            kv=over(sequences * context * latent, kv_split),
            outputs=tokens * heads * kv_split * model.kv_lora_rank,
        ),
        "absorb_v": gemm(tokens, model.kv_lora_rank, model.v_head_dim, heads),
        "o": gemm(tokens, heads * model.v_head_dim, model.hidden_size),
    }


def gqa_decode(model, sequences, queries, context, tp, kv_split=1):
    """Grouped-query attention of one decode step; h_kv `num_key_value_heads`, D_qk = D_n + D_r.

        q (T, H, hd D_qk), kv (T, H, hd_kv (D_qk + D_v)), o (T, hd D_v, H); hd_kv = max(1, h_kv / tp) heads of keys and
        values on a chip: beyond h_kv chips, tp replicates them
        attention: 2 T hd S (D_qk + D_v) [FLOP]; reads S hd_kv (D_qk + D_v) elements per sequence

    Source: Ainslie et al. (arXiv:2305.13245).
    """
    sequences, queries, context, tp, kv_split = like(model, sequences, queries, context, tp, kv_split)
    tokens, heads = sequences * queries, over(model.num_attention_heads, tp)
    query, width = query_width(model), query_width(model) + model.v_head_dim
    return _gqa(model, tokens, tp) | {
        "attention": Attention(
            flops=2 * tokens * heads * context * width,
            inputs=tokens * heads * kv_split * query,
            kv=over(sequences * context * kv_heads(model, tp) * width, kv_split),
            outputs=tokens * heads * kv_split * model.v_head_dim,
        )
    }


def gqa_prefill(model, prompts, context, tp, causal=True):
    """Grouped-query attention of `prompts` whole prompts of S tokens: the products of `gqa_decode`, T = prompts x S.

    attention: prompts hd S^2 (D_qk + D_v) [FLOP], causal; twice that if not.
    """
    prompts, context, tp = like(model, prompts, context, tp)
    tokens, heads = prompts * context, over(model.num_attention_heads, tp)
    width = query_width(model) + model.v_head_dim
    return _gqa(model, tokens, tp) | {
        "attention": Attention(
            flops=(1 if causal else 2) * tokens * context * heads * width,
            inputs=tokens * heads * query_width(model),
            kv=tokens * kv_heads(model, tp) * width,
            outputs=tokens * heads * model.v_head_dim,
        )
    }


def _gqa(model, tokens, tp):
    heads, query, values = over(model.num_attention_heads, tp), query_width(model), model.v_head_dim
    return {
        "q": gemm(tokens, model.hidden_size, heads * query),
        "kv": gemm(tokens, model.hidden_size, kv_heads(model, tp) * (query + values)),
        "o": gemm(tokens, heads * values, model.hidden_size),
    }


def kv_heads(model, tp):
    """Heads of keys and values on one chip of GQA: max(1, h_kv / tp)."""
    heads = over(model.num_key_value_heads, tp)
    return max(1, heads) if isinstance(heads, int | Fraction) else jnp.maximum(1.0, heads)


def cache_width(model, tp):
    """Elements of the KV cache of one token in one layer on one chip: R_kv + D_r (MLA), else hd_kv (D_qk + D_v)."""
    grouped = kv_heads(model, tp) * (query_width(model) + model.v_head_dim)
    if isinstance(grouped, int | Fraction):
        return latent_width(model) if model.kv_lora_rank else grouped
    return jnp.where(model.kv_lora_rank > 0.0, latent_width(model), grouped)


def rotated(model, tokens, tp, causal):
    """Elements read and written by rotation, and by what puts rotary and other parts together.

    MLA: 2 T hd D_r, the queries in place; unfolded (`causal`) also the keys, read and put beside the shared rotary one:
    T hd (2 D_n + D_r). GQA: 2 T (hd + hd_kv) D_qk, queries and keys in place.
    """
    heads = over(model.num_attention_heads, tp)
    latent = 2.0 * model.qk_rope_head_dim + (2.0 * model.qk_nope_head_dim + model.qk_rope_head_dim if causal else 0.0)
    grouped = 2.0 * (heads + kv_heads(model, tp)) * query_width(model)
    return tokens * jnp.where(model.kv_lora_rank > 0.0, heads * latent, grouped)


def shares(model, context):
    """(P / S of a layer that sees all positions, P / S of a layer with a sliding window): positions a token attends to.

    min(S, `index_topk`) / S where attention is sparse, else 1; min(S, `sliding_window`) / S. Source: DeepSeek-V3.2
    (2025), section 2.1 (sparse); Beltagy et al. (arXiv:2004.05150) (window).
    """
    return tuple(_share(limit, *like(model, context)) for limit in (model.index_topk, model.sliding_window))


def _share(limit, context):
    if isinstance(limit, int | Fraction) and isinstance(context, int | Fraction):
        return over(min(context, limit), context) if limit else 1
    return jnp.where(limit > 0.0, jnp.minimum(context, limit) / context, 1.0)


def causal_pairs(share):
    """Pairs of a prompt whose tokens attend to at most share x S positions, of S^2 / 2: share (2 - share)."""
    return share * (2 - share)


def sliding_share(model):
    """Share of the layers that have a sliding window."""
    return over(model.sliding_layers, model.num_hidden_layers)


def kept_positions(model, context):
    """Positions whose keys and values a layer keeps, mean of all: S, and min(S, W) in those with a sliding window."""
    sliding = sliding_share(model)
    return context * (1 - sliding + sliding * shares(model, context)[1])


def indexer(model, rows, sequences, context, kv_split=1, causal=False):
    """What picks the positions of sparse attention: h_i `index_n_heads`, D_i `index_head_dim`; the same on every chip.

        index_q (T, R_q, h_i D_i); index_k (T, H, D_i + h_i): one key, and the weights of the heads
        index_scores: 2 T h_i S D_i [FLOP], half of it if causal; reads a key of D_i elements of every position

    `rows` are the tokens T a chip does this for, `kv_split` chips score a share of the positions each. Without an
    indexer every shape is without work. Source: DeepSeek-V3.2 (2025), section 2.1, equation 1.
    """
    rows, sequences, context, kv_split = like(model, rows, sequences, context, kv_split)
    heads, width = model.index_n_heads, model.index_head_dim
    return {
        "index_q": gemm(rows, query_input(model), heads * width),
        "index_k": gemm(rows, model.hidden_size, width + heads),
        "index_scores": Attention(
            flops=over((1 if causal else 2) * rows * heads * context * width, kv_split),
            inputs=rows * heads * width,
            kv=over(sequences * context * width, kv_split),
            outputs=0 * rows,
        ),
    }


def query_input(model):
    """Columns that the queries of MLA are made from: R_q, or H where they are not compressed."""
    if isinstance(model.q_lora_rank, int):
        return model.q_lora_rank or model.hidden_size
    return jnp.where(model.q_lora_rank > 0.0, model.q_lora_rank, model.hidden_size)


def mla_prefill(model, prompts, context, tp, sp=1, causal=True):
    """MLA of `prompts` whole prompts of S tokens, keys and values unfolded; T = prompts x S.

        q_a (T / sp, H, R_q), kv_a (T / sp, H, R_kv + D_r)      replicated over tp, rows split over sp
        q_b (T, R_q, hd (D_n + D_r)), kv_b (T, R_kv, hd (D_n + D_v)), o (T, hd D_v, H)
        attention: 2 prompts hd S^2 (D_n + D_r + D_v) [FLOP], half of it if causal (S^2 / 2 pairs, the diagonal's
        S / 2 left out); reads hd (D_n + D_v) + D_r elements per token

    Source: DeepSeek-V2 (arXiv:2405.04434), section 2.1.2.
    """
    prompts, context, tp, sp = like(model, prompts, context, tp, sp)
    tokens, heads = prompts * context, over(model.num_attention_heads, tp)
    kv_width = heads * (model.qk_nope_head_dim + model.v_head_dim)
    return _down(model, over(tokens, sp)) | {
        "q_b": gemm(tokens, query_input(model), heads * query_width(model)),
        "kv_b": gemm(tokens, model.kv_lora_rank, kv_width),
        "attention": Attention(
            flops=(1 if causal else 2) * tokens * context * heads * (query_width(model) + model.v_head_dim),
            inputs=tokens * heads * query_width(model),
            kv=tokens * (kv_width + model.qk_rope_head_dim),
            outputs=tokens * heads * model.v_head_dim,
        ),
        "o": gemm(tokens, heads * model.v_head_dim, model.hidden_size),
    }


def _down(model, rows):
    """Compression of queries, and of keys and values with the shared rotary key."""
    return {
        "q_a": gemm(rows, model.hidden_size, model.q_lora_rank),
        "kv_a": gemm(rows, model.hidden_size, latent_width(model)),
    }
