"""Shapes of every operator of a DeepSeek-V3-class model in one layer on one chip.

Flops, parameters and elements moved are read off one shape, so they cannot disagree. Every function returns
{operator: shape}. Sizes may be Python integers (counts are then exact, of any size, and a split that does not divide
is a `Fraction`) or JAX arrays (the sizes take the floating-point type of the model's numbers).

Symbols: T tokens that the group of tp chips works on, H hidden_size, h heads, hd = h / tp heads per chip, R_q and
R_kv ranks of the query and of the latent cache, D_n, D_r, D_v head widths without position, rotary, of values, S
context [token], I width of an FFN, E routed experts, V vocabulary. Sources: DeepSeek-V2 (arXiv:2405.04434), section
2.1 and appendix C (MLA, absorbed and not); DeepSeek-V3 (arXiv:2412.19437), section 2.1 (layers, experts), 2.2
(multi-token prediction).
"""

from fractions import Fraction

import jax.numpy as jnp

from .specs import record


@record
class Gemm:
    """`groups` products of activations (m, k) and weights (k, n)."""

    groups: float
    m: float
    k: float
    n: float

    @property
    def flops(self):
        """2 G M K N [FLOP]."""
        return 2 * self.groups * self.m * self.k * self.n

    @property
    def weights(self):
        """G K N [parameter]."""
        return self.groups * self.k * self.n

    @property
    def inputs(self):
        """G M K [element]."""
        return self.groups * self.m * self.k

    @property
    def outputs(self):
        """G M N [element]."""
        return self.groups * self.m * self.n


@record
class Attention:
    """The two products Q K^T and P V of all heads on the chip."""

    flops: float  # [FLOP]
    inputs: float  # queries [element]
    kv: float  # keys and values read, each once: the latent cache in decode, those of every head in prefill [element]
    outputs: float  # [element]

    @property
    def weights(self):
        """None [parameter]."""
        return 0


@record
class Pointwise:
    """Elements read, changed and written; its few flops are no matrix product and are not counted."""

    weights: float  # [parameter]
    inputs: float  # [element]
    outputs: float  # [element]

    @property
    def flops(self):
        """None [FLOP]."""
        return 0


@record
class Lookup:
    """`m` rows of width `n`, `found` of them in the `table` rows that are here, the others zeros."""

    table: float
    found: float
    m: float
    n: float

    @property
    def flops(self):
        """None [FLOP]."""
        return 0

    @property
    def weights(self):
        """Table x N [parameter]."""
        return self.table * self.n

    @property
    def inputs(self):
        """Found x N, rows of the table that are read [element]."""
        return self.found * self.n

    @property
    def outputs(self):
        """M N [element]."""
        return self.m * self.n


# Every chip of a tensor-parallel group does the whole of these, so tp multiplies them.
REPLICATED = frozenset(
    ("attention_norm", "q_a", "q_a_norm", "kv_a", "kv_a_norm", "ffn_norm", "router", "final_norm")
    + ("embedding_norm", "hidden_norm", "eh_proj", "mtp_norm")
)


def over(total, parts):
    """total / parts, exact on Python integers."""
    if isinstance(total, int | Fraction) and isinstance(parts, int | Fraction):
        ratio = Fraction(total, parts)
        return ratio.numerator if ratio.denominator == 1 else ratio
    return total / parts


