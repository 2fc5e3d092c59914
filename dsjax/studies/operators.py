"""Flops and bytes of one operator on one chip, from its shape."""

from .. import arrays
from ..formulas.operators.attention import query_input
from ..formulas.roofline import Cost, alongside, transfer


def gemm(m, k, n, *, in_bytes, out_bytes, weight_bytes=None, groups=1.0, least_rows=0.0):
    """`groups` products (m, k) x (k, n).

    flops = 2 G M K N, charged with at least `least_rows` rows; bytes = G (M K b_in + K N b_w + M N b_out).
    b_in, b_w, b_out bytes per element of the rows, of the weights (as the rows where not given) and of the result.
    """
    weight_bytes = in_bytes if weight_bytes is None else weight_bytes
    per_row = 2.0 * groups * k * n
    return Cost(
        flops=per_row * m,
        charged_flops=per_row * arrays.maximum(m, least_rows),
        bytes=groups * (m * k * in_bytes + k * n * weight_bytes + m * n * out_bytes),
    )


def whole_parts(total, parts):
    """ceil(total / parts) of whole numbers, exact also where the division rounds."""
    quotient = arrays.ceil(total / parts)
    quotient = arrays.where((quotient - 1.0) * parts >= total, quotient - 1.0, quotient)
    return arrays.where(quotient * parts < total, quotient + 1.0, quotient)


def attention_scores(sequences, rows, width, positions):
    """Flops of one product of absorbed MLA attention: 2 x sequences x rows x width x positions.

    `rows` = heads x query tokens, `width` = kv_lora_rank + qk_rope_head_dim for Q K^T, kv_lora_rank for P V.
    Source: DeepSeek-V2 (arXiv:2405.04434), absorbed form.
    """
    return sequences * 2.0 * rows * width * positions


def ring_all_reduce(members, n_bytes, bytes_per_s, step_s):
    """Ring all-reduce of b bytes over n chips: 2 (n - 1) / n b / bytes_per_s + (n - 1) step_s [s].

    A reduce-scatter and an all-gather; the starts of the second one are taken as hidden. One chip: 0.
    Source: P. Patarasuk, X. Yuan, Bandwidth optimal all-reduce algorithms, J. Parallel Distrib. Comput. 69 (2009).
    """
    return transfer(2.0 * (members - 1.0) / members * n_bytes, bytes_per_s, (members - 1.0) * step_s)


def island_all_reduce(members, island, n_bytes, inside, between):
    """All-reduce over n chips in n / g islands of g: max(ring over g inside, ring over n / g between), b bytes in
    both.

    `inside`, `between`: (bytes_per_s, step_s) of the links of an island and between islands. g = n is one ring.
    """
    return alongside(ring_all_reduce(island, n_bytes, *inside), ring_all_reduce(members / island, n_bytes, *between))


def gathered_all_to_all(n_bytes, moe_tp, inside, between):
    """Dispatch or combine of b bytes per chip, then an all-gather over the moe_tp chips that share an expert.

    b / B_between + start + (moe_tp - 1) (b / B_inside + start) [s]; no share stays on the chip.
    """
    (up_bytes_per_s, up_step_s), others = inside, moe_tp - 1.0
    return transfer(n_bytes, *between) + transfer(others * n_bytes, up_bytes_per_s, others * up_step_s)


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
    """MLA parameters that tensor parallelism replicates, the down projections: H R_q + H (R_kv + D_r)."""
    return model.hidden_size * (model.q_lora_rank + model.kv_lora_rank + model.qk_rope_head_dim)


def dense_weights(model):
    """Parameters of one dense FFN: gate, up and down, 3 H I."""
    return 3.0 * model.hidden_size * model.intermediate_size


def router_weights(model):
    """Parameters of one router: H E."""
    return model.hidden_size * arrays.asarray(model.n_routed_experts, model.hidden_size.dtype)


def expert_weights(model):
    """Parameters of one expert: gate, up and down, 3 H I."""
    return 3.0 * model.hidden_size * model.moe_intermediate_size


def embedding_weights(model):
    """Parameters of the embedding, and again of the head: V H."""
    return model.vocab_size * model.hidden_size


def kv_cache_bytes(sequences, context, model, kv_bytes):
    """KV cache of `sequences` in all layers [B]."""
    return sequences * model.num_hidden_layers * mla_kv_bytes(context, model, kv_bytes)


def mla_kv_bytes(context, model, kv_bytes):
    """KV cache of one sequence in one MLA layer [B]: S (d_c + d_r) b.

    S context [token], d_c `kv_lora_rank`, d_r `qk_rope_head_dim`, b bytes per element. Shared by all heads.
    Source: DeepSeek-V2 (arXiv:2405.04434), comparison of KV caches.
    """
    return context * (model.kv_lora_rank + model.qk_rope_head_dim) * kv_bytes
