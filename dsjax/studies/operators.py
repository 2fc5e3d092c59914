"""Flops and bytes of one operator on one chip, from its shape."""

import jax.numpy as jnp

from ..specs.fields import record


@record
class Cost:
    """What one operator does."""

    flops: float  # needed [FLOP]
    charged_flops: float  # executed, padding to full tiles included [FLOP]
    bytes: float  # moved to and from memory [B]


def gemm(m, k, n, *, in_bytes, out_bytes, weight_bytes=None, groups=1.0, least_rows=0.0):
    """`groups` products (m, k) x (k, n).

    flops = 2 G M K N, charged with at least `least_rows` rows; bytes = G (M K b_in + K N b_w + M N b_out).
    b_in, b_w, b_out bytes per element of the rows, of the weights (as the rows where not given) and of the result.
    """
    weight_bytes = in_bytes if weight_bytes is None else weight_bytes
    per_row = 2.0 * groups * k * n
    return Cost(
        flops=per_row * m,
        charged_flops=per_row * jnp.maximum(m, least_rows),
        bytes=groups * (m * k * in_bytes + k * n * weight_bytes + m * n * out_bytes),
    )


def quotient(total, parts, dtype):
    """total / parts of integers: exact where it is whole, whatever rounding a division has."""
    ratio = jnp.asarray(total, dtype) / jnp.asarray(parts, dtype)
    return jnp.where(total % parts == 0, jnp.asarray(total // parts, dtype), ratio)


def whole_parts(total, parts):
    """ceil(total / parts) of whole numbers, exact also where the division rounds."""
    quotient = jnp.ceil(total / parts)
    quotient = jnp.where((quotient - 1.0) * parts >= total, quotient - 1.0, quotient)
    return jnp.where(quotient * parts < total, quotient + 1.0, quotient)


def attention_scores(sequences, rows, width, positions):
    """Flops of one product of absorbed MLA attention: 2 x sequences x rows x width x positions.

    `rows` = heads x query tokens, `width` = kv_lora_rank + qk_rope_head_dim for Q K^T, kv_lora_rank for P V.
    Source: DeepSeek-V2 (arXiv:2405.04434), absorbed form.
    """
    return sequences * 2.0 * rows * width * positions


def mla_kv_bytes(context, model, kv_bytes):
    """KV cache of one sequence in one MLA layer [B]: S (d_c + d_r) b.

    S context [token], d_c `kv_lora_rank`, d_r `qk_rope_head_dim`, b bytes per element. Shared by all heads.
    Source: DeepSeek-V2 (arXiv:2405.04434), comparison of KV caches.
    """
    return context * (model.kv_lora_rank + model.qk_rope_head_dim) * kv_bytes


def accepted_tokens(acceptance, drafts, most=8):
    """Draft tokens accepted per step: sum over i = 1..drafts of acceptance^i.

    Drafts are checked in order, so the i-th counts only if all before it did. `most` bounds the static sum.
    Source: DeepSeek-V3 (arXiv:2412.19437), multi-token prediction; 0.85 to 0.90 for the second token.
    """
    total, power = jnp.zeros_like(acceptance), jnp.ones_like(acceptance)
    for i in range(1, most + 1):
        power = power * acceptance
        total = total + jnp.where(i <= drafts, power, 0.0)
    return total