def mla_decode(model, sequences, queries, context, tp):
    """Absorbed MLA of one decode step; T = sequences x queries, `queries` = 1 + draft tokens.

        q_a (T, H, R_q), kv_a (T, H, R_kv + D_r)      replicated over tp
        q_b (T, R_q, hd (D_n + D_r)), o (T, hd D_v, H)
        absorb_k (T, D_n, R_kv), absorb_v (T, R_kv, D_v)      per head; their weights are those of kv_b
        attention: 2 T hd S (R_kv + D_r) + 2 T hd S R_kv [FLOP]; reads S (R_kv + D_r) elements per sequence, on
        every chip of the group: the cache has no heads to split

    Source: DeepSeek-V2 (arXiv:2405.04434), section 2.1.2, W^UK absorbed into W^UQ and W^UV into W^O.
    """
    sequences, queries, context, tp = _like(model, sequences, queries, context, tp)
    tokens, heads, latent = sequences * queries, over(model.num_attention_heads, tp), _latent(model)
    return _down(model, tokens) | {
        "q_b": _gemm(tokens, model.q_lora_rank, heads * _query_width(model)),
        "absorb_k": _gemm(tokens, model.qk_nope_head_dim, model.kv_lora_rank, heads),
        "attention": Attention(
            flops=2 * tokens * heads * context * (latent + model.kv_lora_rank),
            inputs=tokens * heads * latent,
            kv=sequences * context * latent,
            outputs=tokens * heads * model.kv_lora_rank,
        ),
        "absorb_v": _gemm(tokens, model.kv_lora_rank, model.v_head_dim, heads),
        "o": _gemm(tokens, heads * model.v_head_dim, model.hidden_size),
    }


def mla_prefill(model, prompts, context, tp, sp=1, causal=True):
    """MLA of `prompts` whole prompts of S tokens, keys and values unfolded; T = prompts x S.

        q_a (T / sp, H, R_q), kv_a (T / sp, H, R_kv + D_r)      replicated over tp, rows split over sp
        q_b (T, R_q, hd (D_n + D_r)), kv_b (T, R_kv, hd (D_n + D_v)), o (T, hd D_v, H)
        attention: 2 prompts hd S^2 (D_n + D_r + D_v) [FLOP], half of it if causal (S^2 / 2 pairs, the diagonal's
        S / 2 left out); reads hd (D_n + D_v) + D_r elements per token

    Source: DeepSeek-V2 (arXiv:2405.04434), section 2.1.2.
    """
    prompts, context, tp, sp = _like(model, prompts, context, tp, sp)
    tokens, heads = prompts * context, over(model.num_attention_heads, tp)
    kv_width = heads * (model.qk_nope_head_dim + model.v_head_dim)
    return _down(model, over(tokens, sp)) | {
        "q_b": _gemm(tokens, model.q_lora_rank, heads * _query_width(model)),
        "kv_b": _gemm(tokens, model.kv_lora_rank, kv_width),
        "attention": Attention(
            flops=(1 if causal else 2) * tokens * context * heads * (_query_width(model) + model.v_head_dim),
            inputs=tokens * heads * _query_width(model),
            kv=tokens * (kv_width + model.qk_rope_head_dim),
            outputs=tokens * heads * model.v_head_dim,
        ),
        "o": _gemm(tokens, heads * model.v_head_dim, model.hidden_size),
    }


def dense_ffn(model, tokens, tp):
    """SwiGLU FFN of the first layers: gate and up (T, H, 2 I / tp), down (T, I / tp, H); I intermediate_size."""
    tokens, tp = _like(model, tokens, tp)
    return _swiglu("dense", tokens, model.hidden_size, over(model.intermediate_size, tp))


def shared_expert(model, tokens, tp):
    """The shared experts as one SwiGLU FFN of width N_s I; I moe_intermediate_size. tp = 1: replicated."""
    tokens, tp = _like(model, tokens, tp)
    return _swiglu("shared", tokens, model.hidden_size, over(model.n_shared_experts * model.moe_intermediate_size, tp))


def router(model, tokens, sp=1):
    """Affinities of the tokens to the experts: (T / sp, H, E), replicated over tp."""
    tokens, sp, experts = _like(model, tokens, sp, model.n_routed_experts)
    return {"router": _gemm(over(tokens, sp), model.hidden_size, experts)}


def routed_experts(model, rows, experts, moe_tp):
    """`experts` experts of the chip with rows / experts rows each: SwiGLU FFNs of width I / moe_tp.

    `rows` counts every copy of a token: top-k x tokens of all groups / ep, when balanced. With `experts` the number
    hit, the weights are those read; with the number held, those stored. Flops do not depend on it.
    """
    rows, experts, moe_tp = _like(model, rows, experts, moe_tp)
    width = over(model.moe_intermediate_size, moe_tp)
    return _swiglu("routed", over(rows, experts), model.hidden_size, width, experts)


def norms(model, tokens, sp=1):
    """RMSNorms of one layer, replicated over tp, rows split over sp.

    Those of the residual stream are fused with its addition: they read and write 2 T H elements.
    """
    tokens, sp = _like(model, tokens, sp)
    rows = over(tokens, sp)
    return {
        "attention_norm": _norm(rows, model.hidden_size, streams=2),
        "q_a_norm": _norm(rows, model.q_lora_rank),
        "kv_a_norm": _norm(rows, model.kv_lora_rank),
        "ffn_norm": _norm(rows, model.hidden_size, streams=2),
    }


def embedding(model, tokens, tp=1, sp=1):
    """T / sp rows of the table (V, H), of which a chip holds V / tp; it finds 1 / tp of them, the others are zeros."""
    tokens, tp, sp = _like(model, tokens, tp, sp)
    rows = over(tokens, sp)
    return {"embedding": Lookup(table=over(model.vocab_size, tp), found=over(rows, tp), m=rows, n=model.hidden_size)}


def head(model, rows, tp):
    """Last norm and output head (rows, H, V / tp); rows: every token in decode, the last of a prompt in prefill."""
    rows, tp = _like(model, rows, tp)
    return {
        "final_norm": _norm(rows, model.hidden_size, streams=2),
        "head": _gemm(rows, model.hidden_size, over(model.vocab_size, tp)),
    }


def mtp_module(model, tokens, rows, layer, tp, sp=1):
    """One multi-token prediction module: [norm(embedding), norm(hidden)] (T / sp, 2 H, H), `layer`, norm and head.

    `layer` holds the operators of its one MoE layer; table and head are the model's own. eh_proj is replicated over
    tp. Source: DeepSeek-V3 (arXiv:2412.19437), section 2.2, equations 21 to 23.
    """
    tokens, rows, tp, sp = _like(model, tokens, rows, tp, sp)
    hidden, mine = model.hidden_size, over(tokens, sp)
    return {
        "embedding_norm": _norm(mine, hidden),
        "hidden_norm": _norm(mine, hidden),
        "eh_proj": _gemm(mine, 2 * hidden, hidden),
        **layer,
        "mtp_norm": _norm(rows, hidden, streams=2),
        "mtp_head": _gemm(rows, hidden, over(model.vocab_size, tp)),
    }


def _down(model, rows):
    """Compression of queries, and of keys and values with the shared rotary key."""
    return {
        "q_a": _gemm(rows, model.hidden_size, model.q_lora_rank),
        "kv_a": _gemm(rows, model.hidden_size, _latent(model)),
    }


def _swiglu(name, rows, hidden, width, groups=1):
    return {
        f"{name}_gate_up": _gemm(rows, hidden, 2 * width, groups),
        f"{name}_swiglu": Pointwise(weights=0, inputs=groups * rows * 2 * width, outputs=groups * rows * width),
        f"{name}_down": _gemm(rows, width, hidden, groups),
    }


def _gemm(m, k, n, groups=1):
    return Gemm(groups=groups, m=m, k=k, n=n)


def _norm(rows, width, streams=1):
    return Pointwise(weights=width, inputs=streams * rows * width, outputs=streams * rows * width)


def _latent(model):
    return model.kv_lora_rank + model.qk_rope_head_dim


def _query_width(model):
    return model.qk_nope_head_dim + model.qk_rope_head_dim


def _like(model, *sizes):
    """Arrays in the floating-point type of the model's numbers (integers of 32 bit would overflow); others as is."""
    dtype = getattr(model.hidden_size, "dtype", None)
    return [jnp.asarray(x, dtype) if dtype is not None and hasattr(x, "dtype") else x for x in sizes]
